"""What a run does beside training: half precision, and telling trackers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.trainer.conftest import sums
from trainer.config import TrainerConfig, TrainingResult
from trainer.engine import TrainerEngine

pytestmark = pytest.mark.torch
Write = Callable[..., Path]


def run(model: Path, file: Path, output: Path, **settings: Any) -> TrainingResult:
    given: dict[str, Any] = {
        "model_dir": str(model),
        "train_files": [str(file)],
        "output_dir": str(output),
        "profile": "plain",
        "batch_size": 8,
        "max_steps": 10,
        "learning_rate": 1e-2,
        "logging_every_steps": 5,
        "device": "cpu",
        "num_threads": 1,
    }
    return TrainerEngine().run_job(TrainerConfig.from_mapping(given | settings))


def test_bf16_learns_what_fp32_learns_and_keeps_fp32_weights(model_dir: Path, write: Write, tmp_path: Path) -> None:
    from safetensors import safe_open

    file = write(sums(40))
    losses = {}
    for precision in ("fp32", "bf16"):
        result = run(model_dir, file, tmp_path / precision, precision=precision)
        assert result.success
        losses[precision] = result.final_loss
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    with safe_open(tmp_path / "bf16" / "checkpoint-10" / "model.safetensors", framework="pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.float32"}  # noqa: SIM118


def test_tensorboard_gets_each_tags_loss(model_dir: Path, write: Write, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run(model_dir, write(sums(40)), tmp_path / "run", report_to="tensorboard")
    (file,) = (tmp_path / "run").rglob("events.out.tfevents*")
    told = EventAccumulator(str(file))
    told.Reload()
    found = {name: [(event.step, event.value) for event in told.Scalars(name)] for name in told.Tags()["scalars"]}
    for tag in ("all", "skill=add,level=1", "skill=say,level=2"):
        (series,) = [values for name, values in found.items() if name.endswith(f"loss/{tag}")]
        assert [step for step, _ in series] == [5, 10]
    (whole,) = [values for name, values in found.items() if name.endswith("train/loss")]
    assert whole[-1][1] == pytest.approx(result.final_loss, abs=1e-5)
