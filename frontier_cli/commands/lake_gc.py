"""frontier lake gc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lake gc --dry-run
frontier lake gc --keep 3 --force"""


def command(
    lake: options.LakePath = "lake",
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="newest states that stay readable")] = 1,
    dry_run: options.DryRun = False,
    force: options.Force = False,
) -> int:
    """Remove what no kept state of a lake needs: merged and retired shards, old manifests, what killed writers left."""
    from frontier_core.lake_write import gc

    names, size = gc(Path(lake), keep=keep, dry_run=True)
    for name in names if dry_run else ():
        console.emit(name)
    if dry_run or not names:
        console.note(f"{len(names)} files, {size} bytes" + (" would go" if names else ": nothing to remove"))
        return 0
    if not force and not console.confirm(f"remove {len(names)} files ({size} bytes) of {lake}?"):
        console.note("nothing was removed")
        return 1
    names, size = gc(Path(lake), keep=keep)
    console.note(f"removed {len(names)} files, {size} bytes")
    return 0
