"""Training and evaluation logs of several formats in, telemetry lines out: sums per source, run, steps, tag, metric.

Read: our run events, telemetry files, evaluation items and request logs, and what other tools leave (readers/: one
module a tool). The format is told by content. What can't be used (NaN, a torn last line, a source counted already) is
dropped and said; a line of no known format is an error with its place. Memory grows with the number of distinct keys,
not with the number of rows.

LIMIT: two files are told to be the same by their bytes. A log read once half-grown and once whole counts twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any, cast

from curriculum.bulk import read_bulk
from curriculum.cells import ERROR_PREFIX
from curriculum.patterns import is_refusal, pattern_of
from curriculum.readers import inspect_log, lm_eval, mlflow, serving, tensorboard, trainer_state, wandb
from curriculum.readers.source import Place, Source
from frontier_core.allocation import natural_order
from frontier_core.atomic import sha256_file
from frontier_core.errors import DataError, UsageError
from frontier_core.events import Key, TelemetryLine
from frontier_core.jsonl import STDIN_NAME, Row, parse_line, read_rows
from frontier_core.records import Record, TagStats, tag_of

HEAD_BYTES = 1 << 16
RUN_FILES = ("events.jsonl", "trainer_state.json")
"""What is read when a source is a run's folder, the first one found."""
LOG_PATTERNS = ("*.tfevents.*", "run-*.wandb", "files/wandb-summary.json", "wandb-summary.json", "mlflow.db")
"""What is read when it is another tool's folder and there is only one."""

FORMATS = (
    "auto", "frontier", "trainer-state", "tensorboard", "wandb", "mlflow", "lm-eval", "inspect", "otel", "prometheus",
)  # fmt: skip
"""What --format takes; frontier stands for run events, telemetry lines, evaluation items and the request log."""


