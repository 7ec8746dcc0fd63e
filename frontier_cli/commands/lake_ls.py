"""frontier lake ls."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lake ls
frontier lake ls --retired --json"""


def command(
    lake: options.LakePath = "lake",
    retired: Annotated[bool, typer.Option("--retired", help="those taken out, with the reason")] = False,
    json: options.Json = False,
) -> int:
    """List the shards of a lake: name, records, bytes, licences, and the files they came from."""
    from frontier_core.jsonl import dumps
    from frontier_core.lake import Lake

    opened = Lake.open(lake)
    entries = opened.retired if retired else [shard.to_record() for shard in opened.shards]
    for entry in entries:
        if json:
            console.emit(dumps(entry).decode())
            continue
        told = entry["reason"] if retired else ", ".join(sorted({source["path"] for source in entry["sources"]})[:3])
        licenses = " ".join(f"{name}:{num}" for name, num in entry["licenses"].items())
        console.emit(f"{entry['sha256'][:12]}  {entry['num_records']:>9}  {entry['num_bytes']:>11}  {licenses}  {told}")
    console.note(
        f"{len(entries)} shards, {sum(entry['num_records'] for entry in entries)} records, state {opened.generation}"
    )
    return 0
