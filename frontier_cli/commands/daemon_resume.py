"""frontier daemon resume."""

from __future__ import annotations

from frontier_cli import console, jobs

EXAMPLES = """\
frontier daemon resume
frontier daemon resume --home /srv/loop"""


def command(home: jobs.Home = "") -> int:
    """Let a paused loop go on where it was suspended.

    Suspended jobs go on within a second.
    """
    from pathlib import Path

    from frontier_ops.daemon import control

    folder = Path(home or ".")
    control.resume(folder)
    if control.holder(folder) is None:
        console.note("no daemon runs here; it counts for the next one")
    return 0
