"""frontier lake verify."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lake verify
frontier lake verify --deep --json"""


def command(
    lake: options.LakePath = "lake",
    deep: Annotated[bool, typer.Option("--deep", help="unpack every record and compare its hash too")] = False,
    json: options.Json = False,
) -> int:
    """Compare every file of a lake with its manifest. Exit 1 when one is not what it says."""
    from dataclasses import asdict

    from frontier_core.jsonl import dumps
    from frontier_core.lake import verify

    with console.Progress("lake verify") as progress:
        health = verify(lake, deep=deep, on_shard=progress.update)
    if json:
        console.emit(dumps(asdict(health)).decode())
    for problem in health.problems:
        console.error(f"shard {problem}", "frontier lake retire SHARD --reason TEXT, then add its files again")
    whole = f"{health.num_shards} shards, {health.num_records} records, state {health.generation}"
    console.note(f"{lake}: {whole}: " + (f"{len(health.problems)} damaged" if health.problems else "whole"))
    if health.leftovers:
        console.note(f"{len(health.leftovers)} files that this state does not need; frontier lake gc removes them")
    return 1 if health.problems else 0
