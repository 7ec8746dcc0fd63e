"""Ranks evaluations of the same held-out problems, best first: which checkpoint goes into service.

Only answers to the very same items are compared. Regression gates and plots per skill are not covered here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from frontier_core.errors import DataError
from frontier_core.jsonl import read_rows
from frontier_core.lineage import read_sidecar
from frontier_core.records import Record, TagStats
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
