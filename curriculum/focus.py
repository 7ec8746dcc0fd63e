"""Which error pattern of which cell fails most: where new data is needed within a cell.

Splitting a number of records over cells is frontier_core/allocation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curriculum.cells import CellStats
from frontier_core.allocation import natural_order


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusLine:
    """One error pattern of one cell.

    `num_failures` answers failed this way; `share` is their smoothed share of the cell's failures, in (0, 1).
    """

    tag: str
    code: str
    num_failures: int
    num_trials: int
    share: float


def focus_lines(stats: Mapping[str, CellStats], *, limit: int | None = None) -> list[FocusLine]:
    """Gives error patterns by how often they occur, most frequent first.

    Args:
        stats: cell -> what was seen.
        limit: how many lines at most; None for all.
    Returns:
        Lines by failures, ties in natural order of tag and code. `share` adds half a failure to each pattern of the
        cell, so that a rare one seen once does not count for all or nothing (Jeffreys' prior).
    """
    lines = [
        FocusLine(
            tag=tag,
            code=code,
            num_failures=count,
            num_trials=cell.accuracy.trials,
            share=(count + 0.5) / (sum(cell.errors.values()) + 0.5 * len(cell.errors)),
        )
        for tag, cell in stats.items()
        for code, count in cell.errors.items()
        if count > 0
    ]
    lines.sort(key=lambda line: (-line.num_failures, natural_order(line.tag), line.code))
    return lines[:limit]
