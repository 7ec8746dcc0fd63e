"""What a run reports about itself: additive lines per tag over a window of steps, and what one step cost.

Losses come from the rows the training pass computed anyway, added up by sample, so that every sample's tag gets its own
tokens and nobody else's. Writing the lines is frontier_core/events.py; showing them is the caller's business.
"""

# N predictions, S samples of a pass

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Any

from frontier_core.events import Key, TelemetryLine
from frontier_core.records import TagStats

ALL = "all"
LOSS = "loss"
FIRST_PASS = "first_pass_accuracy"
"""Share of answers the model would have given by itself just before it first learnt from them."""


class Window:
    """Sums seen since the last telemetry lines, per tag and metric and for all tags together."""

    def __init__(self, step_from: int) -> None:
        self.step_from = step_from
        self._sums: dict[tuple[str, str], list[float]] = {}
        self._rates: dict[tuple[str, str], list[float]] = {}

    def add(self, tag: str, value: float, num_tokens: int, metric: str = LOSS) -> None:
        """Counts one example: its mean value over `num_tokens` supervised tokens."""
        for name in (tag, ALL):
            self._add(name, metric, value, num_tokens)

    def add_run(self, metric: str, value: float, num_tokens: int = 0) -> None:
        """Counts one value of the run as a whole, such as a gradient's norm."""
        self._add(ALL, metric, value, num_tokens)

    def add_rate(self, tag: str, is_success: bool, metric: str) -> None:
        """Counts one trial of a rate."""
        for name in (tag, ALL):
            sums = self._rates.setdefault((name, metric), [0, 0])
            sums[0] += is_success
            sums[1] += 1

    def lines(self, run_id: str, step_to: int, round_number: int) -> list[TelemetryLine]:
        """Gives one line per tag and metric: `all` first, then tags sorted; the loss before other metrics."""
        found = {
            key: TagStats(n=int(n), total=total, total_sq=total_sq, tokens=int(tokens))
            for key, (n, total, total_sq, tokens) in self._sums.items()
        }
        for key, (successes, trials) in self._rates.items():
            found[key] = TagStats(successes=int(successes), trials=int(trials))
        order = sorted(found, key=lambda key: (key[0] != ALL, key[0], key[1] != LOSS, key[1]))
        return [
            TelemetryLine(
                key=Key(run_id, self.step_from, step_to, tag, metric), stats=found[tag, metric], round=round_number
            )
            for tag, metric in order
        ]

    def merge(self, other: Window) -> None:
        """Adds what another process saw of the same steps."""
        for mine, theirs in ((self._sums, other._sums), (self._rates, other._rates)):
            for key, sums in theirs.items():
                mine[key] = [a + b for a, b in zip(mine.get(key, [0] * len(sums)), sums, strict=True)]

    def _add(self, tag: str, metric: str, value: float, num_tokens: int) -> None:
        sums = self._sums.get((tag, metric))
        if sums is None:
            self._sums[tag, metric] = [1, value, value * value, num_tokens]
            return
        sums[0] += 1
        sums[1] += value
        sums[2] += value * value
        sums[3] += num_tokens


class Strain:
    """Strain is a step's loss above the floor, the lowest loss the run has reached; effort is its sum over steps.

    The floor is the lowest of a running mean, so that one lucky batch does not set it.
    """

    SMOOTHING = 0.1

    def __init__(self) -> None:
        self.mean: float | None = None
        self.floor = float("inf")
        self.effort = 0.0

    def add(self, loss: float) -> float:
        """Takes a step's loss and gives its strain."""
        self.mean = loss if self.mean is None else self.mean + self.SMOOTHING * (loss - self.mean)
        self.floor = min(self.floor, self.mean)
        strain = max(0.0, loss - self.floor)
        self.effort += strain
        return strain

    def state(self) -> dict[str, Any]:
        """Gives what `load` takes."""
        return {"mean": self.mean, "floor": self.floor if self.mean is not None else None, "effort": self.effort}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self.mean, self.effort = state["mean"], state["effort"]
        self.floor = float("inf") if state["floor"] is None else state["floor"]


def count_samples(window: Window, row_loss_N: Any, sample_N: Any, counts: Sequence[int], tags: Sequence[str]) -> None:
    """Adds each sample's mean row loss to the window, under its tag.

    Args:
        window: takes the values.
        row_loss_N: detached losses of the predictions.
        sample_N: the sample of each.
        counts: predictions per sample.
        tags: tag of each sample.
    """
    import torch

    sums_S = torch.zeros(len(tags), dtype=torch.float64, device=row_loss_N.device)
    sums_S.index_add_(0, sample_N, row_loss_N.double())
    for tag, total, count in zip(tags, sums_S.tolist(), counts, strict=True):
        window.add(tag, total / max(count, 1), count)


def count_first_passes(
    window: Window, is_hit_N: Any, sample_N: Any, is_fresh_S: Sequence[bool], tags: Sequence[str]
) -> None:
    """Adds, for each fresh sample, whether the model would have given its answer: every token was the likeliest one.

    Args:
        window: takes the rates.
        is_hit_N: whether each prediction's target was the likeliest token.
        sample_N: the sample of each.
        is_fresh_S: which samples were never learnt from.
        tags: tag of each sample.
    """
    import torch

    misses_S = torch.zeros(len(tags), dtype=torch.int64, device=is_hit_N.device)
    misses_S.index_add_(0, sample_N, (~is_hit_N).long())
    for tag, num_misses, is_fresh in zip(tags, misses_S.tolist(), is_fresh_S, strict=True):
        if is_fresh:
            window.add_rate(tag, not num_misses, FIRST_PASS)


def peak_memory_bytes() -> int:
    """Gives the most memory this process has held: on the GPU where one is used, else resident."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
