"""frontier daemon pause."""

from __future__ import annotations

from frontier_cli import console, jobs

EXAMPLES = """\
frontier daemon pause
frontier daemon pause --home /srv/loop"""


def command(home: jobs.Home = "") -> int:
    """Suspend the loop: running jobs stop their clock, nothing new is taken.

    It holds for daemons that start later too, until `daemon resume`.
    """
    from pathlib import Path

    from frontier_ops.daemon import control

    folder = Path(home or ".")
    control.pause(folder)
    if control.holder(folder) is None:
        console.note("no daemon runs here; it counts for the next one")
    return 0
