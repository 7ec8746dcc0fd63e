"""Checkpoints on disk: whole or passed over, and which folder a model is loaded from."""

from __future__ import annotations

from pathlib import Path

import pytest

from frontier_core.errors import ConfigError, UsageError
from trainer.checkpoints import (
    begin_checkpoint,
    commit_checkpoint,
    damage,
    drop_old,
    drop_run,
    drop_temp,
    latest_checkpoint,
    resolve_model,
    run_lock,
)


def commit(run_dir: Path, step: int, weights: bytes = b"weights") -> Path:
    temp = begin_checkpoint(run_dir, step)
    (temp / "config.json").write_text("{}")
    (temp / "model.safetensors").write_bytes(weights)
    return commit_checkpoint(temp, run_dir, step, run_id="r")


def test_newest_checkpoint_is_the_highest_number_not_the_last_name(tmp_path: Path) -> None:
    commit(tmp_path, 9)
    commit(tmp_path, 10)
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_uncommitted_folder_is_invisible_and_dropped_later(tmp_path: Path) -> None:
    commit(tmp_path, 1)
    (begin_checkpoint(tmp_path, 2) / "model.safetensors").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-1"
    drop_temp(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


@pytest.mark.parametrize(
    ("tear", "problem"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest: its writer was interrupted"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "has a manifest that can't be read"),
        (
            lambda folder: (folder / "manifest.json").write_text('{"schema":"x","files":{}}'),
            "has a manifest that is not of schema frontier_checkpoint_v1",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"Weights"),
            "holds a model.safetensors that is not the one its manifest lists",
        ),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"wei"),
            "holds a model.safetensors that is not the one its manifest lists",
        ),
    ],
)
def test_torn_checkpoint_is_passed_over_with_a_note(tmp_path: Path, tear: object, problem: str) -> None:
    commit(tmp_path, 1)
    tear(commit(tmp_path, 2))  # type: ignore[operator]
    notes: list[str] = []
    assert latest_checkpoint(tmp_path, notes) == tmp_path / "checkpoint-1"
    assert notes == [f"{tmp_path}/checkpoint-2 skipped: it {problem}"]


def test_whole_checkpoint_has_no_damage(tmp_path: Path) -> None:
    assert damage(commit(tmp_path, 1)) == ""


def test_no_whole_checkpoint_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such run folder"):
        latest_checkpoint(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"holds no whole checkpoint$"):
        latest_checkpoint(tmp_path)
    (commit(tmp_path, 2) / "manifest.json").unlink()
    with pytest.raises(UsageError, match=r"holds no whole checkpoint \(1 torn\)$"):
        latest_checkpoint(tmp_path)


def test_old_checkpoints_go_and_the_newest_stay(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        commit(tmp_path, step)
    drop_old(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]


def test_dropping_a_run_leaves_foreign_files(tmp_path: Path) -> None:
    commit(tmp_path, 1)
    for name in ("events.jsonl", "result.json", "config.resolved.json", "notes.txt"):
        (tmp_path / name).write_text("x")
    drop_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_model_folder_checkpoint_and_run_all_resolve(tmp_path: Path) -> None:
    checkpoint = commit(tmp_path / ".", 3)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"w")
    assert resolve_model(model) == model
    assert resolve_model(checkpoint) == checkpoint
    assert resolve_model(tmp_path) == checkpoint


def test_what_holds_no_model_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        resolve_model(tmp_path / "absent")
    with pytest.raises(ConfigError, match="holds neither a model"):
        resolve_model(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is a file, not a model folder"):
        resolve_model(tmp_path / "file")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has a config\.json but no weights"):
        resolve_model(tmp_path)


def test_torn_checkpoint_named_outright_is_refused(tmp_path: Path) -> None:
    checkpoint = commit(tmp_path, 1)
    (checkpoint / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ConfigError, match="that is not the one its manifest lists"):
        resolve_model(checkpoint)


def test_run_folder_belongs_to_one_trainer_at_a_time(tmp_path: Path) -> None:
    with run_lock(tmp_path), pytest.raises(UsageError, match="another process is training into it"), run_lock(tmp_path):
        pass
    with run_lock(tmp_path):
        pass
