"""frontier lake stats."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lake stats
frontier lake stats --where 'domain = code' --key language --json"""


def command(
    lake: options.LakePath = "lake",
    where: options.WhereFilter = "",
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="count by this key (repeat, or a,b)"),
    ] = None,
    json: options.Json = False,
) -> int:
    """Count a lake's records by their metadata: domain, task type, difficulty, tags, tools, licence, skill, level.

    The answer comes from the index; no record is read.
    """
    from frontier_core.index_where import Where
    from frontier_core.jsonl import dumps
    from frontier_core.lake import STAT_KEYS, Lake, stats

    chosen = tuple(options.split_names(keys or [])) or STAT_KEYS
    found = stats(Lake.open(lake), Where(where), keys=chosen)
    if json:
        console.emit(dumps(found).decode())
        return 0
    ratio = found["text_bytes"] / max(1, found["num_bytes"])
    console.emit(f"{found['num_records']} records, {found['text_bytes']} bytes of text, {found['num_shards']} shards")
    console.note(f"{found['num_bytes']} bytes on disk ({ratio:.1f} times less), state {found['generation']}")
    for key, counts in found["keys"].items():
        if counts:
            console.emit(f"{key}: " + ", ".join(f"{value} {num}" for value, num in counts.items()))
    return 0
