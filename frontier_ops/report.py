"""What a loop folder shows: accuracy by round, weights by round with reasons, failures, lineage; figures only.

Reads `round*/eval.jsonl`, `round*/policy.jsonl`, `round*/telemetry.jsonl` and the sidecars beside them; all but one
evaluation may be missing. The page is report_html.py; the terminal table is `summary_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from curriculum.cells import CellStats, cells_by_round, exact_sum, pooled, skill_and_level
from curriculum.focus import FocusLine, focus_lines
from curriculum.ingest import ingest
from curriculum.levels import SkillStatus, level_status
from frontier_core.allocation import PolicyLine, natural_order, read_policy
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import read_rows
from frontier_core.lineage import Link, chain
from frontier_core.records import Record, TagStats, wilson_interval

SAMPLES_PER_SKILL = 3
Z_95 = 1.959964
_ROUND = re.compile(r"round[-_]?(\d+)$")


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


def collect(loop_dir: Path, *, on_note: Callable[[str], None] = lambda _: None) -> LoopSummary:
    """Reads a loop folder.

    Args:
        loop_dir: holds round0, round1, ...
        on_note: told what was dropped while reading.
    Raises:
        UsageError: no such folder, or no round in it was evaluated.
        DataError: a line of a file can't be used; file:line.
    """
    folders = _round_folders(loop_dir)
    evals = {number: path / "eval.jsonl" for number, path in folders.items() if (path / "eval.jsonl").is_file()}
    if not evals:
        raise UsageError(
            f"{loop_dir}: holds no round*/eval.jsonl", hint="make loop, or frontier eval -o round0/eval.jsonl"
        )
    policies: dict[int, tuple[PolicyLine, ...]] = {}
    for number, path in folders.items():
        if (path / "policy.jsonl").is_file():
            lines = tuple(read_policy(path / "policy.jsonl"))
            policies[max(line.round for line in lines) or number] = lines
    losses = _losses([path / "telemetry.jsonl" for path in folders.values()], on_note)
    rounds = tuple(
        Round(
            number=number,
            cells=pooled(cells_by_round(ingest([path], on_note=on_note)).values()),
            policy=policies.get(number, ()),
            loss=losses.get(number, {}),
            correct={str(item.get("item_id")): item["correct"] for item in _items(path)},
        )
        for number, path in evals.items()
    )
    return LoopSummary(
        folder=loop_dir,
        rounds=rounds,
        policies=dict(sorted(policies.items())),
        failures=tuple(_failures(evals[rounds[-1].number])),
        focus=tuple(focus_lines(rounds[-1].cells)),
        levels=level_status(rounds[-1].cells),
        lineage=tuple(chain(evals[rounds[-1].number])),
    )


def _round_folders(loop_dir: Path) -> dict[int, Path]:
    if not loop_dir.is_dir():
        raise UsageError(f"{loop_dir}: no such folder", hint="name the folder that holds round0, round1, ...")
    found = {}
    for path in loop_dir.iterdir():
        match = _ROUND.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def _losses(files: Iterable[Path], on_note: Callable[[str], None]) -> dict[int, dict[str, TagStats]]:
    """Gives round -> tag -> training loss; content that several telemetry files share counts once."""
    present = [path for path in files if path.is_file()]
    lines = [line for line in ingest(present, on_note=lambda _: None) if line.round is not None] if present else []
    if present and not lines:
        on_note(f"{present[0]}: names no round; its losses are left out")
    rounds = cells_by_round(lines)
    return {number: {tag: cell.loss for tag, cell in cells.items() if cell.loss.n} for number, cells in rounds.items()}


def _items(path: Path) -> Iterator[Record]:
    """Yields the items of an evaluation file; any other line is an error with its place."""
    for row in read_rows(path):
        if row.problem is not None:
            raise row.problem
        if not isinstance(row.record.get("correct"), bool):
            hint = "frontier eval writes evaluation files"
            raise DataError("is no evaluation item", path=row.path, line=row.number, code="eval_item", hint=hint)
        yield row.record


def _failures(path: Path) -> list[Record]:
    """Picks failed items: per skill, one of each error pattern, most frequent first, then seconds and thirds."""
    by_skill: dict[str, dict[str, list[Record]]] = {}
    for item in _items(path):
        if not item["correct"]:
            skill = str(item.get("skill") or skill_and_level(str(item.get("tag")))[0])
            by_skill.setdefault(skill, {}).setdefault(str(item.get("code")), []).append(item)
    chosen: list[Record] = []
    for skill in sorted(by_skill):
        groups = sorted(by_skill[skill].values(), key=len, reverse=True)
        turns = (item for turn in zip_longest(*groups) for item in turn if item is not None)
        chosen += [item for item, _ in zip(turns, range(SAMPLES_PER_SKILL), strict=False)]
    return chosen


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


def summary_rows(summary: LoopSummary) -> list[list[str]]:
    """Gives a table for a terminal: a header, a row per skill, the mean over skills.

    Columns: skill; accuracy of each round with its 95 % interval; answers per round; the share of the training data
    by round, where policies are there.
    """
    rounds, weighted = summary.rounds, summary.weight_rounds()
    shares = [skill_weights(summary.weights(number)) for number in weighted]
    header = ["skill", *(f"round {part.number}" for part in rounds), "n", *(f"data {number}" for number in weighted)]
    rows = [header]
    for skill in summary.skills:
        found = [part.accuracy(skill) for part in rounds]
        count = found[-1].trials if found[-1] else 0
        rows.append([skill, *map(_cell, found), str(count), *(_percent(share.get(skill)) for share in shares)])
    means = [part.mean() for part in rounds]
    rows.append(["mean over skills", *map(_cell, means), str(means[-1].trials), *("" for _ in weighted)])
    return rows


def _cell(share: Share | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share.value:5.1f}% ({100 * share.low:.0f}-{100 * share.high:.0f})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Gives rows as lines of plain text, the first column left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def render_html(summary: LoopSummary) -> str:
    """Gives the report as one HTML page that needs nothing from outside: no script, no font, no request."""
    from frontier_ops.report_html import page  # the terminal table must not pay for the page

    return page(summary)
