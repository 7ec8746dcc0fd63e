"""TrainerConfig and TrainingResult: checks and JSON round trips."""

from __future__ import annotations

import orjson
import pytest

from frontier_core.errors import ConfigError
from trainer.config import TrainerConfig, TrainingResult

NEEDED = {"model_dir": "m", "train_files": ["a.jsonl", "b.jsonl"], "output_dir": "run"}


def test_config_round_trips_through_json() -> None:
    config = TrainerConfig.from_mapping({**NEEDED, "learning_rate": 2e-3, "round": 2})
    assert TrainerConfig.from_mapping(orjson.loads(orjson.dumps(config.to_mapping()))) == config
    assert config.train_files == ("a.jsonl", "b.jsonl")
    assert config.round == 2


def test_one_file_may_be_given_as_a_string() -> None:
    assert TrainerConfig.from_mapping({**NEEDED, "train_files": "-"}).train_files == ("-",)


def test_unknown_key_names_the_nearest_and_the_origin() -> None:
    with pytest.raises(ConfigError) as error:
        TrainerConfig.from_mapping({**NEEDED, "learning_rat": 1e-3}, origin="config/train.json")
    assert error.value.message == "config/train.json: unknown key 'learning_rat'"
    assert error.value.hint == "did you mean 'learning_rate'?"


def test_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="config: 'model_dir' is missing"):
        TrainerConfig.from_mapping({"train_files": ["a"], "output_dir": "o"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0}, "learning_rate: must be above 0, got 0"),
        ({"learning_rate": float("inf")}, "learning_rate: must be above 0, got inf"),
        ({"learning_rate": "fast"}, "learning_rate: must be of type float, got 'fast'"),
        ({"batch_size": 0}, "batch_size: must be at least 1, got 0"),
        ({"batch_size": True}, "batch_size: must be of type int, got True"),
        ({"max_steps": -1}, "max_steps: must be at least 0, got -1"),
        ({"warmup_share": 1.0}, "warmup_share: must be in [0, 1), got 1.0"),
        ({"train_files": []}, "train_files: names no file"),
        ({"train_files": [1]}, "train_files: must be a list of file names"),
        ({"train_files": 7}, "train_files: must be a list of file names"),
        ({"run_id": ""}, "run_id: must not be empty"),
        ({"precision": "fp8"}, "precision: unknown 'fp8'"),
        ({"profile": "loud"}, "unknown profile 'loud'"),
    ],
)
def test_values_out_of_range_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrainerConfig.from_mapping({**NEEDED, **change})
    assert error.value.message == f"config: {message}"


def test_identity_ignores_where_files_lie_but_not_how_to_train() -> None:
    one = TrainerConfig.from_mapping(NEEDED)
    moved = TrainerConfig.from_mapping({**NEEDED, "output_dir": "elsewhere", "keep_last": 5})
    other = TrainerConfig.from_mapping({**NEEDED, "learning_rate": 1e-3})
    assert one.decisive() == moved.decisive()
    assert one.decisive() != other.decisive()


def test_result_round_trips_and_a_loss_that_is_no_number_becomes_null() -> None:
    result = TrainingResult(
        success=False,
        global_step=3,
        runtime_sec=1.5,
        last_checkpoint_path=None,
        final_loss=float("nan"),
        error_message="the loss is nan",
    )
    stored = orjson.loads(orjson.dumps(result.to_mapping()))
    assert stored["final_loss"] is None
    assert TrainingResult.from_mapping(stored).error_message == "the loss is nan"
    whole = TrainingResult(
        success=True, global_step=3, runtime_sec=1.5, last_checkpoint_path="r/checkpoint-3", final_loss=0.25
    )
    assert TrainingResult.from_mapping(whole.to_mapping()) == whole
