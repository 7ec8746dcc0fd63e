"""The job store: the state machine, claims and fences, and that the index is only an index."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier_core.errors import ConfigError, DataError, EnvironmentMissing, UsageError
from frontier_ops.jobs.job import JobSpec, State
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import DATABASE, HISTORY, JobStore, Taker


def spec(*argv, kind=JobType.REPORT, **values):
    return JobSpec(type=kind, argv=argv or ("true",), **values)


@pytest.fixture
def store(tmp_path):
    store = JobStore(tmp_path)
    yield store
    store.close()


def events(home):
    return [orjson.loads(line) for line in (home / HISTORY).read_bytes().splitlines()]


def whole(store):
    return [job.to_mapping() for job in store.jobs()]


def test_jobs_are_taken_by_priority_then_by_age(store):
    store.submit([spec(priority="low"), spec(), spec(priority="high"), spec()])
    taken = [store.claim("w").job.id for _ in range(4)]
    assert taken == ["report-3", "report-2", "report-4", "report-1"]
    assert store.claim("w") is None


def test_a_worker_takes_only_jobs_of_its_roles(store):
    store.submit([spec(kind=JobType.DATA_GEN), spec(kind=JobType.ARCHIVE), spec(kind=JobType.LAYER_DRIFT)])
    assert store.claim("w", roles=["vault_worker"]).job.id == "archive-2"
    assert store.claim("w", roles=["analytics"]).job.id == "layer_drift-3"
    assert store.claim("w", roles=["eval_worker"]) is None


def test_jobs_that_leave_the_same_outputs_are_not_run_side_by_side(store):
    store.submit([spec(outputs=("a",)), spec(outputs=("a",)), spec(outputs=("b",)), spec(), spec()])
    first = store.claim("w")
    assert [store.claim("w").job.id for _ in range(3)] == ["report-3", "report-4", "report-5"]
    assert store.claim("w") is None
    store.finish(first, State.COMPLETED)
    assert store.claim("w").job.id == "report-2"


def test_a_finished_job_keeps_how_it_ended(store):
    store.submit([spec()])
    store.finish(store.claim("w"), State.FAILED, exit_code=3, reason="exit code 3")
    job = store.get("report-1")
    assert (job.state, job.exit_code, job.reason, job.attempt, job.failures) == ("failed", 3, "exit code 3", 1, 1)
    assert [event["event"] for event in events(store.home)] == ["submitted", "claimed", "finished"]


def test_a_job_s_end_and_the_next_claim_are_one_write(store):
    store.submit([spec(), spec(kind=JobType.ARCHIVE), spec()])
    first = store.claim("w")
    before = store.history_size()
    writes = []
    write = os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: writes.append(data) or write(descriptor, data))
        job, following = store.finish(first, State.COMPLETED, taker=Taker(worker="w", roles=("analytics",)))
    assert (job.id, job.state) == ("report-1", "completed")
    assert (following.job.id, following.job.state, following.job.attempt) == ("report-3", "processing", 1)
    assert [(event["event"], event["job"]) for event in store.events(start=before)] == [
        ("finished", "report-1"),
        ("claimed", "report-3"),
    ]
    assert len(writes) == 1
    assert store.is_alive(following.job)
    assert not store.is_alive(job)
    assert store.finish(following, State.COMPLETED, taker=Taker(worker="w", roles=("analytics",)))[1] is None


def test_a_full_disk_at_a_job_s_end_takes_no_other_job(store, monkeypatch):
    store.submit([spec(), spec()])
    first = store.claim("w")

    def full(_descriptor, _data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            store.finish(first, State.COMPLETED, taker=Taker(worker="w"))
    assert [job.state for job in store.jobs()] == ["processing", "queued"]
    assert not store.is_alive(store.get("report-2"))
    assert store.finish(first, State.COMPLETED, taker=Taker(worker="w"))[1].job.id == "report-2"


def test_an_outdated_attempt_is_fenced_off(store):
    store.submit([spec()])
    old = store.claim("zombie")
    os.close(old.worker_lock)
    os.close(old.job_lock)
    assert [job.id for job in store.reclaim()] == ["report-1"]
    new = store.claim("w")
    with pytest.raises(DataError) as error:
        store.finish(old, State.COMPLETED)
    assert error.value.code == "fenced"
    store.finish(new, State.COMPLETED)
    assert [event["event"] for event in events(store.home)].count("finished") == 1


def test_a_job_whose_workers_keep_dying_fails(tmp_path):
    store = JobStore(tmp_path, max_deaths=3)
    store.submit([spec()])
    for _ in range(3):
        store.claim("w").release()
        (job,) = store.reclaim()
    assert (job.state, job.reason) == ("failed", "its worker died 3 times")
    store.close()


def test_a_living_worker_is_not_robbed(store):
    store.submit([spec()])
    claim = store.claim("w")
    assert store.reclaim() == []
    assert store.is_alive(claim.job)
    claim.release()
    assert not store.is_alive(claim.job)


def test_a_killed_worker_loses_its_job_and_its_command_is_killed(store):
    store.submit([spec("sleep", "1000")])
    code = (
        "import sys; from pathlib import Path; from frontier_ops.jobs.store import JobStore; "
        "from frontier_ops.jobs.worker import Worker; "
        "Worker(JobStore(Path(sys.argv[1])), on_job=lambda job: print(job.state, flush=True)).run()"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(store.home)], stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"processing\n"
    while not (sleeping := _running(b"sleep\x001000\x00", "report-1")):
        assert worker.poll() is None
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert [(job.id, job.state, job.deaths) for job in store.reclaim()] == [("report-1", "queued", 1)]
    assert _running(b"sleep\x001000\x00", "report-1") == []
    assert len(sleeping) == 1


def _running(cmdline, job_id):
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (
                path.joinpath("cmdline").read_bytes() == cmdline
                and job_id.encode() in path.joinpath("environ").read_bytes()
            ):
                found.append(path.name)
        except OSError:
            continue
    return found


def test_the_index_is_made_again_from_the_history(store):
    store.submit([spec(), spec(priority="high"), spec()])
    store.finish(store.claim("w"), State.COMPLETED, exit_code=0)
    store.retry_later(store.claim("w"), exit_code=1, reason="exit code 1", delay_s=0)
    store.request("report-3", "cancel")
    before = whole(store)
    assert store.rebuild() == 3
    assert whole(store) == before
    store.close()
    for path in store.home.joinpath("vault").iterdir():
        path.unlink()
    anew = JobStore(store.home)
    assert whole(anew) == before
    store._db, store._history, store._locks = anew._db, anew._history, anew._locks


def test_a_line_that_a_dying_writer_left_whole_has_happened(store):
    store.submit([spec()])
    event = b'{"event":"claimed","job":"report-1","at":"2026-01-01T00:00:00.000Z","attempt":1,"worker":"dead"}\n'
    with (store.home / HISTORY).open("ab") as file:
        file.write(event)
    assert [job.reason for job in store.reclaim()] == ["worker dead died"]


def test_a_torn_line_has_not_happened_and_is_cut_off(store):
    store.submit([spec()])
    size = (store.home / HISTORY).stat().st_size
    with (store.home / HISTORY).open("ab") as file:
        file.write(b'{"event":"finished","job":"report-1","sta')
    assert store.counts()["queued"] == 1
    assert (store.home / HISTORY).stat().st_size == size


def test_a_history_shorter_than_the_index_wins(store):
    store.submit([spec()])
    size = (store.home / HISTORY).stat().st_size
    store.finish(store.claim("w"), State.COMPLETED)
    os.truncate(store.home / HISTORY, size)  # a power loss took the end of the file
    assert store.counts()["queued"] == 1


def test_wherever_the_last_line_is_torn_the_store_is_whole(tmp_path):
    store = JobStore(tmp_path / "a")
    store.submit([spec(), spec()])
    store.finish(store.claim("w"), State.COMPLETED)
    data = (store.home / HISTORY).read_bytes()
    store.close()
    home = tmp_path / "b"
    for size in range(data[:-1].rfind(b"\n") - 1, len(data), 4):
        for path in (home / "vault").glob("*"):
            path.unlink()
        (home / "status").mkdir(parents=True, exist_ok=True)
        (home / HISTORY).write_bytes(data[:size])
        torn = JobStore(home)
        assert len(whole(torn)) == min(2, data[:size].count(b"\n"))
        assert (home / HISTORY).read_bytes() == data[: data[:size].rfind(b"\n") + 1]
        torn.close()


def test_a_damaged_database_is_said_and_named(tmp_path):
    (tmp_path / "vault").mkdir()
    (tmp_path / DATABASE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(EnvironmentMissing) as error:
        JobStore(tmp_path)
    assert DATABASE in error.value.message
    assert HISTORY in error.value.hint


def test_only_what_can_happen_is_recorded(store):
    store.submit([spec()])
    with pytest.raises(UsageError, match="there is nothing to pause"):
        store.request("report-1", "pause")
    with pytest.raises(UsageError, match="only what has ended"):
        store.retry("report-1")
    with pytest.raises(UsageError, match="no job 'report-9'"):
        store.request("report-9", "stop")
    assert len(events(store.home)) == 1


def test_cancelling_a_job_that_waits_skips_it_and_retry_queues_it_again(store):
    store.submit([spec()])
    assert (store.request("report-1", "cancel").state, store.get("report-1").reason) == ("skipped", "cancelled")
    assert store.claim("w") is None
    assert store.retry("report-1").state == "queued"
    assert store.claim("w").job.attempt == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"type": "evl", "argv": ["true"]}, "unknown job type 'evl'"),
        ({"type": "report", "argv": []}, "a job needs an argv"),
        ({"type": "report", "argv": ["true"], "priorty": "high"}, "unknown key of a job: 'priorty'"),
        ({"type": "report", "argv": ["true"], "priority": "urgent"}, "unknown priority 'urgent'"),
        ({"type": "report", "argv": "true"}, "argv must be a list"),
        ({"argv": ["true"]}, "a job needs a type"),
        ({"type": "eval", "argv": ["true"]}, "payload.checkpoint_id is missing"),
        ({"type": "sparring", "argv": ["true"], "payload": {"hero_id": "x"}}, "payload.checkpoint_id is missing"),
    ],
)
def test_a_bad_job_is_refused_before_it_is_queued(values, message):
    with pytest.raises(ConfigError) as error:
        JobSpec.from_mapping(values)
    assert message in error.value.message


def test_a_spec_round_trips():
    values = {
        "type": "eval", "argv": ["frontier", "eval"], "cwd": "x", "env": {"A": "1"}, "inputs": ["a"], "outputs": ["b"],
        "payload": {"checkpoint_id": "c"}, "priority": "high", "retries": 2,
    }  # fmt: skip
    assert JobSpec.from_mapping(values).to_mapping() == values | {
        "argv": ("frontier", "eval"),
        "inputs": ("a",),
        "outputs": ("b",),
    }


MOVES = st.lists(
    st.sampled_from(["submit", "claim", "complete", "fail", "later", "die", "reclaim", "cancel", "retry", "pause"]),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(MOVES)
def test_whatever_happens_the_history_tells_it_all(moves):
    with tempfile.TemporaryDirectory() as folder:
        store = JobStore(Path(folder), max_deaths=2)
        claims = []
        for move in moves:
            _move(store, move, claims)
        before = whole(store)
        store.rebuild()
        assert whole(store) == before
        for claim in claims:
            claim.release()
        store.close()


def _move(store, move, claims):
    try:
        if move == "submit":
            store.submit([spec(), spec(priority="high")])
        elif move == "claim":
            claims += [claim] if (claim := store.claim("w")) else []
        elif move == "reclaim":
            store.reclaim()
        elif move == "cancel":
            store.request("report-1", "cancel")
        elif move == "retry":
            store.retry("report-2")
        elif move == "pause" and claims:
            store.note_pause(claims[-1], is_paused=True)
        elif move == "die" and claims:
            claims.pop().release()
        elif move == "later" and claims:
            store.retry_later(claims.pop(), exit_code=1, reason="", delay_s=0)
        elif move in ("complete", "fail") and claims:
            store.finish(claims.pop(), State.COMPLETED if move == "complete" else State.FAILED)
    except (UsageError, DataError):
        pass
