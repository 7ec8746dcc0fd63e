"""The daemon: what it takes from the inbox, what it queues next, and that only one turns a folder's loop."""

from __future__ import annotations

import os
import time

import pytest

from frontier_core.errors import ConfigError, EnvironmentMissing
from frontier_ops.daemon import control
from frontier_ops.daemon.inbox import datasets, why_not_yet
from frontier_ops.daemon.loop import Daemon
from frontier_ops.daemon.rounds import SOURCE, open_round, read_round, steps
from frontier_ops.daemon.settings import AutoGenerate, DaemonSettings
from frontier_ops.jobs.job import State

NOBODY = DaemonSettings(workers=0, settle_s=0.0, retries=0, auto_generate=AutoGenerate(enabled=False))


def drop(home, name="first", text=b'{"a":1}\n'):
    folder = home / "inbox" / name
    folder.mkdir(parents=True)
    (folder / "training_samples.jsonl").write_bytes(text)
    return folder / "training_samples.jsonl"


@pytest.fixture
def daemon(tmp_path):
    notes = []
    daemon = Daemon(tmp_path, NOBODY, on_note=notes.append)
    daemon.notes = notes
    yield daemon
    daemon.store.close()
    os.close(daemon._lock)


def finish_next(daemon, state=State.COMPLETED):
    claim = daemon.store.claim("w")
    daemon.store.finish(claim, state, reason="" if state is State.COMPLETED else "exit code 1")
    return claim.job.spec.payload["step"]


def test_a_file_is_whole_when_nobody_writes_it_and_its_last_line_ends(tmp_path):
    path = drop(tmp_path)
    assert why_not_yet(path, 0.0) == ""
    assert why_not_yet(path, 60.0) == "it was written a moment ago"
    with path.open("ab") as writer:
        assert why_not_yet(path, 0.0) == "somebody has it open for writing"
        writer.write(b'{"b":')
    assert why_not_yet(path, 0.0) == "its last line has no end"
    path.write_bytes(b"")
    assert why_not_yet(path, 0.0) == "it is empty"


def test_datasets_are_taken_oldest_first(tmp_path):
    for number, name in enumerate(("new", "old")):
        os.utime(drop(tmp_path, name), (2000 - number * 1000,) * 2)
    assert [path.parent.name for path in datasets(tmp_path)] == ["old", "new"]


def test_a_half_begun_round_is_begun_whole_by_the_next_daemon(tmp_path):
    path = drop(tmp_path)
    folder = tmp_path / "rounds/0001"
    folder.mkdir(parents=True)
    source = '{"source":"inbox","dataset":"inbox/first/training_samples.jsonl","model":"m","earlier":[]}'
    (folder / SOURCE).write_text(source)  # and then the daemon died
    this = read_round(tmp_path, 1)
    assert (this.source, this.model) == ("inbox", "m")
    assert not path.exists()
    assert (folder / "training_samples.jsonl").read_bytes() == b'{"a":1}\n'


def test_the_steps_of_a_round_lead_from_the_inbox_to_service(tmp_path):
    this = open_round(tmp_path, 1, model="model", earlier=[], dataset=drop(tmp_path))
    settings = DaemonSettings(deploy_to="release", seed=3)
    made = dict(steps(this, settings, tmp_path))
    assert list(made) == ["validate", "train", "eval", "ingest", "reweight", "snapshot", "prune", "deploy"]
    assert made["eval"].payload["checkpoint_id"] == "rounds/0001/run"
    assert made["train"].role == "trainer"
    assert "--prev" not in made["reweight"].argv


def test_a_generated_round_follows_the_policy_of_the_last_one_that_left_one(tmp_path):
    (tmp_path / "rounds/0001").mkdir(parents=True)
    (tmp_path / "rounds/0001/policy.jsonl").touch()
    this = open_round(tmp_path, 3, model="rounds/0002/run", earlier=[1, 2], dataset=None)
    made = dict(steps(this, DaemonSettings(), tmp_path))
    assert list(made)[:4] == ["generate", "verify", "validate", "format"]
    words = made["generate"].argv
    assert words[words.index("--policy") + 1] == "rounds/0001/policy.jsonl"
    assert made["ingest"].inputs[-2:] == ("rounds/0003/run", "rounds/0003/eval.jsonl")


