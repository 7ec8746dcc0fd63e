"""What every reader fills: exact sums per run, steps, tag and metric of one source, and what had to be dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import fsum, isfinite
from typing import TypeGuard

from frontier_core.events import Key
from frontier_core.records import TagStats

Place = tuple[Key, int | None, str, str]
"""Key, round, source, digest of the source: what one line of the result is about."""

ALL = "all"
"""Tag of what is a mean over all data."""
ACCURACY = "accuracy"


class Sums:
    """Adds statistics up exactly, so that the order of lines changes no bit of the result."""

    __slots__ = ("counts", "squares", "totals")

    def __init__(self) -> None:
        self.counts = TagStats()
        self.totals: list[float] = []
        self.squares: list[float] = []

    def add(self, stats: TagStats) -> None:
        """Adds one value or one line."""
        self.counts = self.counts + stats
        _grow(self.totals, stats.total)
        _grow(self.squares, stats.total_sq)

    def stats(self) -> TagStats:
        """Gives the sums so far."""
        return replace(self.counts, total=fsum(self.totals), total_sq=fsum(self.squares))


def _grow(parts: list[float], value: float) -> None:
    """Adds `value` to a sum held as floats that do not overlap; nothing is rounded away.

    Source: Shewchuk (1997), "Adaptive precision floating-point arithmetic", Grow-Expansion.
    """
    kept = 0
    for part in parts:
        larger, smaller = (value, part) if abs(value) >= abs(part) else (part, value)
        value = larger + smaller
        lost = smaller - (value - larger)
        if lost:
            parts[kept] = lost
            kept += 1
    parts[kept:] = [value]


@dataclass(slots=True)
class Source:
    """One file being read: sums so far, and what was dropped, to be said at the end."""

    name: str
    digest: str
    sums: dict[Place, Sums] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    _last_steps: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def add(
        self, key: Key, stats: TagStats, round_number: int | None = None, origin: tuple[str, str] | None = None
    ) -> None:
        """Adds statistics under a key; `origin` names the source they first came from."""
        source, digest = origin or (self.name, self.digest)
        self.sums.setdefault((key, round_number, source, digest), Sums()).add(stats)

    def drop(self, what: str, count: int = 1) -> None:
        """Counts something that can't be used."""
        self.dropped[what] += count

    def add_value(self, run_id: str, step: int, tag: str, metric: str, value: object) -> None:
        """Adds one measured value; one that is no finite number is dropped and counted."""
        if not is_finite(value):
            self.drop(f"values of {metric} that are no finite number dropped")
            return
        number = float(value)
        self.add(Key(run_id, step, step, tag, metric), TagStats(n=1, total=number, total_sq=number**2))

    def add_point(self, run_id: str, step: int, name: str, value: object) -> None:
        """Adds a point of a logged curve: the mean since the point before it.

        `name` is the tracker's (`train/loss`, `loss/skill=binary,level=2`); see `series`.
        """
        metric, tag = series(name)
        if not is_finite(value):
            self.drop(f"values of {metric} that are no finite number dropped")
            return
        number = float(value)
        last = self._last_steps.get((run_id, tag, metric), 0)
        first = last + 1 if last < step else step
        self.add(Key(run_id, first, step, tag, metric), TagStats(n=1, total=number, total_sq=number**2))
        self._last_steps[run_id, tag, metric] = max(last, step)

    def add_trials(self, run_id: str, step: int, tag: str, metric: str, successes: int, trials: int) -> None:
        """Adds a rate by its counts."""
        hits = float(successes)
        stats = TagStats(n=trials, total=hits, total_sq=hits, successes=successes, trials=trials)
        self.add(Key(run_id, step, step, tag, metric), stats)


def is_finite(value: object) -> TypeGuard[float]:
    """Says whether a logged value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def series(name: str) -> tuple[str, str]:
    """Gives metric and tag of a tracker's series name.

    `train/loss` and `train_loss` are `loss` of all data, `eval/loss` is `eval_loss`; a last part with `=` is a tag:
    `loss/skill=binary,level=2` is the loss of that cell. Other names keep their words, joined by `_`.
    """
    parts = [part for part in name.split("/") if part]
    tag = parts.pop() if len(parts) > 1 and "=" in parts[-1] else ALL
    metric = "_".join(parts) or name
    for prefix in ("train_", "training_"):
        metric = metric.removeprefix(prefix) or metric
    for prefix in ("validation_", "val_", "valid_"):
        if metric.startswith(prefix):
            metric = "eval_" + metric.removeprefix(prefix)
    return metric, tag
