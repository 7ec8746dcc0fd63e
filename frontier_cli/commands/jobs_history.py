"""frontier jobs history."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs

EXAMPLES = """\
frontier jobs history train-4
frontier jobs history | tail -5"""


def command(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[JOB...]", help="only these")] = None,
    home: jobs.Home = "",
) -> int:
    """Print what happened to jobs, oldest first, as JSON Lines: the log the store is made from."""
    from frontier_core.jsonl import dumps

    store = jobs.open_store(home)
    for name in ids or []:
        store.get(name)  # a job nobody knows is an error, not an empty answer
    for event in store.events(only=ids or []):
        console.emit(dumps(event).decode())
    store.close()
    return 0
