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
    "method": ("sft", "sparring", "dpo", "grpo", "distill"),
    "adapter": ("none", "lora", "dora", "qlora"),
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
    "reweight_every": 0,
    "save_every_steps": 0,
    "keep_last": 1,
    "logging_every_steps": 1,
    "num_threads": 0,
    "weight_decay": 0.0,
    "max_loss_rise": 0.0,
    "lora_rank": 1,
    "lora_alpha": 1,
    "num_generations": 2,
    "max_new_tokens": 1,
    "kl_beta": 0.0,
    "surprise_min_weight": 0.0,
}
_ABOVE_ZERO = (
    "learning_rate",
    "max_grad_norm",
    "num_epochs",
    "dpo_beta",
    "rollout_temperature",
    "distill_temperature",
    "surprise_max_weight",
    "surprise_temperature",
)
_SHARES = {"warmup_share": False, "adam_beta2": False, "lora_dropout": False, "distill_share": True}
"""Settings in [0, 1), or with True in [0, 1]."""
_NOT_DECISIVE = (
    "output_dir",
    "keep_last",
    "num_threads",
    "on_change",
    "model_dir",
    "train_files",
    "teacher_dir",
    "control_dir",
    "max_loss_rise",
    "locked",
    "model_name",
    "policy",
    "report_to",
)
"""Keys that may change between a run and its resumption: the model's and the data's bytes are compared instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """One training run, whatever its method.

    `batch_size` is examples per optimizer step, drawn before any thought of layout; a step is then cut into forward
    passes of examples of like length, each at most `max_forward_tokens` tokens with its padding, which changes speed
    and memory but not the gradient. `num_epochs` counts passes over the data unless `max_steps` is above 0.
    `save_every_steps` 0 saves at the end only. `num_threads` 0 takes every core. What a method's own settings mean:
    docs/methods.md.

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
    model_name: str = ""
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
    reweight_every: int = 0
    """Steps after which the run turns its own telemetry into its next policy; 0 leaves the policy to others."""
    reweight_method: str = "frontier"
    reweight_domains: str = ""
    """The domains file that names cells and priors; "" is the one of `frontier reweight`."""
    method: str = "sft"
    adapter: str = "none"
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    lora_targets: str = "all-linear"
    """Names of the layers that get an adapter, with commas; all-linear takes every one but the output head."""
    surprise_metric: str = "none"
    """The fortune teller: what each token's weight in the loss is made from."""
    surprise_min_weight: float = 0.1
    surprise_max_weight: float = 10.0
    surprise_temperature: float = 1.0
    dpo_beta: float = 0.1
    num_generations: int = 8
    max_new_tokens: int = 128
    rollout_temperature: float = 1.0
    kl_beta: float = 0.0
    """How much GRPO holds the model to where it began; 0 needs no reference model."""
    sandbox: str = "auto"
    teacher_dir: str = ""
    distill_temperature: float = 2.0
    distill_share: float = 0.5
    """Share of the loss that is the distance to the teacher; the rest is the loss of the data."""
    control_dir: str = ""
    """Where orders are looked for and state.json is kept; "" is the folder `control` of the run."""
    max_loss_rise: float = 5.0
    """A smoothed loss this far above its lowest, in nats, counts as divergence; 0 looks for no such thing."""
    locked: dict[str, Any] = field(default_factory=dict)
    """Settings no later run of this model may change; `model_architecture` and `base_model` may stand here too."""

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
        for key in _ABOVE_ZERO:
            if not (getattr(self, key) > 0 and isfinite(getattr(self, key))):
                raise ConfigError(f"{key}: must be above 0, got {getattr(self, key)!r}")
        for key, may_be_one in _SHARES.items():
            if not (0 <= getattr(self, key) < 1 or (may_be_one and getattr(self, key) == 1)):
                raise ConfigError(f"{key}: must be in [0, 1{']' if may_be_one else ')'}, got {getattr(self, key)!r}")
        _check_method(self)

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


def _check_method(config: TrainerConfig) -> None:
    """Refuses settings that contradict each other; each message names both."""
    if config.surprise_metric != "none" and config.surprise_max_weight <= config.surprise_min_weight:
        raise ConfigError("surprise_max_weight: must be above surprise_min_weight")
    if config.surprise_metric != "none" and config.method == "grpo":
        hint = "it weighs tokens of given answers: method sft, sparring, dpo or distill"
        raise ConfigError("surprise_metric: method grpo weighs answers by their reward", hint=hint)
    if config.reweight_every % config.logging_every_steps:
        hint = "a round ends with a telemetry window"
        raise ConfigError(
            f"reweight_every: {config.reweight_every} is no multiple of logging_every_steps"
            f" {config.logging_every_steps}",
            hint=hint,
        )
    if config.method == "grpo" and (config.reweight_every or config.policy or config.stream):
        raise ConfigError("method grpo draws its problems itself", hint="leave out stream, policy and reweight_every")
    if config.teacher_dir and config.method != "distill":
        raise ConfigError(f"teacher_dir: method {config.method} has no teacher", hint="set method to distill")
    if config.method == "grpo" and config.batch_size % config.num_generations:
        raise ConfigError(
            f"batch_size: {config.batch_size} is no multiple of num_generations {config.num_generations}",
            hint="a GRPO step takes batch_size answers, num_generations to each prompt",
        )


def _check_types(config: TrainerConfig) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name == "train_files":
            if not isinstance(value, tuple) or not all(isinstance(file, str) for file in value):
                raise ConfigError("train_files: must be a list of file names")
            continue
        if item.name == "locked":
            if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
                raise ConfigError("locked: must be an object of key: value")
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
