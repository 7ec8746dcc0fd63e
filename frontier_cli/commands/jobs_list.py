"""frontier jobs list."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier jobs list --state failed
frontier jobs list --json | head -3"""


def command(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[JOB...]", help="only these")] = None,
    states: Annotated[list[str] | None, typer.Option("--state", metavar="NAME", help="only these (repeat)")] = None,
    home: jobs.Home = "",
    json: options.Json = False,
) -> int:
    """List jobs in the order in which they were submitted: id, state, priority, attempt, command, reason."""
    from frontier_ops.jobs.job import state_named

    store = jobs.open_store(home)
    if ids:
        jobs.show([store.get(name) for name in ids], json=json)
    else:
        jobs.show(store.jobs(states=[state_named(name) for name in states or []]), json=json)
        counts = ", ".join(f"{count} {state}" for state, count in store.counts().items() if count)
        console.note(counts or "no jobs")
    store.close()
    return 0
