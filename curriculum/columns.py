"""What a policy works on, as columns: one array entry a cell, so that a thousand cells cost what one does.

Between here and policy lines (objects, for files and people) everything is an array of float64 in the natural order of
the cells. Deciding is decision.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import repeat
from math import fsum
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curriculum.cells import CellStats, prerequisite_of
from frontier_core.allocation import PolicyLine, natural_order
from frontier_core.errors import ConfigError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
EMPTY = CellStats()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """The cells there are: tags in natural order, prior shares that sum to 1, `below` the place of each prerequisite.

    `below` is -1 where there is no prerequisite among the cells.
    """

    tags: tuple[str, ...]
    priors: Floats
    below: NDArray[np.intp]

    @staticmethod
    def of(prior: Mapping[str, float]) -> Cells:
        """Gives the cells of cell -> prior; raises ConfigError when there is none or one is not above 0."""
        if not prior or not min(prior.values()) > 0:
            raise ConfigError("every cell needs a prior weight above 0", hint="see `weight` in the domains file")
        return _cells(tuple(prior.items()))


@lru_cache(maxsize=8)
def _cells(items: tuple[tuple[str, float], ...]) -> Cells:
    prior = dict(items)
    total = fsum(prior.values())
    tags = tuple(sorted(prior, key=natural_order))
    places = {tag: place for place, tag in enumerate(tags)}
    return Cells(
        tags=tags,
        priors=np.array([prior[tag] / total for tag in tags]),
        below=np.array([places.get(prerequisite_of(tag) or "", -1) for tag in tags], dtype=np.intp),
    )


@dataclass(slots=True, kw_only=True, eq=False)
class State:
    """All a policy remembers of its cells; a cell's entries travel in its policy line's `state`.

    `successes` and `trials` are discounted counts, `length` the supervised tokens of an example, `fast` and `slow`
    averages of the loss, `variance` of one reading of it, `readings` how many there were, `first_loss` the first and
    `first_round` its round; `idle` rounds without a sign of life, `stall` the factor that follows from them;
    `new_trials` and `new_tokens` since the last move; `raised_floor` the floor that safety violations called for;
    `wary` rounds of caution left, `trips` how often a fall of the anchors set them off; `closed` is 1 while a
    level is closed by hand or curriculum, `mastered` 1 from a lower bound of 85 % until an upper bound falls below it.
    """

    successes: Floats
    trials: Floats
    length: Floats
    fast: Floats
    slow: Floats
    variance: Floats
    readings: Floats
    first_loss: Floats
    first_round: Floats
    idle: Floats
    stall: Floats
    new_trials: Floats
    new_tokens: Floats
    raised_floor: Floats
    wary: Floats
    trips: Floats
    closed: Floats
    mastered: Floats

    @property
    def mastery(self) -> Floats:
        """Expected accuracy under a Beta(1/2, 1/2) prior."""
        return (self.successes + 0.5) / (self.trials + 1)

    def copy(self) -> State:
        """Gives a state that can be changed without changing this one: its arrays are replaced, never written to."""
        return State(**{name: getattr(self, name) for name in STATE_NAMES})

    def rows(self) -> list[dict[str, float]]:
        """Gives each cell's state as a JSON object."""
        columns = [getattr(self, name).tolist() for name in STATE_NAMES]
        whole = [name in _WHOLE for name in STATE_NAMES]
        return [
            {name: int(v) if w else v for name, v, w in zip(STATE_NAMES, row, whole, strict=True)}
            for row in zip(*columns, strict=True)
        ]

    @staticmethod
    def of(rows: Iterable[Mapping[str, Any]]) -> State:
        """Reads states back; keys it does not know (a later version's) and values that are no numbers are left out."""
        kept = list(rows)
        return State(**{name: _column(kept, name) for name in STATE_NAMES})


