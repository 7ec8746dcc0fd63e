"""What the report shows, as plain values: rounds, shares with their intervals, and what moved most."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from curriculum.cells import CellStats, exact_sum, skill_and_level
from curriculum.focus import FocusLine
from curriculum.levels import SkillStatus
from frontier_core.allocation import PolicyLine, natural_order
from frontier_core.lineage import Link
from frontier_core.records import Record, TagStats, wilson_interval

Z_95 = 1.959964


class Share(NamedTuple):
    """A rate with its 95 % interval and the number of answers behind it; all of 0..1."""

    value: float
    low: float
    high: float
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: what was evaluated after it, the policy its data followed, and the training loss per cell."""

    number: int
    cells: dict[str, CellStats] = field(default_factory=dict)
    policy: tuple[PolicyLine, ...] = ()
    loss: dict[str, TagStats] = field(default_factory=dict)
    correct: dict[str, bool] = field(default_factory=dict)
    """item id -> was it answered rightly; what pairs rounds that were asked the same questions."""

    @property
    def skills(self) -> list[str]:
        """The skills evaluated, sorted."""
        return sorted({skill_and_level(tag)[0] for tag in self.cells})

    def accuracy(self, skill: str, level: int | None = None) -> Share | None:
        """Gives the accuracy of a skill, or of one level of it; None when it was not evaluated."""
        chosen = [
            cell.accuracy
            for tag, cell in self.cells.items()
            if skill_and_level(tag)[0] == skill and level in (None, skill_and_level(tag)[1])
        ]
        total = exact_sum(chosen)
        if not total.trials:
            return None
        return Share(total.rate, *wilson_interval(total.successes, total.trials), total.trials)

    def mean(self) -> Share:
        """Gives the mean of the skills' accuracies, each skill counting the same, with a normal 95 % interval.

        The variance of each skill is taken at its Agresti-Coull rate, so that 0 of n and n of n have one too.
        """
        shares = [share for share in map(self.accuracy, self.skills) if share is not None]
        value = sum(share.value for share in shares) / len(shares)
        variance = 0.0
        for share in shares:
            rate = (share.value * share.trials + 2) / (share.trials + 4)
            variance += rate * (1 - rate) / (share.trials + 4)
        half = Z_95 * sqrt(variance) / len(shares)
        return Share(value, max(0.0, value - half), min(1.0, value + half), sum(share.trials for share in shares))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSummary:
    """All a report shows; see the fields."""

    folder: Path
    rounds: tuple[Round, ...]
    """Evaluated rounds, ascending; at least one."""
    policies: dict[int, tuple[PolicyLine, ...]]
    """round -> the policy its data followed."""
    failures: tuple[Record, ...]
    """A few failed items of the last round per skill, its most frequent error patterns first."""
    focus: tuple[FocusLine, ...]
    levels: dict[str, SkillStatus]
    lineage: tuple[Link, ...]

    @property
    def first(self) -> Round:
        """The first evaluated round."""
        return self.rounds[0]

    @property
    def last(self) -> Round:
        """The last evaluated round."""
        return self.rounds[-1]

    @property
    def skills(self) -> list[str]:
        """Skills evaluated in any round, sorted."""
        return sorted({skill for part in self.rounds for skill in part.skills})

    def paired(self) -> tuple[int, int, int]:
        """Gives (questions asked in the first and the last round, newly right, newly wrong)."""
        both = self.first.correct.keys() & self.last.correct.keys()
        right = sum(self.last.correct[item] and not self.first.correct[item] for item in both)
        wrong = sum(self.first.correct[item] and not self.last.correct[item] for item in both)
        return len(both), right, wrong

    def weight_rounds(self) -> list[int]:
        """Gives the rounds whose weights are known: those with a policy, and the one before the first at its priors."""
        known = sorted(self.policies)
        return [known[0] - 1, *known] if known and known[0] > 0 else known

    def weights(self, number: int) -> dict[str, float]:
        """Gives tag -> weight of a round of `weight_rounds`."""
        if number in self.policies:
            return {line.tag: line.weight for line in self.policies[number]}
        return {line.tag: line.previous for line in self.policies[min(self.policies)]}


def skill_weights(weights: dict[str, float]) -> dict[str, float]:
    """Adds the weights of each skill's cells up."""
    sums: dict[str, float] = {}
    for tag in sorted(weights, key=natural_order):
        skill = skill_and_level(tag)[0]
        sums[skill] = sums.get(skill, 0.0) + weights[tag]
    return sums


def biggest_moves(summary: LoopSummary, limit: int = 6) -> list[tuple[PolicyLine, float]]:
    """Gives the last policy's lines that moved most since the first known weights, with the factor, largest first."""
    rounds = summary.weight_rounds()
    if not rounds:
        return []
    start = summary.weights(rounds[0])
    moves = [
        (line, line.weight / start[line.tag])
        for line in summary.policies[rounds[-1]]
        if start.get(line.tag, 0.0) > 0 and line.weight > 0
    ]
    moves.sort(key=lambda move: (-max(move[1], 1 / move[1]), natural_order(move[0].tag)))
    return moves[:limit]
