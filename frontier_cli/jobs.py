"""What the `jobs` commands share: where the store is, and how a job looks on a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from frontier_ops.jobs.job import Job
    from frontier_ops.jobs.store import JobStore

Home = Annotated[str, typer.Option("--home", metavar="DIR", help="folder of the queue (vault/ and status/) [.]")]
JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="ids as `jobs list` shows them")]


def open_store(home: str) -> JobStore:
    """Opens the store of a home folder; "" is the current folder."""
    from pathlib import Path

    from frontier_core.errors import UsageError
    from frontier_ops.jobs.store import JobStore

    folder = Path(home or ".")
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint=f"mkdir -p {folder}")
    return JobStore(folder)


def line_of(job: Job) -> str:
    """Gives a job as one line of a table."""
    attempt = f"#{job.attempt}" if job.attempt else "-"
    why = f"  ({job.reason})" if job.reason else ""
    return f"{job.id:16} {job.state:10} {job.spec.priority:6} {attempt:4} {job.spec.command[:60]}{why}"


def show(jobs: Iterable[Job], *, json: bool) -> int:
    """Prints jobs on standard output, a line each or as JSON Lines, and gives how many there were."""
    from frontier_cli import console
    from frontier_core.jsonl import dumps

    count = 0
    for job in jobs:
        console.emit(dumps(job.to_mapping()).decode() if json else line_of(job))
        count += 1
    return count
