"""Training and evaluation logs of several formats in, telemetry lines out: sums per source, run, steps, tag, metric.

Read: our run events and telemetry files, our evaluation items, and the `trainer_state.json` of Hugging Face trainers;
the format is told by content, never by name. What can't be used (NaN, a torn last line, a source counted already) is
dropped and said; a line of no known format is an error with its place. Memory grows with the number of distinct keys,
not with the number of rows. Not covered: other trackers' formats.

LIMIT: two files are told to be the same by their bytes. A log read once half-grown and once whole counts twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import fsum, isfinite
from pathlib import Path
from typing import Any, cast

from curriculum.cells import ERROR_PREFIX
from frontier_core.allocation import natural_order
from frontier_core.atomic import sha256_file
from frontier_core.errors import DataError, UsageError
from frontier_core.events import Key, TelemetryLine
from frontier_core.jsonl import STDIN_NAME, Row, read_rows
from frontier_core.records import Record, TagStats, tag_of

HEAD_BYTES = 1 << 16
RUN_FILES = ("events.jsonl", "trainer_state.json")
"""What is read when a source is a run's folder, the first one found."""

Place = tuple[Key, int | None, str, str]
"""Key, round, source, digest of the source: what one line of the result is about."""


class _Sums:
    """Adds statistics up exactly, so that the order of lines changes no bit of the result."""

    __slots__ = ("counts", "squares", "totals")

    def __init__(self) -> None:
        self.counts = TagStats()
        self.totals: list[float] = []
        self.squares: list[float] = []

    def add(self, stats: TagStats) -> None:
        self.counts = self.counts + stats
        _grow(self.totals, stats.total)
        _grow(self.squares, stats.total_sq)

    def stats(self) -> TagStats:
        return replace(self.counts, total=fsum(self.totals), total_sq=fsum(self.squares))


def _grow(parts: list[float], value: float) -> None:
    """Adds `value` to a sum held as floats that do not overlap; nothing is rounded away.

    Source: Shewchuk (1997), "Adaptive precision floating-point arithmetic", Grow-Expansion.
    """
    kept = 0
    for part in parts:
        larger, smaller = (value, part) if abs(value) >= abs(part) else (part, value)
        value = larger + smaller
        lost = smaller - (value - larger)
        if lost:
            parts[kept] = lost
            kept += 1
    parts[kept:] = [value]


@dataclass(slots=True)
class _Source:
    """One file being read: sums so far, and what was dropped, to be said at the end."""

    name: str
    digest: str
    sums: dict[Place, _Sums] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, key: Key, stats: TagStats, round_number: int | None, origin: tuple[str, str] | None = None) -> None:
        source, digest = origin or (self.name, self.digest)
        self.sums.setdefault((key, round_number, source, digest), _Sums()).add(stats)


def ingest(sources: Sequence[Path | str], *, on_note: Callable[[str], None]) -> Iterator[TelemetryLine]:
    """Reads logs and yields their telemetry lines, summed per source and key.

    Args:
        sources: files ("-" for a pipe) or run folders, in any order; the same bytes named twice count once, also when
            they come once as a log and once inside a telemetry file made from it.
        on_note: told, in one line each, what was skipped or dropped and where.
    Yields:
        Lines by round, run, tag, metric and steps; the same for the same content, whatever the order of rows and,
        but for the `source` names, of sources.
    Raises:
        DataError: a line that is no JSON object, of no known format, or with a value out of range; file:line.
        UsageError: no such file, or a folder that is no run.
    """
    merged: dict[Place, TagStats] = {}
    owners: dict[str, int] = {}
    for index, given in enumerate(sources):
        source = _read(given, on_note)
        if owners.setdefault(source.digest, index) != index:
            on_note(f"{source.name}: the same content was read before; counted once")
            continue
        twice: set[str] = set()
        for place, sums in source.sums.items():
            digest = place[3]
            if owners.setdefault(digest, index) != index:
                twice.add(digest)
            else:
                merged[place] = sums.stats()
        for digest in sorted(twice):
            on_note(f"{source.name}: holds content that was read before ({digest[:12]}); counted once")
    for key, round_number, name, digest in sorted(merged, key=_order):
        stats = merged[key, round_number, name, digest]
        yield TelemetryLine(key=key, stats=stats, source=name, source_sha256=digest, round=round_number)


