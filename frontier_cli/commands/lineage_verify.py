"""frontier lineage verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lineage verify out/round2/run
frontier lineage verify . --rehash --json"""


def command(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH...]", help="files that frontier wrote, or folders of them [.]")
    ] = None,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="read every byte, instead of trusting unchanged size, times and inode")
    ] = False,
    json: options.Json = False,
) -> int:
    """Check that data and history are what they were: every byte, every sidecar, every input, back to the sources.

    One line for each file that does not hold: changed (other bytes), swapped or edited (another sidecar), orphan (its
    sidecar is gone), missing. Exit 1 when there is one; -v lists the others too.
    """
    from frontier_core.jsonl import dumps
    from frontier_ops.lineage_report import verify

    num = num_wrong = 0
    for link in verify([Path(place) for place in places or ["."]], rehash=rehash):
        num += 1
        num_wrong += not link.holds
        if json:
            user = str(link.user) if link.user else None
            entry = {"path": str(link.path), "status": link.status, "problem": link.problem, "read_by": user}
            console.emit(dumps(entry).decode())
        elif not link.holds:
            read_by = f" (read by {link.user})" if link.user else ""
            console.emit(f"{link.status:8}{link.path}: {link.problem}{read_by}")
        elif console.verbosity() > 1:
            console.emit(f"{link.status:8}{link.path}")
    if not num:
        console.note("no sidecars here")
    else:
        console.note(f"{num} files, {num_wrong} that do not hold" if num_wrong else f"{num} files, all hold")
    return 1 if num_wrong else 0
