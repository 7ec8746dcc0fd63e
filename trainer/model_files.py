"""Loads a model and its tokenizer from a folder, offline; what can't be loaded is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError
from trainer.adapters import add_adapter, loading_options
from trainer.config import TrainerConfig


def load_tokenizer(folder: Path) -> Any:
    """Gives the tokenizer of a model folder, or raises ConfigError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: the tokenizer can't be loaded: {_first_line(error)}") from error


def load_model(folder: Path, **options: Any) -> Any:
    """Gives the model of a folder in float32, or raises ConfigError; `options` go to `from_pretrained`."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="float32", **options)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: the model can't be loaded: {_first_line(error)}") from error
    model.config.use_cache = False
    return model


def load_for_training(config: TrainerConfig, base_dir: Path, checkpoint: Path | None) -> Any:
    """Gives the model a run trains: its base, or its checkpoint; with an adapter the base and the checkpoint's adapter.

    Args:
        config: the run.
        base_dir: the model it began from.
        checkpoint: where it goes on from, None for the beginning.
    """
    if config.adapter == "none":
        model = load_model(checkpoint or base_dir)
    else:
        model = add_adapter(load_model(base_dir, **loading_options(config)), config, checkpoint)
    # Whatever needs the model as it was (a reference) reads it again by this name.
    model.config._name_or_path = str(base_dir)
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
