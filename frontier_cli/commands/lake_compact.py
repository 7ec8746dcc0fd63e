"""frontier lake compact."""

from __future__ import annotations

from pathlib import Path

from frontier_cli import console, options

EXAMPLES = """\
frontier lake compact && frontier lake gc --force"""


def command(lake: options.LakePath = "lake") -> int:
    """Merge the small shards of a lake into large ones.

    The old files stay until `frontier lake gc`, and `LAKE@N` still reads the state before: a stream that began there
    goes on there.
    """
    from frontier_core.lake_write import compact

    before, after = compact(Path(lake))
    console.note(f"merged {before} shards into {after}" if before != after else "nothing to merge")
    return 0
