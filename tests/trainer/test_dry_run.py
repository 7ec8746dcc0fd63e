"""The plan of a run: told without a training library, and agreeing with what the run then does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("torch")

from frontier_core.errors import DataError
from tests.trainer.conftest import chat, sums
from trainer.config import TrainerConfig
from trainer.dry_run import model_shape, plan_run
from trainer.engine import TrainerEngine

pytestmark = pytest.mark.torch
Write = Callable[..., Path]


@pytest.fixture
def config(model_dir: Path, write: Write, tmp_path: Path) -> TrainerConfig:
    return TrainerConfig(
        model_dir=str(model_dir),
        train_files=(str(write(sums(40))),),
        output_dir=str(tmp_path / "run"),
        batch_size=8,
        max_length_tokens=60,
        device="cpu",
        num_threads=1,
    )


def test_plan_agrees_with_the_run(config: TrainerConfig) -> None:
    plan = plan_run(config, {"batch_size": "--set"})
    assert not Path(config.output_dir).exists()
    result = TrainerEngine().run_job(config)
    assert plan["num_steps"] == result.global_step == 5
    assert plan["model"]["num_parameters"] == result.summary["num_parameters"]
    assert plan["data"]["num_examples"] == result.summary["num_examples"] == 40
    assert plan["data"]["num_supervised_tokens"] == result.summary["num_supervised_tokens"]
    assert TrainerConfig.from_mapping(plan["config"]) == config
    assert plan["origins"] == {"batch_size": "--set"}


def test_no_training_library_is_loaded_for_it(config: TrainerConfig) -> None:
    program = (
        "import sys, orjson; from trainer.config import TrainerConfig; from trainer.dry_run import plan_run;"
        "plan_run(TrainerConfig.from_mapping(orjson.loads(sys.argv[1])));"
        "print([name for name in ('torch', 'transformers', 'trl', 'datasets') if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", program, orjson.dumps(config.to_mapping())], capture_output=True, text=True, check=True
    )
    assert out.stdout == "[]\n"


def test_large_data_is_estimated_and_said_so(config: TrainerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = plan_run(config)["data"]
    monkeypatch.setattr("trainer.dry_run.EXACT_RECORDS", 30)
    plan = plan_run(config)
    assert plan["data"]["is_estimated"]
    assert plan["data"]["num_tokens"] == pytest.approx(exact["num_tokens"], rel=0.15)
    assert plan["notes"] == ["tokens estimated from 30 of 40 records"]


def test_nothing_supervised_is_refused_before_a_model_is_looked_at(config: TrainerConfig, write: Write) -> None:
    empty = chat("2 + 3?", "5")
    empty["messages"][1]["content"] = ""
    files = (str(write([empty], name="empty.jsonl")),)
    made: dict[str, Any] = config.to_mapping() | {"train_files": list(files)}
    for run in (plan_run, TrainerEngine().run_job):
        with pytest.raises(DataError, match="the assistant text is empty: nothing to learn"):
            run(TrainerConfig.from_mapping(made))


def test_sizes_are_read_from_headers(model_dir: Path) -> None:
    shape = model_shape(model_dir)
    assert (shape.num_layers, shape.hidden, shape.query, shape.key, shape.has_norm_of_heads) == (2, 32, 32, 16, True)
