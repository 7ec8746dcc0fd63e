"""What a loop folder shows: accuracy by round, weights by round with reasons, failures, lineage; figures only.

Reads `round*/eval.jsonl`, `round*/policy.jsonl`, `round*/telemetry.jsonl` and the sidecars beside them; all but one
evaluation may be missing. The page is report_html.py; the terminal table is `summary_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from curriculum.cells import cells_by_round, pooled, skill_and_level
from curriculum.focus import focus_lines
from curriculum.ingest import ingest
from curriculum.levels import level_status
from frontier_core.allocation import PolicyLine, read_policy
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import read_rows
from frontier_core.lineage import chain
from frontier_core.records import Record, TagStats
from frontier_ops.report_data import LoopSummary, Round, Share, skill_weights

SAMPLES_PER_SKILL = 3
_ROUND = re.compile(r"round[-_]?(\d+)$")


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
