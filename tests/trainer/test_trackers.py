"""What a run does beside training: half precision, and telling trackers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from curriculum.ingest import ingest
from frontier_core.errors import ConfigError, EnvironmentMissing
from tests.trainer.conftest import sums
from trainer.config import TrainerConfig, TrainingResult
from trainer.engine import TrainerEngine
from trainer.trackers import guard_trackers, told_as

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


def test_an_unknown_tracker_is_refused_with_the_nearest(model_dir: Path, write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown tracker 'tensorbord'") as found:
        run(model_dir, write(sums(4)), tmp_path / "run", report_to="tensorbord")
    assert "tensorboard" in found.value.hint
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed_is_said_before_anything_is_loaded(
    model_dir: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.trackers.find_spec", lambda _: None)
    with pytest.raises(EnvironmentMissing, match="report_to: mlflow is not installed") as found:
        run(model_dir, write(sums(4)), tmp_path / "run", report_to="mlflow")
    assert "pip install mlflow-skinny" in found.value.hint
    assert not (tmp_path / "run").exists()


def test_what_a_tracker_refuses_is_no_fault_of_ours() -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("the store is\nin maintenance")

    integration = {"__module__": "transformers.integrations.integration_utils", "setup": staticmethod(refuse)}
    callback: Any = type("MLflowCallback", (), integration)()
    guard_trackers([callback])
    with pytest.raises(EnvironmentMissing, match="report_to: mlflow: the store is in maintenance"):
        callback.setup("args", "state", "model")


@pytest.mark.filterwarnings("ignore")  # of the trackers' own packages
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_what_a_tracker_was_told_is_read_back(
    name: str, model_dir: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed")
    for key, value in {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlruns",
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }.items():
        monkeypatch.setenv(key, value)
    assert run(model_dir, write(sums(40)), tmp_path / "run", report_to=name).success
    if name == "wandb":
        import wandb

        wandb.finish()
    (source,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb") if name == "wandb" else [tmp_path / "mlruns"]
    notes: list[str] = []
    lines = list(ingest([source], on_note=notes.append))
    told = {(line.key.tag, line.key.metric, line.key.step_to) for line in lines}
    assert not notes
    for tag in ("skill=add,level=1", "skill=say,level=2"):
        assert {step for found, metric, step in told if (found, metric) == (tag, "loss")} == {5, 10}


def test_a_tags_name_is_one_that_mlflow_takes() -> None:
    assert told_as("loss/skill=add,level=1", "wandb") == "loss/skill=add,level=1"
    assert told_as("loss/skill=add,level=1", "tensorboard,mlflow") == "train/loss/skill:add level:1"
