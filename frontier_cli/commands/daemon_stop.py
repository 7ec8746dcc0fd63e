"""frontier daemon stop."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs

EXAMPLES = """\
frontier daemon stop
frontier daemon stop --home /srv/loop --timeout 60"""


def command(
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, metavar="SEC", help="how long to wait for its end")
    ] = 30,
    home: jobs.Home = "",
) -> int:
    """End the daemon: running jobs are ended gracefully and wait in the queue for the next one.

    A training run leaves a checkpoint first. Exit 1 when it has not ended in time.
    """
    from pathlib import Path

    from frontier_ops.daemon import control

    if control.stop(Path(home or "."), timeout):
        return 0
    console.error(f"the daemon (pid {control.holder(Path(home or '.'))}) has not ended yet", "frontier jobs list")
    return 1
