"""The run config that ships is one the engine takes."""

from __future__ import annotations

import orjson

from frontier_core.resources import shipped
from trainer.config import TrainerConfig


def test_shipped_run_config_is_valid_with_the_three_places_added() -> None:
    values = orjson.loads(shipped("config/train.json").read_bytes())
    places = {"model_dir": "model", "train_files": "train.jsonl", "output_dir": "run"}
    config = TrainerConfig.from_mapping(values | places, origin="config/train.json")
    assert (config.profile, config.learning_rate, config.batch_size) == ("emoji_think", 0.006, 8)