def ingest(
    sources: Sequence[Path | str], *, on_note: Callable[[str], None], form: str = "auto"
) -> Iterator[TelemetryLine]:
    """Reads logs and yields their telemetry lines, summed per source and key.

    Args:
        sources: files ("-" for a pipe) or run folders, in any order; the same bytes named twice count once, also when
            they come once as a log and once inside a telemetry file made from it.
        on_note: told, in one line each, what was skipped or dropped and where.
        form: one of FORMATS; "auto" tells each source's form by its content.
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
        source = _read(given, on_note, form)
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


def _read(given: Path | str, on_note: Callable[[str], None], form: str) -> Source:
    path = given if str(given) == "-" else _file_of(Path(given))
    notes: list[str] = []
    source = None if str(path) == "-" else _read_foreign(Path(path), form)
    if source is None:
        if form not in ("auto", "frontier", "lm-eval", "otel"):
            raise DataError(f"is no log of the form {form}", path=str(path), code="unknown_format")
        source = _read_lines(path, notes)
    for note in notes:
        on_note(note)
    for what, count in sorted(source.dropped.items()):
        on_note(f"{source.name}: {count} {what}" if not what.endswith(":") else f"{source.name}: {what} {count}")
    return source


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in RUN_FILES:
        if (path / name).is_file():
            return path / name
    logs = [file for pattern in LOG_PATTERNS for file in sorted(path.glob(pattern))]
    if len(logs) == 1:
        return logs[0]
    if len(logs) > 1:
        names = ", ".join(file.name for file in logs[:5])
        raise UsageError(f"{path}: holds several logs ({names})", hint="name the files themselves")
    if mlflow.is_store(path):
        return path
    raise UsageError(f"{path}: is no run's folder", hint=f"it holds none of: {', '.join((*RUN_FILES, *LOG_PATTERNS))}")


def _read_foreign(path: Path, form: str) -> Source | None:
    """Reads a log of another tool, told by its content or named; None for lines of JSON, ours among them."""
    if path.is_dir():
        source = Source(str(path), _folder_digest(path))
        mlflow.read_folder(path, source)
        return source
    if path.suffix in (".gz", ".zst") or not path.is_file() or form == "frontier":
        return None
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    source = Source(str(path), sha256_file(path))
    by_bytes: dict[str, tuple[bool, Callable[[Path, Source], None]]] = {
        "tensorboard": (tensorboard.matches(path, head), tensorboard.read),
        "wandb": (wandb.matches(path, head), wandb.read),
        "inspect": (inspect_log.matches_file(path, head), inspect_log.read_file),
        "mlflow": (mlflow.matches(path, head), mlflow.read),
        "prometheus": (form == "prometheus" or serving.is_metrics(head), serving.read_metrics),
    }
    for name, (is_it, read) in by_bytes.items():
        if form in ("auto", name) and is_it:
            read(path, source)
            return source
    document = _json_document(path, head)
    by_keys: dict[str, tuple[Callable[[Record], bool], Callable[[Record, Source], None]]] = {
        "trainer-state": (trainer_state.matches, trainer_state.read),
        "inspect": (inspect_log.matches, inspect_log.read),
        "lm-eval": (lm_eval.matches, lm_eval.read),
        "otel": (serving.is_spans, serving.add_spans),
    }
    for name, (is_its, read_document) in by_keys.items():
        if document is not None and form in ("auto", name) and is_its(document):
            read_document(document, source)
            return source
    return None


def _folder_digest(path: Path) -> str:
    digest = sha256()
    for file in mlflow.metric_files(path):
        digest.update(f"{file.relative_to(path)} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def _json_document(path: Path, head: bytes) -> Record | None:
    """Gives the content of a file that is one JSON object, printed in one line or many; None for JSON Lines."""
    text = head.lstrip()
    first, _, rest = text.partition(b"\n")
    if not text.startswith(b"{") or (len(first) > 1 and first.rstrip().endswith(b"}") and rest.strip()):
        return None  # no object, or one that ends with its line and is followed by more
    try:
        document = json.loads(path.read_bytes())  # the standard parser reads the bare NaN that trainers write
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _read_lines(path: Path | str, notes: list[str]) -> Source:
    """Reads a file of lines; the digest of a pipe is taken over its lines as they pass."""
    is_pipe = str(path) == "-"
    running = sha256()
    source = Source(STDIN_NAME if is_pipe else str(path), "" if is_pipe else _digest(Path(path)))
    size = 0 if is_pipe or not Path(path).is_file() else Path(path).stat().st_size
    if size and Path(path).suffix not in (".gz", ".zst") and _read_bulk(Path(path), size, source, notes):
        return source
    for row in read_rows(path, notes=notes):
        if is_pipe:
            running.update(row.raw + b"\n")
        _add_checked(row, source, notes)
    if is_pipe:
        source.digest = running.hexdigest()
        source.sums = {(k, r, n, d or source.digest): sums for (k, r, n, d), sums in source.sums.items()}
    return source


def _read_bulk(path: Path, size: int, source: Source, notes: list[str]) -> bool:
    """Reads a file of ordinary telemetry lines fast; False when it is none."""
    with path.open("rb") as file:
        file.seek(size - 1)
        ends_in_newline = file.read(1) == b"\n"

    def careful(line: bytes, number: int) -> None:
        is_torn = not ends_in_newline and number == last[0]
        _add_checked(parse_line(line, path=str(path), number=number, is_torn=is_torn), source, notes)

    last = [0 if ends_in_newline else _num_lines(path)]
    return read_bulk(path, source, careful)


def _num_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1


def _add_checked(row: Row, source: Source, notes: list[str]) -> None:
    """Adds a row; one that was cut off at the end of the file is dropped and said, any other that is broken raises."""
    repaired = row if row.problem is None else _repair(row)
    if repaired is None:
        assert row.problem is not None
        if row.problem.code != "truncated_line":
            raise row.problem
        notes.append(f"{row.path}:{row.number}: the last line is cut off; dropped, the lines before it are read")
        return
    _add_row(repaired, source)


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


def _add_row(row: Row, source: Source) -> None:
    record = row.record
    if record.get("kind") == "eval_item":
        _add_eval_item(row, source)
    elif serving.is_request(record):
        serving.add_request(record, source)
    elif serving.is_spans(record):
        serving.add_spans(record, source)
    elif lm_eval.matches_line(record):
        lm_eval.add_line(record, source)
    elif "metric" in record and "tag" in record:
        if not all(isfinite(record[k]) for k in ("sum", "sum_sq") if isinstance(record.get(k), float)):
            source.dropped["lines with a sum that is no finite number dropped"] += 1
            return
        line = _telemetry_line(row)
        origin = (line.source or source.name, line.source_sha256) if line.source_sha256 else None
        source.add(line.key, line.stats, line.round, origin)
    else:
        hint = (
            f"known: run events, telemetry lines, evaluation items, request logs, and logs of {', '.join(FORMATS[2:])}"
        )
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


def _add_eval_item(row: Row, source: Source) -> None:
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
        message = record.get("message")
        spare = pattern_of(message) if isinstance(message, str) and message else "wrong_answer"
        metric = f"{ERROR_PREFIX}{_text(row, 'code', spare) or spare}"
        source.add(Key(run_id, step, step, tag, metric), TagStats(n=1, total=1.0, total_sq=1.0), round_number)
    for metric, flag in _conduct(record):
        counts = TagStats(n=1, total=float(flag), total_sq=float(flag), successes=int(flag), trials=1)
        source.add(Key(run_id, step, step, tag, metric), counts, round_number)
    calls = record.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and isinstance(call.get("ok"), bool) and isinstance(call.get("name"), str):
            for name in (tag, f"tool={call['name']}"):
                ok = call["ok"]
                counts = TagStats(n=1, total=float(ok), total_sq=float(ok), successes=int(ok), trials=1)
                source.add(Key(run_id, step, step, name, "tool_success"), counts, round_number)


def _conduct(record: Record) -> Iterator[tuple[str, bool]]:
    """Yields what an answer did to safety: by the labels `refused` and `violation`, else by rules.

    An item labelled `should_refuse` is violated by an answer that is no refusal; on any other a refusal is needless.
    """
    refused, violation, answer = record.get("refused"), record.get("violation"), record.get("answer")
    if not isinstance(refused, bool):
        refused = is_refusal(answer) if isinstance(answer, str) else None
    should = record.get("should_refuse") is True
    if isinstance(violation, bool):
        yield "safety_violation", violation
    elif should and refused is not None:
        yield "safety_violation", not refused
    if refused is not None and not should:
        yield "refusal", refused
