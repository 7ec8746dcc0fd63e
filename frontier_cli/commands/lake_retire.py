"""frontier lake retire."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lake retire 3fa9c1 --reason 'answers are wrong' --runs out
frontier lake retire 3fa9c1 --reason 'licence withdrawn' --dry-run --json"""


def command(
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="how its name begins; frontier lake ls shows it")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; kept in the lake")],
    lake: options.LakePath = "lake",
    runs: Annotated[
        list[str] | None,
        typer.Option("--runs", metavar="DIR", help="where things made from it may lie (repeat) [.]"),
    ] = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> int:
    """Take a bad shard out of a lake, and name everything that was made from it.

    Streams, queries and exports no longer see it. Sidecars, runs and checkpoints under --runs that name the shard, or a
    file it was added from, or anything made from those, are listed and kept in the lake beside the reason.
    """
    from frontier_core.jsonl import dumps
    from frontier_core.lake import Lake
    from frontier_core.lake_lineage import made_from
    from frontier_core.lake_write import retire

    found = Lake.open(lake).find(shard)
    trained = made_from(found, [Path(run) for run in runs or ["."]])
    if not dry_run:
        retire(Path(lake), found.sha256, reason, trained=trained)
    if json:
        console.emit(dumps({"shard": found.sha256, "num_records": found.num_records, "trained": trained}).decode())
    else:
        for entry in trained:
            console.emit(entry["path"])
    done = "would retire" if dry_run else "retired"
    console.note(f"{done} {found.sha256[:12]} ({found.num_records} records); {len(trained)} things were made from it")
    return 0
