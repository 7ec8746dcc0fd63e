"""Ranks evaluations of the same held-out problems, best first: which checkpoint goes into service.

Only answers to the very same items are compared. A regression is judged pair by pair: the problems one solves and the
other does not. Making the evaluations of a run is comparison_runs.py, the plot comparison_plot.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

from frontier_core.errors import DataError
from frontier_core.jsonl import read_rows
from frontier_core.lineage import read_sidecar
from frontier_core.records import Record, TagStats, wilson_interval
from frontier_ops.evaluation import mean_accuracy, tally_items


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One evaluation: its file, the checkpoint it is of ("" when the sidecar does not say), and its accuracies."""

    path: Path
    checkpoint: str
    run_id: str
    step: int
    mean_accuracy: float
    skills: dict[str, TagStats]

    def to_record(self, place: int) -> Record:
        """Gives the entry as a JSON object, with a Wilson interval (95 %) per skill."""
        return {
            "place": place,
            "run_id": self.run_id,
            "step": self.step,
            "checkpoint": self.checkpoint,
            "evaluation": str(self.path),
            "mean_accuracy": self.mean_accuracy,
            "skills": {name: value.rate for name, value in self.skills.items()},
            "intervals": {
                name: list(wilson_interval(value.successes, value.trials)) for name, value in self.skills.items()
            },
            "trials": {name: value.trials for name, value in self.skills.items()},
        }


ALPHA = 0.05
"""A skill has got worse when chance alone would turn as many pairs against it less often than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one skill changed from one evaluation to another: problems won and lost, and the chance of so many losses.

    Source: McNemar (1947); the exact one-sided sign test on the pairs that differ.
    """

    skill: str
    num_won: int
    num_lost: int
    p_value: float

    @property
    def is_worse(self) -> bool:
        """True when the losses are more than chance explains."""
        return self.p_value < ALPHA

    @property
    def words(self) -> str:
        """The change in a sentence."""
        return f"{self.skill}: {self.num_lost} problems lost, {self.num_won} won (p = {self.p_value:.3g})"


def changes(evaluation: str, baseline: str) -> list[Change]:
    """Gives how each skill, and all together, changed from `baseline` to `evaluation`, problem by problem.

    Raises:
        DataError: they do not answer the same problems.
    """
    new, old = ({str(item["item_id"]): item for item in _items(path)} for path in (evaluation, baseline))
    if set(new) != set(old):
        message = f"answers {len(set(new) ^ set(old))} other problems than {baseline}"
        hint = "evaluate with the same --seed, -n and skills"
        raise DataError(message, path=evaluation, code="other_items", hint=hint)
    found = []
    for skill in ("all", *sorted({str(item["skill"]) for item in new.values()})):
        pairs = [
            (bool(old[name]["correct"]), bool(item["correct"]))
            for name, item in new.items()
            if skill in ("all", item["skill"])
        ]
        won, lost = pairs.count((False, True)), pairs.count((True, False))
        found.append(Change(skill=skill, num_won=won, num_lost=lost, p_value=_sign_test(lost, won + lost)))
    return found


def regressions(evaluation: str, baseline: str) -> list[Change]:
    """Gives the skills that got worse from `baseline` to `evaluation`. Raises as `changes`."""
    return [change for change in changes(evaluation, baseline) if change.is_worse]


def _sign_test(lost: int, num: int) -> float:
    """Gives the chance of at least `lost` heads in `num` tosses of a fair coin."""
    tails: int = sum(comb(num, count) for count in range(lost, num + 1))
    return float(tails / (1 << num))


def compare(paths: Sequence[str]) -> list[Ranked]:
    """Gives the evaluations, highest mean accuracy over skills first; of equals the later one given first.

    Raises:
        DataError: a file holds no evaluation items, or not the same items as the first.
    """
    ranked = []
    asked: frozenset[str] = frozenset()
    for path in paths:
        items = _items(path)
        ids = frozenset(str(item["item_id"]) for item in items)
        asked = asked or ids
        if ids != asked:
            message = f"answers {len(ids - asked)} other problems than {paths[0]}"
            raise DataError(message, path=path, code="other_items", hint="evaluate with the same --seed, -n and skills")
        stats = tally_items(items)
        ranked.append(
            Ranked(
                path=Path(path),
                checkpoint=_checkpoint(Path(path)),
                run_id=str(items[0]["run_id"]),
                step=int(items[0]["step"]),
                mean_accuracy=mean_accuracy(stats),
                skills=stats,
            )
        )
    later_first = ranked[::-1]
    return sorted(later_first, key=lambda entry: -entry.mean_accuracy)


def scores_by_step(paths: Sequence[str]) -> dict[int, float]:
    """Gives step -> mean accuracy over skills of evaluations of one run's checkpoints; the later file wins."""
    scores: dict[int, float] = {}
    for path in paths:
        items = _items(path)
        scores[int(items[0]["step"])] = mean_accuracy(tally_items(items))
    return scores


def _items(path: str) -> list[Record]:
    items = []
    for row in read_rows(path):
        if row.problem is not None:
            raise row.problem
        if row.record.get("kind") != "eval_item" or "item_id" not in row.record:
            message = "is no evaluation item"
            raise DataError(message, path=path, line=row.number, pointer="/kind", code="not_eval", hint="frontier eval")
        items.append(row.record)
    return items


def _checkpoint(path: Path) -> str:
    meta = read_sidecar(path)
    inputs = meta["inputs"] if meta else []
    return os.path.normpath(path.parent / inputs[0]["path"]) if inputs else ""