def read_telemetry(source: Path | str) -> Iterator[TelemetryLine]:
    """Yields the lines of a telemetry file; any other line raises DataError with its place."""
    for row in read_rows(source):
        if row.problem is not None:
            raise row.problem
        yield _telemetry_line(row)


def _order(place: Place) -> tuple[Any, ...]:
    key, round_number, name, digest = place
    number = -1 if round_number is None else round_number
    return (number, key.run_id, natural_order(key.tag), key.metric, key.step_from, key.step_to, digest, name)


def _read(given: Path | str, on_note: Callable[[str], None]) -> _Source:
    path = given if str(given) == "-" else _file_of(Path(given))
    document = None if str(path) == "-" else _json_document(Path(path))
    notes: list[str] = []
    if document is not None:
        source = _Source(str(path), sha256_file(Path(path)))
        _read_trainer_state(document, source)
    else:
        source = _read_lines(path, notes)
    for note in notes:
        on_note(note)
    for what, count in sorted(source.dropped.items()):
        on_note(f"{source.name}: {count} {what}")
    return source


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in RUN_FILES:
        if (path / name).is_file():
            return path / name
    raise UsageError(f"{path}: is no run's folder", hint=f"it holds none of: {', '.join(RUN_FILES)}")


def _json_document(path: Path) -> dict[str, Any] | None:
    """Gives the content of a file that is one JSON object with a `log_history`, None when it is anything else."""
    if path.suffix in (".gz", ".zst") or not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        # Trainers write their keys sorted, so the history is named within the first few hundred bytes.
        if not head.lstrip().startswith(b"{") or b'"log_history"' not in head:
            return None
        text = head + file.read()
    try:
        document = json.loads(text)  # the standard parser reads the bare NaN that trainers write
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("log_history"), list) else None


def _read_trainer_state(document: dict[str, Any], source: _Source) -> None:
    """Takes loss and eval_loss from a trainer state; they are means over all data, so their tag is `all`."""
    run_id = f"hf-{source.digest[:12]}"
    others: set[str] = set()
    last = {"loss": 0, "eval_loss": 0}
    for index, entry in enumerate(document["log_history"]):
        step = entry.get("step") if isinstance(entry, dict) else None
        if not isinstance(step, int) or step < 0:
            raise DataError(
                "an entry needs a step", path=source.name, pointer=f"/log_history/{index}/step", code="trainer_state"
            )
        for metric in last:
            if metric not in entry:
                continue
            value = entry[metric]
            if not isinstance(value, (int, float)) or not isfinite(value):
                source.dropped[f"values of {metric} that are no finite number dropped"] += 1
                continue
            key = Key(run_id, min(last[metric] + 1, step), step, "all", metric)
            source.add(key, TagStats(n=1, total=float(value), total_sq=float(value) ** 2), None)
            last[metric] = step
        others.update(entry.keys() - last.keys() - {"step", "epoch"})
    if others:
        source.dropped[f"other metrics not read ({', '.join(sorted(others))})"] += len(others)


def _read_lines(path: Path | str, notes: list[str]) -> _Source:
    """Reads a file of lines; the digest of a pipe is taken over its lines as they pass."""
    is_pipe = str(path) == "-"
    running = sha256()
    source = _Source(STDIN_NAME if is_pipe else str(path), "" if is_pipe else _digest(Path(path)))
    for row in read_rows(path, notes=notes):
        if is_pipe:
            running.update(row.raw + b"\n")
        repaired = row if row.problem is None else _repair(row)
        if repaired is None:
            assert row.problem is not None
            if row.problem.code != "truncated_line":
                raise row.problem
            notes.append(f"{row.path}:{row.number}: the last line is cut off; dropped, the lines before it are read")
            continue
        _add_row(repaired, source)
    if is_pipe:
        source.digest = running.hexdigest()
        source.sums = {(k, r, n, d or source.digest): sums for (k, r, n, d), sums in source.sums.items()}
    return source


