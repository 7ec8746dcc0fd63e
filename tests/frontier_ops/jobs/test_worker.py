"""A worker: how a command's end becomes the job's, what is skipped, what can be asked of a running job."""

from __future__ import annotations

import os
import threading

import pytest

from frontier_ops.jobs.attempt import LOGS
from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.pool import run_workers
from frontier_ops.jobs.store import JobStore
from frontier_ops.jobs.worker import Worker


def spec(script, **values):
    return JobSpec(type=JobType.DATA_GEN, argv=("sh", "-c", script), **values)


@pytest.fixture
def store(tmp_path):
    store = JobStore(tmp_path)
    yield store
    store.close()


def work(store, *specs):
    jobs = store.submit(specs)
    Worker(store).run(until_empty=True)
    return [store.get(job.id) for job in jobs]


def test_a_command_that_succeeds_completes_its_job(store):
    (job,) = work(store, spec("echo hello > out; echo said", outputs=("out",)))
    assert (job.state, job.exit_code, job.attempt) == ("completed", 0, 1)
    assert job.output_sha256 == {"out": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"}
    assert (store.home / LOGS / "data_gen-1.1.out").read_text() == "said\n"
    assert job.result == "said"


def test_a_command_that_fails_fails_its_job(store):
    failed, missing, absent, no_input = work(
        store,
        spec("exit 7"),
        spec("true", outputs=("nothing",)),
        JobSpec(type=JobType.REPORT, argv=("no-such-command-here",)),
        spec("true", inputs=("no-such-file",)),
    )
    assert (failed.state, failed.exit_code, failed.reason) == ("failed", 7, "exit code 7")
    assert (missing.state, missing.reason) == ("failed", "it left no nothing")
    assert (absent.exit_code, absent.reason) == (127, "no-such-command-here: No such file or directory")
    assert "no-such-file: No such file" in no_input.reason


def test_a_failing_job_is_run_again_as_often_as_it_may(store):
    (job,) = work(store, spec("test -e mark || { touch mark; exit 1; }", retries=1))
    assert (job.state, job.attempt, job.failures) == ("completed", 2, 1)


def test_a_command_that_can_not_run_yet_is_put_back_and_counts_as_no_failure(store, monkeypatch):
    monkeypatch.setattr("frontier_ops.jobs.attempt.POSTPONE_S", 0.0)
    (job,) = work(store, spec("echo x >> tries; test $(wc -l < tries) = 3 || exit 75; echo done"))
    assert (job.state, job.result, job.attempt) == ("completed", "done", 3)
    assert (job.postponed, job.failures, job.deaths) == (2, 0, 0)
    requeued = [event for event in store.events() if event["event"] == "requeued"]
    assert [(event["cause"], event["reason"]) for event in requeued] == [("busy", "exit code 75: not now")] * 2


def test_a_command_that_never_can_run_fails_in_the_end(store, monkeypatch):
    monkeypatch.setattr("frontier_ops.jobs.attempt.MAX_POSTPONED", 2)
    monkeypatch.setattr("frontier_ops.jobs.attempt.POSTPONE_S", 0.0)
    (job,) = work(store, spec("exit 75"))
    assert (job.state, job.exit_code, job.attempt, job.reason) == ("failed", 75, 3, "exit code 75")


def test_a_job_whose_outputs_stand_is_skipped_until_an_input_changes(store):
    (store.home / "in").write_text("1")
    again = spec("cat in > out; echo run >> runs", inputs=("in",), outputs=("out",))
    states = [job.state for job in work(store, again) + work(store, again)]
    (store.home / "in").write_text("2")
    states += [job.state for job in work(store, again)]
    (store.home / "out").write_text("tampered with")
    states += [job.state for job in work(store, again)]
    assert states == ["completed", "skipped", "completed", "completed"]
    assert (store.home / "runs").read_text() == "run\n" * 3


def test_a_job_finds_its_name_and_attempt_in_the_environment(store):
    work(store, spec("echo $FRONTIER_JOB_ID $FRONTIER_JOB_ATTEMPT $MORE", env={"MORE": "x"}))
    assert (store.home / LOGS / "data_gen-1.1.out").read_text() == "data_gen-1 1 x\n"


SHOW = """pwd
grep SigIgn /proc/self/status
cut -d ' ' -f 6 /proc/$$/stat | grep -qx $$ && echo leads a session
for fd in /proc/$$/fd/*; do to=$(readlink $fd) && echo "${fd##*/} $(basename "$to")"; done | grep -v '^[0-2] '
"""


def test_a_worker_s_process_starts_a_command_alike_whichever_way(tmp_path):
    """Fast in the store's folder; through subprocess in another one, or with a search path of its own."""
    (tmp_path / "sub" / "bin").mkdir(parents=True)
    hello = tmp_path / "sub" / "bin" / "hello"
    hello.write_text("#!/bin/sh\necho $0\n")
    hello.chmod(0o755)
    store = JobStore(tmp_path)
    leaked = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    for values in (
        {"argv": ("sh", "-c", SHOW)},
        {"argv": ("sh", "-c", SHOW), "cwd": "sub"},
        {"argv": ("hello",), "env": {"PATH": f"{hello.parent}:/usr/bin:/bin"}},
        {"argv": ("no-such-command-here",)},
        {"argv": ("true",), "cwd": "nowhere"},
    ):
        store.submit([JobSpec(type=JobType.REPORT, **values)])
    run_workers(tmp_path, until_empty=True)
    os.close(leaked)
    fast, slow, own_path, absent, nowhere = store.jobs()
    shown = [(tmp_path / LOGS / f"{job.id}.1.out").read_text().splitlines() for job in (fast, slow)]
    assert [lines[0] for lines in shown] == [str(tmp_path), str(tmp_path / "sub")]
    for lines in shown:
        assert int(lines[1].split()[1], 16) & 0x7FFFFFFF == 0  # above: two that the C library keeps for itself
        assert lines[2] == "leads a session"
        assert [line.split()[1] for line in lines[3:]] == ["jobs.lock"]
    assert (own_path.state, own_path.result) == ("completed", str(hello))
    assert (absent.exit_code, absent.reason) == (127, "no-such-command-here: No such file or directory")
    assert (nowhere.exit_code, nowhere.reason) == (127, "true: No such file or directory")
    store.close()


def test_what_a_command_complains_of_is_kept_apart_from_its_result(store):
    (job,) = work(store, spec("echo 1; echo oops >&2; echo '{\"loss\": 0.5}'; echo"))
    assert job.result == '{"loss": 0.5}'
    assert (store.home / LOGS / "data_gen-1.1.err").read_text() == "oops\n"


def test_a_silent_job_leaves_no_log(store):
    work(store, spec("true"))
    assert list((store.home / LOGS).iterdir()) == []


def ask_while_running(store, script, *controls):
    """Runs a job and asks for controls one after another, each when the one before has been done."""
    (job,) = store.submit([spec(script)])
    home, problems = store.home, []

    def ask():
        other = JobStore(home)
        for control, state in controls:
            while other.get(job.id).state != state:
                if other.get(job.id).state.is_final:
                    problems.append(f"{control}: {other.get(job.id).state}")
                    return
            other.request(job.id, control)
        other.close()

    thread = threading.Thread(target=ask)
    thread.start()
    Worker(store).run(until_empty=True)
    thread.join()
    assert problems == []
    return store.get(job.id)


def test_a_running_job_is_stopped_when_asked(store):
    job = ask_while_running(store, "sleep 1000", ("stop", "processing"))
    assert (job.state, job.exit_code, job.reason) == ("stopped", 143, "asked to stop")


def test_a_running_job_is_paused_and_goes_on_when_asked(store):
    job = ask_while_running(store, "sleep 1000", ("pause", "processing"), ("resume", "paused"), ("stop", "processing"))
    assert job.state == "stopped"


def test_two_workers_run_each_job_once(store):
    jobs = store.submit([spec(f"echo {number} >> all") for number in range(40)])
    home = store.home

    def another():
        mine = JobStore(home)
        Worker(mine).run(until_empty=True)
        mine.close()

    threads = [threading.Thread(target=another) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {store.get(job.id).state for job in jobs} == {"completed"}
    assert sorted(map(int, (home / "all").read_text().split())) == list(range(40))


def test_a_worker_that_is_told_to_leave_puts_its_job_back(store):
    (job,) = store.submit([spec("touch begun; exec sleep 1000")])
    home = store.home
    worker = Worker(store)

    def tell():
        while not (home / "begun").exists():
            pass
        worker.is_stopping = True

    thread = threading.Thread(target=tell)
    thread.start()
    worker.run()
    thread.join()
    left = store.get(job.id)
    assert (left.state, left.reason, left.failures, left.deaths) == ("queued", "its worker was told to leave", 0, 0)


def test_nothing_is_taken_while_the_queue_is_held(store, tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    (job,) = store.submit([spec("true")])
    worker = Worker(store, hold=hold)
    answers = iter([True, True, False])
    assert worker.run(is_wanted=lambda: next(answers)) == 0
    hold.unlink()
    assert worker.run(until_empty=True) == 1
    assert store.get(job.id).state == "completed"
