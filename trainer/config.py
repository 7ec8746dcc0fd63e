"""What one training run is told, and what it answers: plain values, checked here, no torch.

A config round-trips through JSON; an unknown key is an error that names the nearest known one. Where the values come
from (flags, environment, files) is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from frontier_core.profiles import profile_named

CHOICES: dict[str, tuple[str, ...]] = {
    "lr_schedule": ("cosine", "linear", "constant"),
    "loss_mean": ("token", "example"),
    "precision": ("fp32", "bf16"),
    "device": ("auto", "cpu"),
    "too_long": ("drop", "refuse"),
    "on_change": ("refuse", "restart"),
    "profile_mode": ("fixed", "random", "random_stop"),
    "layout": ("auto", "flat", "padded"),
    "surprise_metric": ("none", "entropy", "confidence", "perplexity", "margin"),
}
"""Settings that take one of a few words."""

_AT_LEAST = {
    "seed": 0,
    "round": 0,
    "max_length_tokens": 2,
    "batch_size": 1,
    "max_forward_tokens": 1,
    "max_steps": 0,
    "save_every_steps": 0,
    "keep_last": 1,
    "logging_every_steps": 1,
    "num_threads": 0,
    "weight_decay": 0.0,
    "surprise_min_weight": 0.0,
}
_NOT_DECISIVE = (
    "output_dir",
    "keep_last",
    "num_threads",
    "on_change",
    "model_dir",
    "train_files",
    "policy",
    "report_to",
)
"""Keys that may change between a run and its resumption: the model's and the data's bytes are compared instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """One supervised training run.

    `batch_size` is examples per optimizer step, drawn before any thought of layout; a step is then cut into forward
    passes of examples of like length, each at most `max_forward_tokens` tokens with its padding, which changes speed
    and memory but not the gradient. `num_epochs` counts passes over the data unless `max_steps` is above 0.
    `save_every_steps` 0 saves at the end only. `num_threads` 0 takes every core.

    Raises:
        ConfigError: a value is of the wrong type or out of range; names the key.
    """

    model_dir: str
    train_files: tuple[str, ...]
    output_dir: str
    run_id: str = "run"
    round: int = 0
    seed: int = 0
    profile: str = "emoji_think"
    max_length_tokens: int = 1024
    too_long: str = "drop"
    batch_size: int = 16
    max_forward_tokens: int = 8192
    learning_rate: float = 2e-5
    lr_schedule: str = "cosine"
    warmup_share: float = 0.05
    weight_decay: float = 0.01
    adam_beta2: float = 0.999
    max_grad_norm: float = 1.0
    loss_mean: str = "token"
    num_epochs: float = 1.0
    max_steps: int = 0
    save_every_steps: int = 0
    keep_last: int = 2
    logging_every_steps: int = 10
    precision: str = "fp32"
    device: str = "auto"
    num_threads: int = 0
    on_change: str = "refuse"
    """What to do when the output folder holds a run of another config, model or data: refuse, or begin anew."""
    layout: str = "auto"
    """How examples lie in a pass: flat without padding, or padded; auto is flat wherever the model's own padded path
    agrees with it."""
    profile_mode: str = "fixed"
    """How emoji_think is put on: four thinking faces always, or drawn per record, with or without a stop signal."""
    system_prompt: str = ""
    """What every chat begins with instead of its own system turn; "" leaves it."""
    report_to: str = ""
    """Trackers that transformers knows (tensorboard, wandb, mlflow; with commas), which also get each tag's loss."""
    stream: str = ""
    """A stream profile (name or file) that draws the steps from train_files; "" is pass after pass over the data."""
    policy: str = ""
    """A policy file (of: frontier reweight) whose weights the stream follows while the run goes on."""
    method: str = "sft"
    surprise_metric: str = "none"
    """The fortune teller: what each token's weight in the loss is made from."""
    surprise_min_weight: float = 0.1
    surprise_max_weight: float = 10.0
    surprise_temperature: float = 1.0

    def __post_init__(self) -> None:
        _check_types(self)
        profile_named(self.profile)
        for key, known in CHOICES.items():
            if getattr(self, key) not in known:
                raise ConfigError(
                    f"{key}: unknown {getattr(self, key)!r}", hint=did_you_mean(getattr(self, key), known)
                )
        for key in ("model_dir", "output_dir", "run_id"):
            if not getattr(self, key):
                raise ConfigError(f"{key}: must not be empty")
        if not self.train_files:
            raise ConfigError("train_files: names no file", hint="give a .jsonl file, or - for a pipe")
        for key, least in _AT_LEAST.items():
            if not getattr(self, key) >= least:
                raise ConfigError(f"{key}: must be at least {least}, got {getattr(self, key)!r}")
        for key in ("learning_rate", "max_grad_norm", "num_epochs", "surprise_max_weight", "surprise_temperature"):
            if not (getattr(self, key) > 0 and isfinite(getattr(self, key))):
                raise ConfigError(f"{key}: must be above 0, got {getattr(self, key)!r}")
        for key in ("warmup_share", "adam_beta2"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"{key}: must be in [0, 1), got {getattr(self, key)!r}")

    @staticmethod
    def from_mapping(values: Mapping[str, Any], origin: str = "config") -> TrainerConfig:
        """Builds a config from a JSON object.

        Args:
            values: key -> value; a list stands for a tuple, one string for a one-file tuple.
            origin: where the values come from, for messages, e.g. "config/train.json".
        Raises:
            ConfigError: an unknown key (names the nearest), a missing one, or a value out of range.
        """
        known = [item.name for item in fields(TrainerConfig)]
        for key in values:
            if key not in known:
                raise ConfigError(f"{origin}: unknown key {key!r}", hint=did_you_mean(str(key), known))
        for key in ("model_dir", "train_files", "output_dir"):
            if key not in values:
                raise ConfigError(f"{origin}: {key!r} is missing")
        settings = dict(values)
        files = settings["train_files"]
        if isinstance(files, str):
            settings["train_files"] = (files,)
        elif isinstance(files, list):
            settings["train_files"] = tuple(files)
        try:
            return TrainerConfig(**settings)
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error.message}", hint=error.hint) from error

    def to_mapping(self) -> dict[str, Any]:
        """Gives the config as a JSON object; `from_mapping` of it is the config again."""
        return asdict(self) | {"train_files": list(self.train_files)}

    def decisive(self) -> dict[str, Any]:
        """Gives the settings that shape the trained weights: a run resumes only when they are the same."""
        return {key: value for key, value in self.to_mapping().items() if key not in _NOT_DECISIVE}


def _check_types(config: TrainerConfig) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name == "train_files":
            if not isinstance(value, tuple) or not all(isinstance(file, str) for file in value):
                raise ConfigError("train_files: must be a list of file names")
            continue
        wanted: tuple[type, ...] = {"str": (str,), "int": (int,), "float": (int, float)}[str(item.type)]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"{item.name}: must be of type {item.type}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a finished, stopped or failed run reports.

    `final_loss` is the mean loss per step over the last logging window; `summary` holds counts, speed and notes.
    A run that diverged has `success` False and says why in `error_message`.
    """

    success: bool
    global_step: int
    runtime_sec: float
    last_checkpoint_path: str | None
    final_loss: float
    summary: dict[str, Any] = field(default_factory=dict)
    error_message: str | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Gives the result as a JSON object; a loss that is no number becomes null."""
        return asdict(self) | {"final_loss": self.final_loss if isfinite(self.final_loss) else None}

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> TrainingResult:
        """Reads what `to_mapping` gave; raises TypeError when it is something else."""
        loss = values.get("final_loss")
        return TrainingResult(**{**values, "final_loss": float("nan") if loss is None else float(loss)})
