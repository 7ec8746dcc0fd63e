"""One semantics, three executors: the same suite on local workers, on Ray and on submitit's local cluster."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from frontier_ops.jobs.attempt import LOGS
from frontier_ops.jobs.command import Ended
from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.remote import Driver, Lost
from frontier_ops.jobs.store import JobStore
from frontier_ops.jobs.worker import Worker


def spec(script, **values):
    return JobSpec(type=JobType.DATA_GEN, argv=("sh", "-c", script), **values)


@pytest.fixture(scope="module")
def ray_backend():
    pytest.importorskip("ray")
    from frontier_ops.jobs.ray_backend import RayBackend

    backend = RayBackend(slots=2)
    yield backend
    backend.close()


@pytest.fixture(params=["local", "ray", "submitit"])
def executor(request, tmp_path):
    """Gives a function that works the queue of a store off, and the store."""
    store = JobStore(tmp_path)
    if request.param == "local":

        def work():
            Worker(store).run(until_empty=True)

    else:
        if request.param == "ray":
            backend = request.getfixturevalue("ray_backend")
        else:
            pytest.importorskip("submitit")
            from frontier_ops.jobs.slurm_backend import SlurmBackend

            backend = SlurmBackend(tmp_path / "submitit", cluster="local", slots=2)

        def work():
            Driver(store, backend, roles=["data_forge", "analytics"]).run(until_empty=True)

    yield work, store
    store.close()


def test_a_queue_is_worked_off_with_the_same_outcome_everywhere(executor):
    work, store = executor
    (store.home / "in").write_text("1")
    jobs = store.submit(
        [
            spec("cat in > out; echo $FRONTIER_JOB_ID", inputs=("in",), outputs=("out",)),
            spec("exit 7"),
            spec("true", outputs=("nothing",)),
            spec("test -e mark || { touch mark; exit 1; }", retries=1),
            spec("cat in > out; echo $FRONTIER_JOB_ID", inputs=("in",), outputs=("out",)),
        ]
    )
    work()
    ended = [store.get(job.id) for job in jobs]
    assert [job.state for job in ended] == ["completed", "failed", "failed", "completed", "skipped"]
    assert [job.attempt for job in ended] == [1, 1, 1, 2, 1]
    assert [job.exit_code for job in ended] == [0, 7, 0, 0, None]
    assert [job.result for job in ended] == ["data_gen-1", "", "", "", "data_gen-1"]
    assert ended[2].reason == "it left no nothing"
    assert (store.home / LOGS / "data_gen-1.1.out").read_text() == "data_gen-1\n"


def test_a_running_job_is_stopped_when_asked(executor):
    work, store = executor
    (job,) = store.submit([spec("touch begun; exec sleep 1000")])
    home = store.home

    def ask():
        mine = JobStore(home)
        while not (home / "begun").exists():
            time.sleep(0.01)
        mine.request(job.id, "stop")
        mine.close()

    thread = threading.Thread(target=ask)
    thread.start()
    work()
    thread.join()
    assert (store.get(job.id).state, store.get(job.id).reason) == ("stopped", "asked to stop")


def test_a_command_whose_process_is_killed_from_outside_fails_with_its_signal(executor):
    work, store = executor
    (job,) = store.submit([spec("kill -9 $$")])
    work()
    assert (store.get(job.id).state, store.get(job.id).exit_code) == ("failed", 137)


@pytest.mark.slow
def test_a_ray_worker_that_dies_loses_no_job(tmp_path, ray_backend):
    store = JobStore(tmp_path)
    # The command kills the Ray worker that runs it, the first time.
    (job, *others) = store.submit([spec("test -e mark || { touch mark; kill -9 $PPID; sleep 5; }; echo done")] * 3)
    Driver(store, ray_backend, roles=["data_forge"]).run(until_empty=True)
    ended = [store.get(name.id) for name in (job, *others)]
    assert [job.state for job in ended] == ["completed"] * 3
    assert [job.result for job in ended] == ["done"] * 3
    assert sum(job.deaths for job in ended) >= 1
    store.close()


class _Losing:
    """A backend whose node dies with the first command on it, as Ray tells of a dead raylet or process."""

    def __init__(self):
        self.submitted = []

    def slots(self, role):
        return 2

    def submit(self, attempt):
        self.submitted.append((attempt.claim.job.id, attempt.claim.job.attempt))
        return len(self.submitted)

    def poll(self, handle):
        if handle <= 2:
            raise Lost("the node died")
        return Ended(0, result=f"run {handle}")

    def stop(self, handle):
        raise AssertionError(handle)

    def close(self):
        pass


def test_jobs_on_a_node_that_dies_are_handed_over_again_and_end_once(tmp_path):
    store = JobStore(tmp_path)
    store.submit([spec("true")] * 3)
    backend = _Losing()
    Driver(store, backend, roles=["data_forge"]).run(until_empty=True)
    assert sorted(backend.submitted) == [
        ("data_gen-1", 1), ("data_gen-1", 2), ("data_gen-2", 1), ("data_gen-2", 2), ("data_gen-3", 1),
    ]  # fmt: skip
    assert [(job.state, job.deaths) for job in store.jobs()] == [("completed", 1), ("completed", 1), ("completed", 0)]
    assert sorted(event["job"] for event in store.events() if event["event"] == "finished") == [
        "data_gen-1", "data_gen-2", "data_gen-3",
    ]  # fmt: skip
    store.close()


def test_a_job_of_high_priority_overtakes_what_waits_in_the_queue(tmp_path):
    store = JobStore(tmp_path)
    pytest.importorskip("submitit")
    from frontier_ops.jobs.slurm_backend import SlurmBackend

    backend = SlurmBackend(tmp_path / "submitit", cluster="local", slots=1)
    order = []
    store.submit([spec("true") for _ in range(5)])

    def on_job(job):
        if job.state == "processing":
            order.append(job.id)
            if len(order) == 1:
                store.submit([spec("true", priority="high")])

    Driver(store, backend, roles=["data_forge"], on_job=on_job).run(until_empty=True)
    assert order.index("data_gen-6") <= 2  # at most what was in flight already is before it
    store.close()


def test_a_dead_driver_s_jobs_are_run_by_the_next(tmp_path):
    pytest.importorskip("submitit")
    from frontier_ops.jobs.slurm_backend import SlurmBackend

    store = JobStore(tmp_path)
    (job,) = store.submit([spec("test -e mark || { touch mark; exec sleep 1000; }; echo done")])
    pid = os.fork()
    if pid == 0:
        try:
            mine = JobStore(tmp_path)
            backend = SlurmBackend(tmp_path / "submitit", cluster="local", slots=1)
            Driver(mine, backend, roles=["data_forge"]).run()
        finally:
            os._exit(0)
    while not (tmp_path / "mark").exists():
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    Driver(store, SlurmBackend(tmp_path / "submitit", cluster="local", slots=1), roles=["data_forge"]).run(
        until_empty=True
    )
    assert (store.get(job.id).state, store.get(job.id).attempt, store.get(job.id).result) == ("completed", 2, "done")
    store.close()
