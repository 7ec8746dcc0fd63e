"""The same held-out problems answered before and after a round: did it do harm, and what is done then.

Anchors are problems that never come from the training stream. Because the same ones are answered each time, answers
pair up by problem, and a small harm shows that two separate rates would hide. Reading files is the command's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb

from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine, natural_order
from frontier_core.errors import DataError
from frontier_core.records import Record, tag_of

POOLED_DROP, CELL_DROP, SIGNIFICANCE = 0.02, 0.10, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What happened to one cell's anchors, or to all of them (tag `all`).

    `lost` answers were right before and are wrong now, `won` the other way round; `drop` is their difference per
    problem, `p_value` how likely so many or more losses are if losing and winning are equally likely.
    """

    tag: str
    num: int
    lost: int
    won: int

    @property
    def drop(self) -> float:
        """Fall of the accuracy."""
        return (self.lost - self.won) / self.num if self.num else 0.0

    @property
    def p_value(self) -> float:
        """One-sided exact McNemar test. Source: McNemar (1947), Psychometrika 12."""
        changed = self.lost + self.won
        return float(sum(comb(changed, k) for k in range(self.lost, changed + 1)) / 2**changed)


def answers_of(items: Sequence[Record], *, path: str) -> dict[str, tuple[str, bool]]:
    """Gives problem id -> (cell, was it right) of evaluation items.

    Raises:
        DataError: an item without id or verdict, or an id twice; names the line.
    """
    found: dict[str, tuple[str, bool]] = {}
    for number, item in enumerate(items, 1):
        key = item.get("item_id")
        if not isinstance(key, str) or not isinstance(item.get("correct"), bool):
            raise DataError(
                "needs `item_id` and `correct`", path=path, line=number, code="anchor", hint="frontier eval"
            )
        if key in found:
            raise DataError(f"problem {key!r} stands twice", path=path, line=number, code="anchor")
        found[key] = (str(item.get("tag") or tag_of(item)), item["correct"])
    return found


def compare_anchors(before: Mapping[str, tuple[str, bool]], after: Mapping[str, tuple[str, bool]]) -> list[Anchor]:
    """Pairs answers by problem.

    Returns:
        `all` first, then each cell in natural order; problems that only one side answered are left out.
    Raises:
        DataError: no problem in common.
    """
    common = before.keys() & after.keys()
    if not common:
        raise DataError("the two evaluations share no problem", code="anchor", hint="use the same --seed and -n")
    tags: dict[str, list[str]] = {}
    for key in common:
        tags.setdefault(before[key][0], []).append(key)

    def count(tag: str, keys: Sequence[str]) -> Anchor:
        pairs = [(before[key][1], after[key][1]) for key in keys]
        return Anchor(tag=tag, num=len(keys), lost=pairs.count((True, False)), won=pairs.count((False, True)))

    return [count("all", sorted(common)), *(count(tag, tags[tag]) for tag in sorted(tags, key=natural_order))]


def harm(anchors: Sequence[Anchor]) -> Anchor | None:
    """Gives what was harmed, None when nothing was.

    Harm is a fall of more than 2 points of all anchors, or of more than 10 in one cell, that chance explains less than
    once in a hundred times; over cells by Holm's correction, or more cells would mean more false alarms.
    """
    whole = anchors[0]
    if whole.drop > POOLED_DROP and whole.p_value < SIGNIFICANCE:
        return whole
    cells = sorted(anchors[1:], key=lambda anchor: anchor.p_value)
    first = cells[0] if cells else None  # Holm (1979): the smallest p is held against alpha / number of tests
    if first is not None and first.drop > CELL_DROP and first.p_value < SIGNIFICANCE / len(cells):
        return first
    return None


def rolled_back(
    good: Sequence[PolicyLine], current: Sequence[PolicyLine], harmed: Anchor, *, settings: PolicySettings
) -> list[PolicyLine]:
    """Gives the policy after harm: the last good weights, and rounds of caution.

    For `settings.wary_rounds` rounds the share handed out by prior is `settings.wary_exploration`. What is known of the
    cells is kept: only the weights go back. A second harm in a row of trips goes back to the priors.

    Args:
        good: the policy before the harm.
        current: the policy in force, whose state and round go on.
        harmed: what `harm` found.
        settings: the policy's numbers.
    """
    trips = max((int(line.state.get("trips", 0)) for line in current), default=0) + 1
    weights = {line.tag: line.weight for line in good}
    if trips > 1 or weights.keys() != {line.tag for line in current}:
        weights = {line.tag: line.prior for line in current}
    what = "all anchors" if harmed.tag == "all" else harmed.tag
    where = "the priors" if trips > 1 else "the last good weights"
    reason = (
        f"rolled back to {where}: {what} fell {100 * harmed.drop:.1f} points "
        f"({harmed.lost} answers lost, {harmed.won} won, p={harmed.p_value:.2g})"
    )
    number = max(line.round for line in current)
    return [
        replace(
            line,
            previous=line.weight,
            weight=line.prior * (weights[line.tag] / line.prior),
            reason=reason,
            round=number,
            factors={"prior": line.prior, "rollback": weights[line.tag] / line.prior},
            limits=("rollback",),
            evidence={"target": line.prior * (weights[line.tag] / line.prior), "anchor": harmed.tag},
            state=line.state | {"trips": trips, "wary": settings.wary_rounds},
        )
        for line in current
    ]
