"""frontier checkpoints snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier checkpoints snapshot run
frontier checkpoints snapshot run --to /backup/run-snapshots"""


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="the folder given to frontier train -o")],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="where snapshots go [RUN-snapshots]")] = "",
    day: Annotated[str, typer.Option("--day", metavar="DATE", help="the day it counts for [today, UTC]")] = "",
    json: options.Json = False,
) -> int:
    """Keep the newest whole checkpoint as the day's snapshot: hard links, so it costs nothing while both live.

    Safe while a trainer writes into the run; meant for cron. Twice a day with the same checkpoint changes nothing.
    """
    from datetime import date

    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from trainer.retention import snapshot

    if day:
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise UsageError(f"--day: {day!r} is no date", hint="e.g. --day 2026-11-30") from error
    path, is_new = snapshot(Path(run), into=Path(to) if to else None, day=day)
    console.note(f"{'kept' if is_new else 'already has'} {path}")
    if json:
        console.emit(dumps({"snapshot": str(path), "is_new": is_new}).decode())
    else:
        console.emit(str(path))
    return 0
