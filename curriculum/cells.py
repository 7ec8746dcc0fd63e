"""Telemetry lines summed up per sampling cell and round: the one input of every policy.

A cell is a tag `skill=S,level=L`. Lines only ever add up, so their order and how they are spread over files is
nothing to a policy. Reading files is ingest.py; deciding is policy.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import fsum
from typing import Any

from frontier_core.events import TelemetryLine
from frontier_core.records import TagStats, parse_tag

ERROR_PREFIX = "error:"
METRICS = {
    "accuracy": "accuracy",
    "loss": "loss",
    "first_pass_accuracy": "first_pass",
    "reference_loss": "reference",
    "safety_violation": "violations",
    "refusal": "refusals",
    "tool_success": "tools",
    "truncated": "truncated",
    "verify_pass": "verified",
}
"""Metric of a telemetry line -> the field of CellStats it is summed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStats:
    """What one round showed of one cell.

    `accuracy` counts held-out answers (successes of trials), `loss` sums per-example training losses in nats per
    token, `errors` counts failed answers by error pattern. `first_pass` counts training answers whose every token was
    the likeliest one before anything was learnt from them; `reference` is a reference model's loss. `violations`,
    `refusals` and `tools` count answers that broke a safety rule, that refused, tool calls that worked; `truncated`
    examples that were cut, `verified` candidates that passed verification. `supply` is
    how much unseen data there is, as a share of what the next round draws; it counts only with `has_supply`.
    """

    accuracy: TagStats = field(default_factory=TagStats)
    loss: TagStats = field(default_factory=TagStats)
    first_pass: TagStats = field(default_factory=TagStats)
    reference: TagStats = field(default_factory=TagStats)
    violations: TagStats = field(default_factory=TagStats)
    refusals: TagStats = field(default_factory=TagStats)
    tools: TagStats = field(default_factory=TagStats)
    truncated: TagStats = field(default_factory=TagStats)
    verified: TagStats = field(default_factory=TagStats)
    supply: float = 0.0
    has_supply: bool = False
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def answers(self) -> TagStats:
        """Right of tried answers: of the held-out problems, or where there were none, of the first pass."""
        return self.accuracy if self.accuracy.trials else self.first_pass


class _Sums:
    """Collects one cell's lines; sums are taken exactly at the end, so that the order of lines can't show."""

    def __init__(self) -> None:
        self.stats: dict[str, list[TagStats]] = {metric: [] for metric in METRICS}
        self.errors: Counter[str] = Counter()

    def add(self, line: TelemetryLine) -> None:
        metric = line.key.metric
        if metric in self.stats:
            self.stats[metric].append(line.stats)
        elif metric.startswith(ERROR_PREFIX):
            self.errors[metric.removeprefix(ERROR_PREFIX)] += line.stats.n

    def cell(self) -> CellStats:
        sums: dict[str, Any] = {name: exact_sum(self.stats[metric]) for metric, name in METRICS.items()}
        return CellStats(**sums, errors=dict(sorted(self.errors.items())))


def exact_sum(parts: Iterable[TagStats]) -> TagStats:
    """Adds statistics up so that their order can't change a bit of the result (correctly rounded sums)."""
    items = list(parts)
    return TagStats(
        n=sum(part.n for part in items),
        total=fsum(part.total for part in items),
        total_sq=fsum(part.total_sq for part in items),
        tokens=sum(part.tokens for part in items),
        successes=sum(part.successes for part in items),
        trials=sum(part.trials for part in items),
    )


def cells_by_round(lines: Iterable[TelemetryLine], *, default_round: int = 0) -> dict[int, dict[str, CellStats]]:
    """Sums telemetry up per round and cell.

    Args:
        lines: telemetry lines in any order.
        default_round: the round of lines that name none, when no line names one; otherwise those lines count to the
            latest round named.
    Returns:
        round -> tag -> stats, rounds ascending, tags sorted.
    """
    sums: dict[int | None, dict[str, _Sums]] = {}
    for line in lines:
        sums.setdefault(line.round, {}).setdefault(line.key.tag, _Sums()).add(line)
    named = [number for number in sums if number is not None]
    unnamed = sums.pop(None, {})
    latest = max(named, default=default_round)
    for tag, extra in unnamed.items():
        into = sums.setdefault(latest, {}).setdefault(tag, _Sums())
        for metric, parts in extra.stats.items():
            into.stats[metric] += parts
        into.errors += extra.errors
    rounds = sorted(number for number in sums if number is not None)
    return {number: {tag: sums[number][tag].cell() for tag in sorted(sums[number])} for number in rounds}


def cells_by_steps(lines: Iterable[TelemetryLine], *, every: int) -> dict[int, dict[str, CellStats]]:
    """Sums telemetry up per cell and round of `every` steps, whatever round the lines name.

    Returns:
        round -> tag -> stats; round r holds the lines that end at steps (r - 1) * every + 1 to r * every.
    """
    ends = (replace(line, round=-(-line.key.step_to // every)) for line in lines)
    return cells_by_round(ends)


def pooled(rounds: Iterable[dict[str, CellStats]]) -> dict[str, CellStats]:
    """Adds the cells of several rounds up."""
    parts: dict[str, list[CellStats]] = {}
    for cells in rounds:
        for tag, cell in cells.items():
            parts.setdefault(tag, []).append(cell)
    found = {}
    for tag, seen in sorted(parts.items()):
        sums: dict[str, Any] = {name: exact_sum(getattr(cell, name) for cell in seen) for name in METRICS.values()}
        errors = sum((Counter(cell.errors) for cell in seen), Counter[str]())
        found[tag] = CellStats(**sums, errors=dict(errors))
    return found


@lru_cache(maxsize=8192)
def skill_and_level(tag: str) -> tuple[str, int | None]:
    """Gives the skill and the level of a cell; the level is None for a tag that names none."""
    parts = parse_tag(tag)
    level = parts.get("level", "")
    return parts.get("skill", tag), int(level) if level.isdecimal() else None


def prerequisite_of(tag: str) -> str | None:
    """Gives the cell one level below in the same skill, None for level 1 and for tags without a level."""
    skill, level = skill_and_level(tag)
    return None if level is None or level <= 1 else f"skill={skill},level={level - 1}"
