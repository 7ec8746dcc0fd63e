"""Where each skill stands: which levels are mastered, which one is being learnt, whether the next may open.

Judged by the lower end of a 90 % confidence interval on pooled counts, not by a bare percentage: 12 answers can't
show what 100 can. Moving weights is policy.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from curriculum.cells import CellStats, skill_and_level
from frontier_core.allocation import natural_order
from frontier_core.records import wilson_interval

Z_90 = 1.2815515655446004
"""One-sided 90 % quantile of the normal distribution."""
MASTERED_AT = 0.85
OPENS_AT = 0.70


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillStatus:
    """Where one skill stands.

    `current` is the lowest level not mastered (the highest level when all are), `mastered` the levels mastered,
    `opens_next` whether the current level is good enough for the one above it.
    """

    skill: str
    current: int
    mastered: tuple[int, ...]
    opens_next: bool
    lower_bounds: dict[int, float]


def lower_bound(successes: int, trials: int) -> float:
    """Gives the lower end of the one-sided 90 % Wilson interval; 0 without trials."""
    return wilson_interval(successes, trials, z=Z_90)[0]


def is_mastered(successes: float, trials: float, was: bool) -> bool:
    """Says whether a level counts as mastered, with hysteresis.

    It does from a lower bound of 85 %, and no longer once the upper bound (both one-sided, 90 %) is below that: between
    the two it stays what it was, so that luck does not flip it. Counts may be discounted ones.
    """
    low, high = wilson_interval_of(successes, trials)
    return high >= MASTERED_AT if was else low >= MASTERED_AT


def wilson_interval_of(successes: float, trials: float) -> tuple[float, float]:
    """Gives the one-sided 90 % Wilson bounds of counts that need not be whole; (0, 1) without trials."""
    if trials <= 0:
        return 0.0, 1.0
    p, square = successes / trials, Z_90 * Z_90 / trials
    centre, half = p + square / 2, Z_90 * sqrt(p * (1 - p) / trials + square / (4 * trials))
    return (centre - half) / (1 + square), (centre + half) / (1 + square)


def level_status(stats: Mapping[str, CellStats]) -> dict[str, SkillStatus]:
    """Gives the standing of every skill that has levels.

    Args:
        stats: cell -> pooled counts.
    Returns:
        skill -> status, sorted by skill. A level counts as mastered at a lower bound of 0.85 or more, and opens the
        next at 0.70 or more.
    """
    bounds: dict[str, dict[int, float]] = {}
    for tag in sorted(stats, key=natural_order):
        skill, level = skill_and_level(tag)
        if level is not None:
            accuracy = stats[tag].accuracy
            bounds.setdefault(skill, {})[level] = lower_bound(accuracy.successes, accuracy.trials)
    statuses = {}
    for skill, levels in bounds.items():
        mastered = tuple(level for level, bound in levels.items() if bound >= MASTERED_AT)
        current = next((level for level in levels if level not in mastered), max(levels))
        statuses[skill] = SkillStatus(
            skill=skill,
            current=current,
            mastered=mastered,
            opens_next=levels[current] >= OPENS_AT,
            lower_bounds=levels,
        )
    return statuses