def test_a_round_goes_on_step_by_step_until_it_is_done(daemon, tmp_path):
    drop(tmp_path)
    done = []
    while daemon.tick():
        if daemon.store.counts()["queued"]:
            done.append(finish_next(daemon))
    assert done == ["validate", "train", "eval", "ingest", "reweight", "snapshot", "prune"]
    assert (tmp_path / "rounds/0001/done.json").exists()
    assert control.read_state(tmp_path)["state"] == "idle"


def test_a_step_that_fails_for_good_gives_the_round_up_and_the_next_dataset_is_taken(daemon, tmp_path):
    drop(tmp_path)
    daemon.tick()
    daemon.tick()
    finish_next(daemon, State.FAILED)
    drop(tmp_path, "second")
    assert daemon.tick()
    assert (tmp_path / "rounds/0001/given_up.json").exists()
    assert read_round(tmp_path, 2).model == "model"
    assert any("round 1 is given up: validate (data_filter-1) failed: exit code 1" in note for note in daemon.notes)


def test_the_next_daemon_goes_on_where_the_last_one_died(daemon, tmp_path):
    drop(tmp_path)
    daemon.tick()
    daemon.tick()
    finish_next(daemon)
    other = Daemon.__new__(Daemon)
    other.__dict__.update(daemon.__dict__, _steps={}, _seen=0)  # all it knew is gone; the files are there
    other.tick()
    assert [job.spec.payload["step"] for job in daemon.store.jobs()] == ["validate", "train"]


def test_a_pause_holds_the_loop_and_suspends_what_runs(daemon, tmp_path):
    drop(tmp_path)
    daemon.tick()
    daemon.tick()
    claim = daemon.store.claim("w")
    control.pause(tmp_path)
    daemon.tick()
    assert (daemon.store.get(claim.job.id).control, control.read_state(tmp_path)["state"]) == ("pause", "paused")
    daemon.store.note_pause(claim, is_paused=True)
    control.resume(tmp_path)
    daemon.tick()
    assert daemon.store.get(claim.job.id).control == "resume"
    claim.release()


def test_a_second_daemon_is_told_who_holds_the_folder(daemon, tmp_path):
    with pytest.raises(EnvironmentMissing) as error:
        Daemon(tmp_path, NOBODY, on_note=lambda _: None)
    assert error.value.message == f"{tmp_path}: another daemon holds it (pid {os.getpid()})"
    assert control.holder(tmp_path) == os.getpid()


def test_generation_waits_for_its_pause_and_stops_at_its_number(tmp_path):
    auto = AutoGenerate(count=5, cooldown_s=1000.0, max_rounds=2)
    daemon = Daemon(tmp_path, DaemonSettings(workers=0, auto_generate=auto), on_note=lambda _: None)
    assert daemon.tick()  # the first round needs no pause
    (tmp_path / "rounds/0001/done.json").touch()
    assert not daemon.tick()
    daemon._idle_since = time.monotonic() - 2000
    assert daemon.tick()
    (tmp_path / "rounds/0002/done.json").touch()
    daemon._idle_since = time.monotonic() - 2000
    assert not daemon.tick()
    daemon.store.close()
    os.close(daemon._lock)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"domians": "x"}, "unknown setting of the daemon: 'domians'"),
        ({"auto_generate": {"cuont": 1}}, "unknown setting of the daemon: auto_generate.'cuont'"),
        ({"workers": "2"}, "workers must be of type int"),
        ({"workers": -1}, "workers is -1; it must be 0 or more"),
        ({"snapshots": 1}, "snapshots must be of type bool"),
        ({"auto_generate": True}, "auto_generate must be an object"),
    ],
)
def test_a_wrong_setting_is_named(values, message):
    with pytest.raises(ConfigError) as error:
        DaemonSettings.from_mapping(values)
    assert message in error.value.message


def test_settings_take_whole_numbers_where_fractions_are_meant():
    assert DaemonSettings.from_mapping({"settle_s": 2, "auto_generate": {"cooldown_s": 1}}).settle_s == 2
