"""The run's config file: our flat settings, or the grouped `config.json` of the system's documents, or a mix of both.

    {"model_name": "qwen3_0.6b", "model_path": "models/Qwen3-0.6B", "profile": {"name": "emoji_think"},
     "hyperparams": {"fp_precision": "bf16", "max_length": 2048, "batch_size": 1, "gradient_accumulation": 16},
     "fortune_teller": {"metric": "entropy"}, "auto_generate": {"enabled": true, "port": 8080},
     "locked": {"model_architecture": "Qwen3ForCausalLM"}}

Becomes the settings of TrainerConfig; an unknown key at any depth is an error that names the nearest known one.
`batch_size` times `gradient_accumulation` is examples per optimizer step, which is what our `batch_size` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from trainer.config import TrainerConfig

_RENAMED = {
    "fp_precision": "precision",
    "max_length": "max_length_tokens",
    "model_path": "model_dir",
    "num_train_epochs": "num_epochs",
    "warmup_ratio": "warmup_share",
    "save_steps": "save_every_steps",
    "logging_steps": "logging_every_steps",
    "lr_scheduler": "lr_schedule",
}
"""Names of the documents and of transformers -> ours."""

_GROUPS: dict[str, dict[str, str]] = {
    "profile": {"name": "profile", "mode": "profile_mode"},
    "fortune_teller": {
        "metric": "surprise_metric",
        "surprise_metric": "surprise_metric",
        "min_weight": "surprise_min_weight",
        "max_weight": "surprise_max_weight",
        "temperature": "surprise_temperature",
    },
    "lora": {
        "rank": "lora_rank",
        "r": "lora_rank",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "targets": "lora_targets",
    },
    "dpo": {"beta": "dpo_beta"},
    "grpo": {
        "num_generations": "num_generations",
        "max_new_tokens": "max_new_tokens",
        "temperature": "rollout_temperature",
        "kl_beta": "kl_beta",
        "sandbox": "sandbox",
    },
    "distill": {"teacher": "teacher_dir", "temperature": "distill_temperature", "share": "distill_share"},
}
"""Group -> its key -> our setting."""

SCHOOLS = {
    "scribe": "sft",
    "mirror": "sparring",
    "judge": "dpo",
    "champion": "grpo",
    "whisper": "distill",
}
"""The documents' names of methods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoGenerate:
    """When the daemon generates data by itself: `enabled`, from which service, how many records, seconds between."""

    enabled: bool = False
    host: str = "localhost"
    port: int = 8080
    count: int = 100
    cooldown_s: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """A config file taken apart: settings of TrainerConfig, each with its place in the file, and auto_generate."""

    settings: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    auto_generate: AutoGenerate = field(default_factory=AutoGenerate)


def read_run_settings(values: Mapping[str, Any], origin: str) -> RunFile:
    """Takes a config file's object apart.

    Args:
        values: the object.
        origin: the file, for messages and origins.
    Raises:
        ConfigError: an unknown key (names the nearest), a group that is no object, or a setting given twice.
    """
    settings: dict[str, Any] = {}
    origins: dict[str, str] = {}

    def put(key: str, value: Any, place: str) -> None:
        if key in settings:
            raise ConfigError(f"{origin}: {place} and {origins[key]} both set {key}", hint="keep one of them")
        settings[key] = SCHOOLS.get(str(value).lower(), value) if key == "method" else value
        origins[key] = place

    flat = [item.name for item in fields(TrainerConfig)]
    auto = AutoGenerate()
    for key, value in values.items():
        if key == "hyperparams":
            _hyperparams(_object(value, key, origin), flat, put, origin)
        elif key == "auto_generate":
            auto = _auto_generate(_object(value, key, origin), origin)
        elif key in _GROUPS and not isinstance(value, str):
            known = _GROUPS[key]
            for name, inner in _object(value, key, origin).items():
                if name not in known:
                    raise _unknown(f"{key}.{name}", [f"{key}.{other}" for other in known], origin)
                put(known[name], inner, f"{key}.{name}")
        elif key in flat or key in _RENAMED:
            put(_RENAMED.get(key, key), value, key)
        else:
            raise _unknown(key, [*flat, *_RENAMED, *_GROUPS, "hyperparams", "auto_generate"], origin)
    return RunFile(
        settings=settings,
        origins={key: origin if place == key else f"{origin} {place}" for key, place in origins.items()},
        auto_generate=auto,
    )


def _hyperparams(group: Mapping[str, Any], flat: list[str], put: Any, origin: str) -> None:
    """The documents' hyperparams: our settings or their names; batch and accumulation become one number."""
    accumulation = group.get("gradient_accumulation", 1)
    if not isinstance(accumulation, int) or isinstance(accumulation, bool) or accumulation < 1:
        raise ConfigError(f"{origin}: hyperparams.gradient_accumulation: must be a whole number, got {accumulation!r}")
    for name, value in group.items():
        place = f"hyperparams.{name}"
        if name == "gradient_accumulation":
            if "batch_size" not in group:
                put("batch_size", accumulation, place)
        elif name == "batch_size" and accumulation > 1 and isinstance(value, int):
            put("batch_size", value * accumulation, f"{place} x gradient_accumulation")
        elif name in flat or name in _RENAMED:
            put(_RENAMED.get(name, name), value, place)
        else:
            known = [f"hyperparams.{other}" for other in (*flat, *_RENAMED, "gradient_accumulation")]
            raise _unknown(place, known, origin)


def _auto_generate(group: Mapping[str, Any], origin: str) -> AutoGenerate:
    kinds: dict[str, type] = {"enabled": bool, "host": str, "port": int, "count": int, "cooldown_s": int}
    given: dict[str, Any] = {}
    for name, value in group.items():
        key = "cooldown_s" if name == "cooldown" else name
        if key not in kinds:
            raise _unknown(f"auto_generate.{name}", [f"auto_generate.{other}" for other in kinds], origin)
        if not isinstance(value, kinds[key]) or (isinstance(value, bool) and kinds[key] is int):
            raise ConfigError(f"{origin}: auto_generate.{name}: must be of type {kinds[key].__name__}, got {value!r}")
        given[key] = value
    return AutoGenerate(**given)


def _object(value: Any, key: str, origin: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{origin}: {key}: must be an object of key: value, got {value!r}")
    return value


def _unknown(key: str, known: list[str], origin: str) -> ConfigError:
    return ConfigError(f"{origin}: unknown key {key!r}", hint=did_you_mean(key, known))
