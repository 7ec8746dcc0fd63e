"""frontier jobs watch."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import jobs, options

EXAMPLES = """\
frontier jobs watch
frontier jobs watch train-4 --until-ended"""


def command(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[JOB...]", help="only these")] = None,
    until_ended: Annotated[
        bool, typer.Option("--until-ended", help="end when all of them have; exit 1 on failures")
    ] = False,
    home: jobs.Home = "",
    json: options.Json = False,
) -> int:
    """Print each change of a job as it happens, until stopped."""
    import time

    store = jobs.open_store(home)
    for name in ids or []:
        store.get(name)
    watched = {job.id: "" for job in store.jobs() if not ids or job.id in ids}
    while True:
        current = [job for job in store.jobs() if not ids or job.id in ids]
        changed = [job for job in current if watched.get(job.id) != f"{job.state} {job.attempt}"]
        jobs.show(changed, json=json)
        watched |= {job.id: f"{job.state} {job.attempt}" for job in changed}
        if until_ended and all(job.state.is_final for job in current):
            store.close()
            return 1 if any(job.state == "failed" for job in current) else 0
        time.sleep(0.2)
