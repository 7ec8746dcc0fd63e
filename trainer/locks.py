"""Settings that no later run of a model may change, and how they travel: with every checkpoint, in `locked.json`.

A lock is a setting of the run (`profile`, `max_length_tokens`, ...), or `model_architecture` or `base_model`, which are
held against the model itself. A run inherits the locks of the run it goes on from and may add its own; it can't lift
one. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import write_bytes
from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from trainer.config import TrainerConfig

FILE = "locked.json"
OF_THE_MODEL = ("model_architecture", "base_model")
_NEVER = ("locked", "output_dir", "train_files", "model_dir", "control_dir", "run_id", "round")
"""Settings that differ from run to run by their nature."""


def locks_of(model_dir: Path) -> dict[str, Any]:
    """Gives the locks that a model folder or checkpoint carries; none where it carries none.

    Raises:
        ConfigError: the file is no JSON object.
    """
    path = model_dir / FILE
    if not path.is_file():
        return {}
    try:
        value = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON", hint="restore it from another checkpoint of the run") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: holds no settings", hint="restore it from another checkpoint of the run")
    return value


def write_locks(folder: Path, locks: Mapping[str, Any]) -> None:
    """Writes the locks into a checkpoint; nothing where there are none."""
    if locks:
        write_bytes(folder / FILE, orjson.dumps(dict(locks), option=orjson.OPT_INDENT_2) + b"\n")


def check_locks(config: TrainerConfig, model_dir: Path) -> dict[str, Any]:
    """Gives the locks of a run: its model's and its own.

    Args:
        config: the run.
        model_dir: the folder its model is loaded from.
    Raises:
        ConfigError: a setting is not what it is locked to, a lock would change, or no such setting exists.
    """
    inherited = locks_of(model_dir)
    known = [item.name for item in fields(TrainerConfig) if item.name not in _NEVER]
    for key, value in config.locked.items():
        if key not in (*known, *OF_THE_MODEL):
            raise ConfigError(f"locked: no setting {key!r}", hint=did_you_mean(key, [*known, *OF_THE_MODEL]))
        if key in inherited and inherited[key] != value:
            raise ConfigError(
                f"locked: {key} is locked to {inherited[key]!r} by {model_dir}, not to {value!r}",
                hint="train from a model that is not bound to it, or keep the lock as it is",
            )
    locks = {**inherited, **config.locked}
    for key, value in locks.items():
        found = _found(key, config, model_dir, value)
        if found != value:
            where = f"by {model_dir}" if key in inherited else "by this run's config"
            raise ConfigError(
                f"{key}: is locked to {value!r} {where}, and is {found!r} here",
                hint=f"set {key} back, or train from a model that is not bound to it",
            )
    return locks


def _found(key: str, config: TrainerConfig, model_dir: Path, locked_to: Any) -> Any:
    """What a locked key is in this run."""
    if key == "model_architecture":
        names = _model_config(model_dir).get("architectures") or [""]
        return names[0]
    if key == "base_model":
        # A model without our mark is taken at its word; once bound, locked.json goes with every checkpoint.
        return locked_to
    return getattr(config, key)


def _model_config(model_dir: Path) -> dict[str, Any]:
    try:
        value = orjson.loads((model_dir / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
