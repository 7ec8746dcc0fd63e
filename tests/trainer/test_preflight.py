"""What is refused before a model loads."""

from __future__ import annotations

import json
from collections import namedtuple

import pytest

from frontier_core.errors import EnvironmentMissing
from trainer import preflight
from trainer.config import TrainerConfig

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    (folder / "model.safetensors").write_bytes(b"\0" * 2000)
    return folder


def config(model, **changes):
    settings = {"model_dir": str(model), "train_files": ("t",), "output_dir": "r", "device": "cpu"}
    return TrainerConfig(**settings | changes)


def test_parameters_are_counted_from_bytes_and_type(model):
    assert preflight.parameters_on_disk(model) == 1000


def test_a_full_disk_is_said_before_the_work(model, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(0, 0, 35_999))
    with pytest.raises(EnvironmentMissing, match="3 checkpoints take"):
        preflight.preflight(config(model), model, tmp_path / "not" / "yet")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(0, 0, 36_000))
    preflight.preflight(config(model), model, tmp_path / "not" / "yet")


def test_too_little_memory_is_said_before_the_work(model, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "_free_memory", lambda _: (15_999, "the GPU"))
    with pytest.raises(EnvironmentMissing, match=r"the GPU: 0\.0 GiB are free") as caught:
        preflight.preflight(config(model), model, tmp_path)
    assert "adapter lora" in caught.value.hint
    preflight.preflight(config(model, adapter="lora"), model, tmp_path)


def test_another_trl_is_refused_for_grpo_alone(model, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "version", lambda _: "1.17.0")
    with pytest.raises(EnvironmentMissing, match=r"method grpo: trl 1.17.0 is not the supported 1.16"):
        preflight.preflight(config(model, method="grpo"), model, tmp_path)
    preflight.preflight(config(model), model, tmp_path)
