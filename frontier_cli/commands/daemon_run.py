"""frontier daemon run."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs

EXAMPLES = """\
frontier daemon run --config config/daemon.json
frontier daemon run --home /srv/loop --until-idle"""


def command(
    config: Annotated[str, typer.Option("--config", metavar="FILE", help="settings [HOME/config/daemon.json]")] = "",
    until_idle: Annotated[bool, typer.Option("--until-idle", help="end when there is nothing to do any more")] = False,
    home: jobs.Home = "",
) -> int:
    """Turn the loop unattended: inbox or generation, gates, training, evaluation, new weights, deployment.

    One a folder. Data goes to inbox/DATASET/training_samples.jsonl; every step is a job (`jobs list`), so killing the
    daemon stops no training and the next one goes on. SIGTERM ends it, its jobs wait in the queue.
    """
    from pathlib import Path

    from frontier_ops.daemon.loop import Daemon
    from frontier_ops.daemon.settings import read_settings

    folder = Path(home or ".")
    settings = read_settings(Path(config) if config else folder / "config/daemon.json")
    Daemon(folder, settings, on_note=console.note).run(until_idle=until_idle)
    return 0
