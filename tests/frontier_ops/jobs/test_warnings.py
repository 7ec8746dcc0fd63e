"""Warnings about the queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from frontier_ops.jobs.job import JobSpec, State
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore
from frontier_ops.jobs.warnings import job_warnings


def test_each_job_that_is_stuck_is_listed_once_as_what_it_is(tmp_path):
    store = JobStore(tmp_path)
    kinds = [JobType.REPORT, JobType.ARCHIVE, JobType.TRAIN, JobType.DATA_GEN, JobType.SYNC]
    store.submit([JobSpec(type=kind, argv=("true",)) for kind in kinds])
    running, dead, training, done = (store.claim("w") for _ in range(4))
    dead.release()
    store.finish(done, State.COMPLETED)
    soon, later = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (60, 3600))

    assert job_warnings(store, at=soon)["summary"] == {"total": 1, "critical": 1, "warning": 0}
    found = job_warnings(store, at=later)
    assert {key: [line["id"] for line in lines] for key, lines in found.items() if key != "summary"} == {
        "stuck_pending": ["sync-5"],
        "stuck_running": ["report-1"],
        "orphaned_jobs": ["archive-2"],
    }
    assert found["summary"] == {"total": 3, "critical": 1, "warning": 2}
    for claim in (running, training):
        claim.release()
    store.close()
