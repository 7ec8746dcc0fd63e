"""The job store under faults: SIGKILL at any write, a full disk, a lost index, a jumping clock, killed workers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frontier_core.errors import EnvironmentMissing, UsageError
from frontier_ops.jobs.job import JobSpec, State
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.pool import run_workers
from frontier_ops.jobs.store import DATABASE, HISTORY, JobStore

NOTHING = JobSpec(type=JobType.REPORT, argv=("true",))
LIFE = """
import sys
from pathlib import Path
from frontier_ops.jobs.job import JobSpec, State
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore, Taker
store = JobStore(Path(sys.argv[1]))
store.submit([JobSpec(type=JobType.REPORT, argv=("true",))] * 2)
_, following = store.finish(store.claim("w"), State.COMPLETED, taker=Taker(worker="w"), result="once")
store.finish(following, State.COMPLETED, result="once")
"""


def whole(store):
    return [job.to_mapping() for job in store.jobs()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace on this machine (apt-get install strace)")
@pytest.mark.parametrize(("calls", "step"), [("write", 1), ("pwrite64", 7), ("fdatasync", 1), ("fcntl", 11)])
def test_killed_at_any_system_call_the_store_is_whole_and_nothing_happened_twice(tmp_path, calls, step):
    # Every call of a kind took minutes and found nothing; here every `step`-th, its neighbours are alike.
    for number in range(1, 400, step):
        home = tmp_path / str(number)
        home.mkdir()
        inject = f"inject={calls}:signal=KILL:when={number}"
        command = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject, sys.executable, "-c", LIFE]
        code = subprocess.run([*command, str(home)], capture_output=True).returncode
        store = JobStore(home)
        store.reclaim()
        seen = whole(store)
        assert store.rebuild() == len(seen)
        assert len(seen) in (0, 2)
        assert whole(store) == seen
        for job in seen:
            assert job["state"] in ("queued", "completed")
            assert (job["result"] == "once") == (job["state"] == "completed")
        store.submit([NOTHING])
        assert len(whole(store)) == len(seen) + 1
        store.close()
        if code == 0:
            assert [job["state"] for job in seen] == ["completed"] * 2
            break
        number += 3
    else:
        pytest.fail("it never came to its end")


def test_workers_and_their_keeper_killed_at_random_lose_no_job_and_double_no_effect(tmp_path):
    draw = random.Random(7)
    store = JobStore(tmp_path, max_deaths=10**6)
    argv = ("sh", "-c", "echo effect of $FRONTIER_JOB_ID")
    store.submit(JobSpec(type=JobType.REPORT, argv=argv) for _ in range(60))
    for _ in range(25):
        keeper = os.fork()
        if keeper == 0:
            try:
                run_workers(tmp_path, num_workers=2, until_empty=True, max_deaths=10**6)
            finally:
                os._exit(0)
        until = time.monotonic() + draw.uniform(0.0, 0.08)
        while time.monotonic() < until:
            pass
        workers = list(map(int, Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()))
        for pid in (*workers[:1], keeper):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(keeper, 0)
    run_workers(tmp_path, num_workers=2, until_empty=True, max_deaths=10**6)
    finished = [event["job"] for event in store.events() if event["event"] == "finished"]
    assert sorted(finished) == sorted(f"report-{number}" for number in range(1, 61))
    assert all(job.result == f"effect of {job.id}" for job in store.jobs())
    store.close()


def test_a_clock_that_jumps_takes_no_job_from_a_living_worker(tmp_path, monkeypatch):
    store = JobStore(tmp_path)
    store.submit([NOTHING, NOTHING])
    held, failed = store.claim("w"), store.claim("w")
    store.retry_later(failed, exit_code=1, reason="exit code 1", delay_s=5.0)
    now = time.time()
    for jump in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        assert store.reclaim() == []
        assert store.get(held.job.id).state == "processing"
    monkeypatch.setattr(time, "time", lambda: now + 3600.0)
    assert store.claim("w").job.id == "report-2"  # sooner than it should, and no harm done
    held.release()
    store.close()


def test_a_store_whose_index_files_are_deleted_is_made_again(tmp_path):
    store = JobStore(tmp_path)
    store.submit([NOTHING])
    store.finish(store.claim("w"), State.COMPLETED)
    before = whole(store)
    store.close()
    for name in (f"{DATABASE}-wal", f"{DATABASE}-shm", DATABASE):
        (tmp_path / name).unlink(missing_ok=True)
        again = JobStore(tmp_path)
        assert whole(again) == before
        again.close()


def test_a_database_that_somebody_else_has_locked_is_named(tmp_path, monkeypatch):
    store = JobStore(tmp_path)
    store._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(EnvironmentMissing, match="database is locked"):
        store.submit([NOTHING])
    other.execute("ROLLBACK")
    other.close()
    assert [job.id for job in store.submit([NOTHING])] == ["report-1"]
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        JobStore(tmp_path)
    tmp_path.chmod(0o700)


def test_a_file_in_the_store_s_place_is_named(tmp_path):
    (tmp_path / "vault").write_text("")
    with pytest.raises(UsageError) as error:
        JobStore(tmp_path)
    assert "vault" in error.value.message


def test_a_full_disk_leaves_the_history_whole(tmp_path, monkeypatch):
    store = JobStore(tmp_path)
    store.submit([NOTHING])
    size = (tmp_path / HISTORY).stat().st_size
    write = os.write

    def half(descriptor, data):
        if len(data) > 20 and b'"claimed"' in data:
            write(descriptor, data[:20])
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        store.claim("w")
    monkeypatch.undo()
    assert (tmp_path / HISTORY).stat().st_size == size
    assert store.claim("w").job.id == "report-1"
    store.close()
