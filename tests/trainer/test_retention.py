"""Which checkpoints stay: newest, best, one a day; and what a kill at any moment or any system call leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frontier_core.errors import UsageError
from trainer.checkpoints import (
    begin_checkpoint,
    commit_checkpoint,
    damage,
    drop_old,
    drop_temp,
    folders,
    newest_committed,
    run_lock,
    step_of,
)
from trainer.retention import list_checkpoints, prune, snapshot

DEADLINE_S = 60.0


def commit(run_dir: Path, step: int, *, loss: float | None = None, weights: bytes = b"") -> Path:
    temp = begin_checkpoint(run_dir, step)
    (temp / "config.json").write_text("{}")
    (temp / "model.safetensors").write_bytes(weights or b"%d" % step * 2000)
    if loss is not None:
        (temp / "trainer_state.json").write_text(json.dumps({"log_history": [{"loss": 9.0}, {"loss": loss}]}))
    return commit_checkpoint(temp, run_dir, step, run_id="r")


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in run_dir.iterdir())


def test_a_list_says_step_size_loss_score_and_what_is_torn(tmp_path: Path) -> None:
    commit(tmp_path, 1, loss=2.5)
    (commit(tmp_path, 2) / "config.json").write_text("[]")

    newest, older = list_checkpoints(tmp_path, scores={1: 0.75})

    assert (newest.step, newest.problem) == (2, "holds a config.json that is not the one its manifest lists")
    assert (older.step, older.problem, older.loss, older.score) == (1, "", 2.5, 0.75)
    assert (newest.loss, newest.score) == (None, None)


def test_the_newest_and_the_best_by_loss_stay(tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 4.0)):
        commit(tmp_path, step, loss=loss)

    done = prune(tmp_path, keep_last=1, keep_best=1)

    assert (done.kept, done.removed) == (("checkpoint-4", "checkpoint-2"), ("checkpoint-3", "checkpoint-1"))
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-4"]


def test_an_evaluation_is_a_better_judge_than_the_loss(tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0)):
        commit(tmp_path, step, loss=loss)

    assert prune(tmp_path, keep_last=1, keep_best=1, scores={1: 0.9, 2: 0.2}, dry_run=True).kept == (
        "checkpoint-3", "checkpoint-1",
    )  # fmt: skip
    assert len(names(tmp_path)) == 3


def test_torn_ones_go_but_never_the_last_whole_one(tmp_path: Path) -> None:
    commit(tmp_path, 1)
    (commit(tmp_path, 2) / "manifest.json").unlink()

    assert prune(tmp_path, keep_last=1).removed == ("checkpoint-2",)
    (tmp_path / "checkpoint-1" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match="no whole checkpoint; nothing is removed"):
        prune(tmp_path, keep_last=1)
    assert names(tmp_path) == ["checkpoint-1"]


def test_nothing_is_pruned_under_a_living_trainer(tmp_path: Path) -> None:
    commit(tmp_path, 1)
    with run_lock(tmp_path), pytest.raises(UsageError, match="another process is training"):
        prune(tmp_path, keep_last=1)


def test_retention_after_a_passed_over_checkpoint_keeps_the_fresh_one(tmp_path: Path) -> None:
    damaged = commit(tmp_path, 10)
    data = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(b"X" + data[1:])
    os.utime(damaged / "manifest.json", ns=(1, 1))
    fresh = commit(tmp_path, 9)

    drop_old(tmp_path, 1)

    assert newest_committed(tmp_path) == fresh


def test_saving_a_step_again_replaces_its_checkpoint(tmp_path: Path) -> None:
    commit(tmp_path, 3, weights=b"old")
    again = commit(tmp_path, 3, weights=b"new")

    assert (damage(again), (again / "model.safetensors").read_bytes()) == ("", b"new")
    assert names(tmp_path) == ["checkpoint-3"]


def test_a_snapshot_is_the_days_newest_and_outlives_retention(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    kept = commit(run, 1)

    path, is_new = snapshot(run, day="2026-11-29")
    again, is_new_again = snapshot(run, day="2026-11-29")
    commit(run, 2)
    prune(run, keep_last=1)
    snapshot(run, day="2026-11-30")

    assert path == again == tmp_path / "run-snapshots" / "2026-11-29" / "checkpoint-1"
    assert (is_new, is_new_again, damage(path), kept.exists()) == (True, False, "", False)
    done = prune(run, keep_last=1, keep_daily=1)
    assert done.snapshots_removed == ("2026-11-29",)
    assert names(tmp_path / "run-snapshots") == ["2026-11-30"]


@pytest.mark.slow
def test_sigkill_at_random_moments_never_leaves_a_torn_newest_checkpoint(tmp_path: Path) -> None:
    # The same with the whole engine, and with the stock Trainer beside it: benchmarks/checkpoints.py.
    rng = random.Random(0)
    for _ in range(40):
        before = newest_committed(tmp_path)
        child = os.fork()
        if child == 0:
            save_for_ever(tmp_path)
        time.sleep(rng.uniform(0, 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = folders(tmp_path)
        assert all(damage(checkpoint) == "" for checkpoint in found[:1])
        assert step_of(found[0] if found else tmp_path) >= (step_of(before) if before else -1)
    drop_temp(tmp_path)
    assert all(name.startswith("checkpoint-") for name in names(tmp_path))


def save_for_ever(run_dir: Path) -> None:
    """What a run does: resume from the newest, drop leftovers, save each step, keep two. Never returns."""
    try:
        drop_temp(run_dir)
        newest = newest_committed(run_dir)
        step = step_of(newest) if newest else 0
        while True:
            step += 1
            commit(run_dir, step)
            drop_old(run_dir, 2)
    finally:
        os._exit(1)


STRACE = shutil.which("strace")
SAVE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from trainer.checkpoints import begin_checkpoint, commit_checkpoint, drop_old, drop_temp
run = Path(sys.argv[1])
drop_temp(run)
temp = begin_checkpoint(run, 2)
(temp / "model.safetensors").write_bytes(b"2" * 50)
commit_checkpoint(temp, run, 2, run_id="r")
drop_old(run, 1)
"""
CALLS = ("write", "fsync", "rename", "renameat2", "mkdir", "unlink", "unlinkat", "rmdir")


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_a_fault_at_any_system_call_of_a_save_leaves_the_old_checkpoint_or_the_new(tmp_path: Path, fault: str) -> None:
    """Every such call of a save is hit once; errors at every third one unless FRONTIER_SWEEP=1."""
    stride = 1 if os.environ.get("FRONTIER_SWEEP") or fault == "signal=KILL" else 3
    num_hit = 0
    for call in CALLS:
        number = 1 if stride == 1 else 1 + len(call) % stride
        while save_under_fault(tmp_path / f"{call}-{number}", call, number, fault):
            num_hit += 1
            number += stride
    assert num_hit >= (15 if stride == 1 else 3)


def save_under_fault(run: Path, call: str, number: int, fault: str) -> bool:
    """Saves once with the n-th such call failing; says whether there was an n-th."""
    run.mkdir()
    old = commit(run, 1)
    trace = run.with_suffix(".trace")
    done = subprocess.run(
        [str(STRACE), "-f", "-qq", "-o", str(trace), "-e", f"trace={call}",
         "-e", f"inject={call}:{fault}:when={number}",
         sys.executable, "-c", SAVE, str(run), str(Path(__file__).parents[2])],
        capture_output=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    is_hit = "INJECTED" in trace.read_text() or "SIGKILL" in trace.read_text()
    newest = newest_committed(run)
    assert newest == folders(run)[0], (call, number, done.stderr)
    assert newest == old or step_of(newest) == 2
    if not is_hit:
        assert (done.returncode, step_of(newest)) == (0, 2), done.stderr
    elif newest == old:
        assert done.returncode != 0
    drop_temp(run)
    assert [name for name in names(run) if not name.startswith("checkpoint-")] == []
    shutil.rmtree(run)
    return is_hit
