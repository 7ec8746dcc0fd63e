"""What the daemon is told: one JSON file, typed, unknown keys refused with the nearest known one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoGenerate:
    """Making data when nothing waits: how many records a round, and the pause after a round before the next."""

    enabled: bool = True
    count: int = 2000
    cooldown_s: float = 0.0
    max_rounds: int = 0
    """Rounds in all, 0 without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """One loop that runs unattended. Paths are relative to the daemon's home folder.

    `model` is the folder the first round trains from; each later round goes on from the one before. `deploy_to` "" does
    not deploy. `settle_s` is how long an inbox file must have kept its size. `retries` counts runs of a step after one
    that failed; a round whose step fails for good is given up and the next begins.
    """

    domains: str = "domains.yaml"
    model: str = "model"
    train_config: str = "config/train.json"
    profile: str = "emoji_think"
    seed: int = 0
    eval_num: int = 12
    sandbox: str = "auto"
    deploy_to: str = ""
    keep_last: int = 2
    snapshots: bool = True
    settle_s: float = 2.0
    workers: int = 1
    retries: int = 1
    auto_generate: AutoGenerate = field(default_factory=AutoGenerate)

    @staticmethod
    def from_mapping(values: dict[str, Any]) -> DaemonSettings:
        """Reads settings.

        Raises:
            ConfigError: an unknown key, or a value of the wrong type; names the key.
        """
        plain = _typed(DaemonSettings, {key: value for key, value in values.items() if key != "auto_generate"}, "")
        nested = values.get("auto_generate", {})
        if not isinstance(nested, dict):
            raise ConfigError("auto_generate must be an object", hint='{"enabled": true, "count": 2000}')
        return DaemonSettings(**plain, auto_generate=AutoGenerate(**_typed(AutoGenerate, nested, "auto_generate.")))


def read_settings(path: Path) -> DaemonSettings:
    """Gives the settings of a file; raises ConfigError when there is none or it holds something else."""
    try:
        values = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="see config/daemon.json") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: not a JSON object")
    return DaemonSettings.from_mapping(values)


def _typed(cls: type, values: dict[str, Any], prefix: str) -> dict[str, Any]:
    known = {item.name: item for item in fields(cls)}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown setting of the daemon: {prefix}{key!r}", hint=did_you_mean(key, known))
        wanted = type(known[key].default)
        is_number = wanted in (int, float) and isinstance(value, int) and not isinstance(value, bool)
        if not (is_number or (wanted is not int and isinstance(value, wanted)) or type(value) is wanted):
            raise ConfigError(f"{prefix}{key} must be of type {wanted.__name__}, not {value!r}")
        if is_number and value < 0:
            raise ConfigError(f"{prefix}{key} is {value}; it must be 0 or more")
    return values