STATE_NAMES = tuple(item.name for item in fields(State))
_WHOLE = {
    "readings",
    "first_round",
    "idle",
    "new_trials",
    "new_tokens",
    "wary",
    "trips",
    "closed",
    "mastered",
}
_START = {"stall": 1.0}


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Floats:
    start = _START.get(name, 0.0)
    values = [row.get(name, start) for row in rows]
    is_number = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in values]
    found = [float(value) if good else start for value, good in zip(values, is_number, strict=True)]
    return np.array([float(int(value)) for value in found] if name in _WHOLE else found)


def state_of(cells: Cells, previous: Sequence[PolicyLine] | None) -> State:
    """Gives the state that a policy's lines carry, in the order of the cells; a cell it lacks starts anew."""
    old = {line.tag: line.state for line in previous or ()}
    return State.of([old.get(tag, {}) for tag in cells.tags])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What one round showed, in columns; `stats` the same as objects, for the words.

    `right` of `trials` answers, `num` losses with their sums and `tokens`, `broken` of `judged` answers against a
    safety rule; `supply` is the share of the next round there is unseen data for, NaN where that is unknown.
    """

    stats: list[CellStats]
    right: Floats
    trials: Floats
    num: Floats
    total: Floats
    total_sq: Floats
    tokens: Floats
    broken: Floats
    judged: Floats
    supply: Floats

    @staticmethod
    def of(cells: Cells, stats: Mapping[str, CellStats]) -> Evidence:
        """Gives the columns of cell -> stats; a cell that is missing showed nothing."""
        seen = list(map(stats.get, cells.tags, repeat(EMPTY)))
        losses, tested = list(map(attrgetter("loss"), seen)), list(map(attrgetter("accuracy"), seen))
        trials, right = _numbers(tested, "trials"), _numbers(tested, "successes")
        if not trials.all():  # no held-out answers: the first pass stands in
            passed = list(map(attrgetter("first_pass"), seen))
            right = np.where(trials > 0, right, _numbers(passed, "successes"))
            trials = np.where(trials > 0, trials, _numbers(passed, "trials"))
        judged = _numbers(seen, "violations.trials")
        has_supply = np.fromiter(map(attrgetter("has_supply"), seen), np.bool_, len(seen))
        return Evidence(
            stats=seen,
            right=right,
            trials=trials,
            num=_numbers(losses, "n"),
            total=_numbers(losses, "total"),
            total_sq=_numbers(losses, "total_sq"),
            tokens=_numbers(losses, "tokens"),
            judged=judged,
            broken=_numbers(seen, "violations.successes") if judged.any() else judged,
            supply=np.where(has_supply, _numbers(seen, "supply") if has_supply.any() else np.nan, np.nan),
        )


def _numbers(items: Sequence[Any], name: str) -> Floats:
    return np.fromiter(map(attrgetter(name), items), np.float64, len(items))


def project_columns(targets: Floats, low: Floats, high: Floats) -> tuple[Floats, float]:
    """Gives the weights nearest to the targets that sum to 1 inside the bounds, and the common factor they share.

    Nearest in relative entropy: each weight is its target times one factor, clipped to its bounds.

    Args:
        targets: wanted weights, above 0.
        low: lower bounds; they sum to at most 1.
        high: upper bounds; they sum to at least 1.
    Returns:
        (weights, factor); the sum is 1 within 1e-12.
    """
    # The sum is piecewise linear in the factor: find the piece by bisection over its corners, then solve it.
    corners = np.sort(np.concatenate((low / targets, high / targets)))
    first, last = 0, len(corners) - 1
    while last - first > 1:
        middle = (first + last) // 2
        total = float(_clipped(targets, low, high, corners[middle]).sum())
        first, last = (middle, last) if total <= 1.0 else (first, middle)
    left, right = float(corners[first]), float(corners[last])
    below = fsum(_clipped(targets, low, high, left).tolist())
    above = fsum(_clipped(targets, low, high, right).tolist())
    factor = left if above <= below else left + (right - left) * min(1.0, max(0.0, (1.0 - below) / (above - below)))
    return _clipped(targets, low, high, factor), factor


def _clipped(targets: Floats, low: Floats, high: Floats, factor: float) -> Floats:
    return np.minimum(np.maximum(factor * targets, low), high)