def _digest(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""  # what is wrong with it, read_rows says


def _repair(row: Row) -> Row | None:
    """Reads a line again with the parser that knows the bare NaN and Infinity of Python's json; None if that fails."""
    if b"NaN" not in row.raw and b"Infinity" not in row.raw:
        return None
    try:
        value = json.loads(row.raw)
    except ValueError:
        return None
    return row._replace(record=cast(Record, value), problem=None) if isinstance(value, dict) else None


def _add_row(row: Row, source: _Source) -> None:
    record = row.record
    if record.get("kind") == "eval_item":
        _add_eval_item(row, source)
    elif "metric" in record and "tag" in record:
        if not all(isfinite(record[k]) for k in ("sum", "sum_sq") if isinstance(record.get(k), float)):
            source.dropped["lines with a sum that is no finite number dropped"] += 1
            return
        line = _telemetry_line(row)
        origin = (line.source or source.name, line.source_sha256) if line.source_sha256 else None
        source.add(line.key, line.stats, line.round, origin)
    else:
        hint = "known: run events, telemetry lines, evaluation items, a Hugging Face trainer_state.json"
        raise DataError(
            "a line of no known format", path=row.path, line=row.number, code="unknown_format", hint=hint
        )  # fmt: skip


def _bad(row: Row, key: str, message: str) -> DataError:
    return DataError(message, path=row.path, line=row.number, pointer=f"/{key}", code="telemetry")


def _whole(row: Row, key: str, default: int | None = None) -> int:
    value = row.record.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _bad(row, key, "must be a whole number from 0" if key in row.record else "is missing")
    return value


def _text(row: Row, key: str, default: str | None = None) -> str:
    value = row.record.get(key, default)
    if not isinstance(value, str) or (not value and default is None):
        raise _bad(row, key, "must be a non-empty text" if key in row.record else "is missing")
    return value


def _real(row: Row, key: str, *, minimum: float | None = None) -> float:
    value = row.record.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise _bad(row, key, "must be a finite number")
    if minimum is not None and value < minimum:
        raise _bad(row, key, f"must be at least {minimum:g}")
    return float(value)


def _round(row: Row) -> int | None:
    return None if row.record.get("round") is None else _whole(row, "round")


def _telemetry_line(row: Row) -> TelemetryLine:
    key = Key(
        _text(row, "run_id"), _whole(row, "step_from"), _whole(row, "step_to"), _text(row, "tag"), _text(row, "metric")
    )
    stats = TagStats(
        n=_whole(row, "n"),
        total=_real(row, "sum"),
        total_sq=_real(row, "sum_sq", minimum=0.0),
        tokens=_whole(row, "tokens", 0),
        successes=_whole(row, "successes", 0),
        trials=_whole(row, "trials", 0),
    )
    if stats.successes > stats.trials:
        raise _bad(row, "successes", f"{stats.successes} successes of {stats.trials} trials")
    if key.step_from > key.step_to:
        raise _bad(row, "step_from", f"is after step_to ({key.step_to})")
    return TelemetryLine(
        key=key,
        stats=stats,
        source=_text(row, "source", ""),
        source_sha256=_text(row, "source_sha256", ""),
        round=_round(row),
    )


def _add_eval_item(row: Row, source: _Source) -> None:
    """Counts one evaluated answer: a trial of its cell, and its error pattern when it failed."""
    record, step = row.record, _whole(row, "step", 0)
    if not isinstance(record.get("correct"), bool):
        raise _bad(row, "correct", "must be true or false" if "correct" in record else "is missing")
    tag = record.get("tag") or tag_of({"skill": _text(row, "skill"), "level": record.get("level")})
    if not isinstance(tag, str):
        raise _bad(row, "tag", "must be a non-empty text")
    run_id, round_number, hit = _text(row, "run_id"), _round(row), int(record["correct"])
    stats = TagStats(n=1, total=float(hit), total_sq=float(hit), successes=hit, trials=1)
    source.add(Key(run_id, step, step, tag, "accuracy"), stats, round_number)
    if not hit:
        metric = f"{ERROR_PREFIX}{_text(row, 'code', 'wrong_answer') or 'wrong_answer'}"
        source.add(Key(run_id, step, step, tag, metric), TagStats(n=1, total=1.0, total_sq=1.0), round_number)
