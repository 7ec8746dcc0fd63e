"""frontier lake add."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lake add train.jsonl more/*.jsonl.zst --license MIT
frontier synth gen -n 10000 | frontier synth verify | frontier validate | frontier lake add -"""


def command(
    sources: Annotated[list[str], typer.Argument(metavar="FILES...", help="records to add; - is standard input")],
    lake: options.LakePath = "lake",
    license_name: Annotated[
        str, typer.Option("--license", metavar="ID", help="source_license of records that name none")
    ] = "",
    rejects: Annotated[
        str, typer.Option("--rejects", metavar="FILE", help="lines that are no record go here [they end everything]")
    ] = "",
    json: options.Json = False,
) -> int:
    """Add records to a data lake; what it has already, byte for byte, is passed over.

    All files or none: the lake's new state appears at once, at the end; who is killed meanwhile leaves it as it was.
    """
    from frontier_core.jsonl import dumps
    from frontier_ops.stage_lake import add_files

    with console.Progress("lake add") as progress:
        result = add_files(
            Path(lake),
            [console.input_source(source) for source in sources],
            license_name=license_name,
            rejects=rejects,
            on_progress=progress.update,
        )
    if json:
        console.emit(
            dumps(
                {
                    "num_in": result.num_in,
                    "num_added": result.num_added,
                    "num_duplicates": result.num_duplicates,
                    "num_rejected": result.num_rejected,
                    "generation": result.generation,
                    "shards": [shard.sha256 for shard in result.shards],
                }
            ).decode()
        )
    if result.is_known:
        console.note(f"up to date: all {result.num_in} records are in {lake}")
        return 0
    told = f"added {result.num_added} of {result.num_in} records to {lake}, {result.num_duplicates} were there already"
    console.note(told + (f", rejected {result.num_rejected}" if result.num_rejected else ""))
    return 1 if result.num_rejected else 0
