"""What is wrong with the queue, at a glance: jobs nobody takes, jobs that run too long, jobs of dead workers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from frontier_ops.jobs.job import Job, State
from frontier_ops.jobs.store import JobStore

PENDING_S = 300.0
RUNNING_S = 1800.0


def job_warnings(
    store: JobStore, *, pending_s: float = PENDING_S, running_s: float = RUNNING_S, at: datetime | None = None
) -> dict[str, Any]:
    """Gives the warnings in the form of the user's monitoring contract.

    Args:
        store: the jobs.
        pending_s: how long a job may wait for a worker, in seconds.
        running_s: how long one may run; training jobs, which are long by nature, are not held to it.
        at: the time to measure from; now by default.
    Returns:
        {stuck_pending, stuck_running, orphaned_jobs: lists of jobs, summary: {total, critical, warning}}; an orphan is
        critical, the others are warnings. A job is listed once, as the worst that it is.
    """
    moment = at or datetime.now(UTC)
    pending, running, orphaned = [], [], []
    for job in store.jobs(states=[State.QUEUED, State.PROCESSING, State.PAUSED]):
        if job.state.is_held and not store.is_alive(job):
            orphaned.append(_line(job, job.started_at, moment))
        elif job.state is State.PROCESSING and job.spec.role != "trainer" and _age(job.started_at, moment) > running_s:
            running.append(_line(job, job.started_at, moment))
        elif job.state is State.QUEUED and _age(job.submitted_at, moment) > pending_s:
            pending.append(_line(job, job.submitted_at, moment))
    num_warnings = len(pending) + len(running)
    return {
        "stuck_pending": pending,
        "stuck_running": running,
        "orphaned_jobs": orphaned,
        "summary": {"total": num_warnings + len(orphaned), "critical": len(orphaned), "warning": num_warnings},
    }


def _age(since: str, moment: datetime) -> float:
    return (moment - datetime.fromisoformat(since)).total_seconds()


def _line(job: Job, since: str, moment: datetime) -> dict[str, Any]:
    return {
        "id": job.id, "type": job.spec.type, "role": job.spec.role, "worker": job.worker, "attempt": job.attempt,
        "age_s": round(_age(since, moment), 1),
    }  # fmt: skip
