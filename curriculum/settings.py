"""The numbers of the sampling policies, each with its range; a test shows that every one of them moves the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Settings of the `frontier` policy; the defaults are the measured ones.

    Raises ConfigError when a value is out of range.
    """

    accuracy_memory: float = 0.7
    """Share of the past counts kept each round, in [0, 1); 0.7 halves them in two rounds."""
    fast_rate: float = 0.5
    """Weight of the newest loss in the fast average, in (0, 1]."""
    slow_rate: float = 0.15
    """Weight of the newest loss in the slow average, in (0, fast_rate); fast and slow part when the loss moves."""
    noise_memory: float = 0.5
    """Share of the past variance of the loss kept each round, in [0, 1)."""
    loss_floor: float = 0.0
    """Loss in nats per token that counts as nothing left to learn, where a cell has no accuracy; from 0."""
    min_loss: float = 0.02
    """Progress is relative to the loss, but never to less than this; above 0."""
    min_share: float = 0.1
    """Progress is per unit of weight/prior to the power 1/2, and this is the least ratio taken; above 0."""
    progress_margin: float = 2.0
    """Standard errors deducted from the fall of the loss before it counts as progress; from 0."""
    base_progress: float = 1.0
    """Added to the progress factor, so that a plateau does not starve a cell; from 0."""
    max_progress: float = 2.0
    """Upper end of the normalised progress factor; above 0."""
    gate_closed: float = 0.3
    """Mastery of the prerequisite up to which the gate stays at its least, in [0, 1)."""
    gate_open: float = 0.7
    """Mastery of the prerequisite from which the gate is fully open, in (gate_closed, 1]."""
    gate_least: float = 1.0
    """Factor of a closed gate, in (0, 1]: 1 is no gate; never 0, or a cell could not show that it is learnable."""
    progress_z: float = 2.0
    """Standard errors by which the loss must have fallen to count as alive; from 0."""
    progress_share: float = 0.02
    """Share of the loss by which it must have fallen to count as alive; from 0."""
    alive_mastery: float = 0.15
    """Mastery above which a cell counts as alive without progress, in [0, 1]: a plateau, not noise."""
    spent_mastery: float = 0.6
    """Mastery from which, short of mastered, a cell is alive only while its loss falls; up to 1 (1 for never).

    Its labels may allow no more: with three wrong labels in ten a skill ends at 70 %.
    """
    patience: int = 8
    """Rounds without a sign of life before a cell counts as stalled; from 0."""
    stall_decay: float = 0.85
    """Factor on a stalled cell each further round, in (0, 1)."""
    stall_least: float = 0.1
    """Least factor of a stalled cell, in (0, 1]."""
    recovery: float = 1.5
    """Growth of that factor each round with a sign of life; above 1."""
    cost_power: float = 0.5
    """Weight falls with the supervised tokens of an example to this power, in [0, 1]."""
    focus: float = 1.0
    """Power on the product of headroom, progress, gate, stall and cost, above 0; above 1 it favours the best."""
    exploration: float = 0.1
    """Share of all weight handed out whatever the evidence, by prior, in [0, 1)."""
    floor: float = 0.3
    """Least weight, as a multiple of the prior, in [0, 1]."""
    cap: float = 4.0
    """Greatest weight, as a multiple of the prior; from 1."""
    step: float = 1.6
    """Most a weight grows or shrinks in one round, as a factor; from 1 (1 freezes the weights)."""
    epoch_cap: float = 4.0
    """Most often an example is drawn in the next round, where the supply of a cell is known; above 0."""
    safety_rate: float = 0.01
    """Share of answers that break a safety rule above which (lower end of a 90 % interval) a cell's floor is raised."""
    safety_floor: float = 1.0
    """Floor of such a cell from then on, as a multiple of the prior, in [0, 1]."""
    wary_exploration: float = 0.6
    """Exploration after a rollback, in [0, 1)."""
    wary_rounds: int = 4
    """Rounds that lasts; from 0."""
    min_trials: int = 8
    """Held-out answers a cell needs since its last move before it moves again; from 0."""
    min_tokens: int = 200
    """Supervised tokens needed instead, where a cell has never been evaluated; from 0."""

    def __post_init__(self) -> None:
        checks = {
            "accuracy_memory": 0 <= self.accuracy_memory < 1,
            "fast_rate": 0 < self.fast_rate <= 1,
            "slow_rate": 0 < self.slow_rate < self.fast_rate,
            "noise_memory": 0 <= self.noise_memory < 1,
            "loss_floor": self.loss_floor >= 0,
            "min_loss": self.min_loss > 0,
            "min_share": self.min_share > 0,
            "progress_margin": self.progress_margin >= 0,
            "base_progress": self.base_progress >= 0,
            "max_progress": self.max_progress > 0,
            "gate_closed": 0 <= self.gate_closed < 1,
            "gate_open": self.gate_closed < self.gate_open <= 1,
            "gate_least": 0 < self.gate_least <= 1,
            "progress_z": self.progress_z >= 0,
            "progress_share": self.progress_share >= 0,
            "alive_mastery": 0 <= self.alive_mastery <= 1,
            "spent_mastery": 0 <= self.spent_mastery <= 1,
            "patience": self.patience >= 0,
            "stall_decay": 0 < self.stall_decay < 1,
            "stall_least": 0 < self.stall_least <= 1,
            "recovery": self.recovery > 1,
            "cost_power": 0 <= self.cost_power <= 1,
            "focus": self.focus > 0,
            "exploration": 0 <= self.exploration < 1,
            "floor": 0 <= self.floor <= 1,
            "cap": self.cap >= 1,
            "step": self.step >= 1,
            "epoch_cap": self.epoch_cap > 0,
            "safety_rate": 0 <= self.safety_rate <= 1,
            "safety_floor": 0 <= self.safety_floor <= 1,
            "wary_exploration": 0 <= self.wary_exploration < 1,
            "wary_rounds": self.wary_rounds >= 0,
            "min_trials": self.min_trials >= 0,
            "min_tokens": self.min_tokens >= 0,
        }
        for name, is_fine in checks.items():
            if not is_fine:
                raise ConfigError(f"policy setting {name} = {getattr(self, name)!r} is out of range")

    @staticmethod
    def from_mapping(values: Mapping[str, Any], *, origin: str = "policy settings") -> PolicySettings:
        """Reads settings from a mapping; an unknown key or a value that is no number raises ConfigError."""
        known = [item.name for item in fields(PolicySettings)]
        for name, value in values.items():
            if name not in known:
                raise ConfigError(f"{origin}: unknown key {name!r}", hint=did_you_mean(name, known))
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigError(f"{origin}: {name} must be a number")
        return PolicySettings(**values)

    def to_mapping(self) -> dict[str, float]:
        """Gives the settings as a JSON object; `from_mapping` reads it back."""
        return asdict(self)
