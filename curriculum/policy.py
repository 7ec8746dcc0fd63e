"""Sampling policies: what was seen per cell in, sampling weights with reasons out. Pure functions, no files.

The default, `frontier`, gives weight to what is not mastered (headroom), is being learnt (progress per unit of weight)
and whose prerequisite stands (gate), inside rails: a floor and a cap by prior, a step limit a round, no move without
data. Its arithmetic is decision.py, on columns; a policy line, with its evidence and its sentence, is made when
somebody looks at it. Each line names its evidence and factors: the product of the factors is the target, and the weight
is `min(max(balance * target, low), high)`. Wording is reasons.py, rollback anchors.py, what to generate focus.py; the
literature's rules are published.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from curriculum import published
from curriculum.cells import CellStats
from curriculum.columns import Cells, Evidence, Floats, state_of
from curriculum.decision import Decision, decide
from curriculum.reasons import explain
from curriculum.settings import PolicySettings
from curriculum.shares import Policy, next_round
from frontier_core.allocation import PolicyLine
from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from frontier_core.records import wilson_interval


def update(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,
    round_number: int | None = None,
) -> PolicyLines:
    """Gives next round's weights by the `frontier` policy.

    Args:
        domains_prior: cell -> prior share, above 0; normalised here. It names the cells there are: new ones enter at
            their prior, cells it no longer names leave.
        stats: what the last round showed, per cell; cells without evidence keep their weight.
        previous: the last policy, None at first.
        settings: the numbers.
        round_number: the round these weights are for; one after the previous by default.
    Returns:
        One line per cell in natural order, made on demand; the weights sum to 1 within 1e-9 and keep floor, cap and
        step.
    Raises:
        ConfigError: no prior, or one that is not above 0.
    Source: mastery-progress policy of the project's reweighting study; after Matiisen et al. (2017), "Teacher-student
        curriculum learning", for progress, and Jiang et al. (2024), "Adaptive data optimization", for dividing it by
        the weight.
    """
    cells = Cells.of(domains_prior)
    if isinstance(previous, PolicyLines) and previous.decision.cells is cells:
        state, before, last = previous.decision.state.copy(), previous.decision.weight, previous.decision.number
    else:
        state, before, last = state_of(cells, previous), _weights_before(cells, previous), next_round(previous) - 1
    number = last + 1 if round_number is None else round_number
    seen = Evidence.of(cells, stats)
    return PolicyLines(
        decide(cells, seen, state, before, settings=settings, number=number),
        settings=settings,
        is_first=not previous,
    )


def _weights_before(cells: Cells, previous: Sequence[PolicyLine] | None) -> Floats:
    """Gives the weights in force, NaN for cells that are new; cells that left give their share back."""
    old = {line.tag: line.weight for line in previous or ()}
    return np.array([old.get(tag, np.nan) for tag in cells.tags])


POLICIES: dict[str, Policy] = {
    "frontier": update,
    "uniform": published.uniform,
    "proportional": published.proportional,
    "doremi": published.doremi,
    "odm": published.odm,
    "ado": published.ado,
    "skill_it": published.skill_it,
    "learning_progress": published.learning_progress,
    "levels": published.levels,
}
"""Name -> policy; all have the signature of `update`."""


def policy_named(name: str) -> Policy:
    """Gives the policy of that name, or raises ConfigError with the nearest known one."""
    if name not in POLICIES:
        raise ConfigError(f"unknown policy {name!r}", hint=did_you_mean(name, POLICIES))
    return POLICIES[name]


class PolicyLines(Sequence[PolicyLine]):
    """The lines of one decision; none is made before somebody looks at one."""

    def __init__(self, decision: Decision, *, settings: PolicySettings, is_first: bool) -> None:
        self.decision = decision
        self._settings = settings
        self._is_first = is_first

    def __len__(self) -> int:
        return len(self.decision.cells.tags)

    @overload
    def __getitem__(self, index: int) -> PolicyLine: ...
    @overload
    def __getitem__(self, index: slice) -> list[PolicyLine]: ...
    def __getitem__(self, index: int | slice) -> PolicyLine | list[PolicyLine]:
        """Gives a line, or the lines of a slice as a list."""
        return self._lines[index]

    def __eq__(self, other: object) -> bool:
        """Says whether another sequence holds equal lines."""
        return isinstance(other, Sequence) and self._lines == list(other)

    __hash__ = None  # type: ignore[assignment]

    def weights(self) -> dict[str, float]:
        """Gives cell -> weight, without making a line."""
        return dict(zip(self.decision.cells.tags, self.decision.weight.tolist(), strict=True))

    @cached_property
    def _lines(self) -> list[PolicyLine]:
        made = self.decision
        columns = (made.weight, made.previous, made.cells.priors, made.floor, made.cap, made.low, made.high)
        values = list(zip(*(column.tolist() for column in (*columns, made.target)), strict=True))
        factors = list(zip(*(column.tolist() for column in made.factors.values()), strict=True))
        states, mastery = made.state.rows(), made.state.mastery.tolist()
        lines = []
        for place, tag in enumerate(made.cells.tags):
            weight, previous, prior, floor, cap, low, high, target = values[place]
            line = PolicyLine(
                tag=tag,
                weight=weight,
                previous=previous,
                prior=prior,
                floor=floor,
                cap=cap,
                round=made.number,
                reason="-",
                evidence={"target": target, "balance": made.balance, "low": low, "high": high}
                | _evidence(made, place, states, mastery),
                factors=dict(zip(made.factors, factors[place], strict=True)),
                limits=_limits(made, place),
                state=states[place],
            )
            is_new = bool(made.joined[place]) and not self._is_first
            lines.append(explain(line, is_new=is_new, settings=self._settings))
        return lines


def _limits(made: Decision, place: int) -> tuple[str, ...]:
    """Names what holds a weight."""
    if made.held[place]:
        return ("no data",)
    if made.state.closed[place]:
        return ("closed",)
    weight, low, high = made.weight[place], made.low[place], made.high[place]
    if weight >= high == made.supplies[place]:
        return ("supply",)
    if low < weight < high:
        return ()
    if weight <= low:
        return ("floor",) if low == made.floor[place] else ("step",)
    return ("cap",) if high == made.cap[place] else ("step",)


def _evidence(
    made: Decision, place: int, states: Sequence[Mapping[str, float]], mastery: Sequence[float]
) -> dict[str, Any]:
    """Gives the figures behind a line: counts and interval of the round, discounted mastery, loss, errors."""
    cell, state = made.evidence.stats[place], states[place]
    evidence: dict[str, Any] = {}
    answers = cell.answers
    if answers.trials:
        low, high = wilson_interval(answers.successes, answers.trials)
        evidence["accuracy"] = {
            "value": answers.rate,
            "low": low,
            "high": high,
            "successes": answers.successes,
            "trials": answers.trials,
            "is_first_pass": not cell.accuracy.trials,
        }
    if state["trials"] > 0:
        evidence["mastery"] = mastery[place]
        evidence["effective_trials"] = state["trials"]
    if cell.loss.n:
        evidence["loss"] = {
            "value": cell.loss.mean,
            "standard_error": cell.loss.standard_error,
            "num_examples": cell.loss.n,
            "tokens": cell.loss.tokens,
            "first": state["first_loss"],
            "first_round": state["first_round"],
            "readings": state["readings"],
        }
    below = int(made.cells.below[place])
    if below >= 0 and states[below]["trials"] > 0:
        evidence["prerequisite"] = {"tag": made.cells.tags[below], "mastery": mastery[below]}
    if cell.violations.trials:
        evidence["violations"] = {"successes": cell.violations.successes, "trials": cell.violations.trials}
    if cell.has_supply:
        evidence["supply"] = cell.supply
    if cell.errors:
        evidence["errors"] = dict(sorted(cell.errors.items(), key=lambda item: (-item[1], item[0])))
    return evidence
