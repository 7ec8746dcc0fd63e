"""Inspect (inspect_ai) evaluation logs: `.eval`, a zip of JSON files, and `.json`.

A task is a skill. Each sample's first score is a trial of its accuracy where it is right or wrong; other scores are
values. Tool calls are trials of `tool_success`, their errors are counted by kind.
Source: inspect_ai, log file viewer and `EvalLog`; scores as `value_to_float` reads them.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curriculum.cells import ERROR_PREFIX
from curriculum.readers.source import ACCURACY, Source, is_finite
from frontier_core.errors import DataError
from frontier_core.events import Key
from frontier_core.records import TagStats, tag_of

ZIP = b"PK\x03\x04"
LOCAL_BYTES = 30
ZSTANDARD = 93
LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Correct, partial, incorrect, no answer."""


def matches(document: dict[str, Any]) -> bool:
    """Says whether a JSON document is a log."""
    return isinstance(document.get("eval"), dict) and "task" in document["eval"]


def matches_file(path: Path, head: bytes) -> bool:
    """Says whether a file is a zipped log."""
    return path.suffix == ".eval" and head.startswith(ZIP[:2])


def read(document: dict[str, Any], source: Source) -> None:
    """Adds a log's samples; its totals when it holds none."""
    run_id, tag = _about(document)
    samples = document.get("samples") or []
    for sample in samples:
        _add_sample(sample, run_id, tag, source)
    if not samples:
        _add_totals(document.get("results") or {}, run_id, tag, source)


def read_file(path: Path, source: Source) -> None:
    """Adds a zipped log; one whose end is missing (the run was killed) is read from what was written."""
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: _Member(info.header_offset, info.compress_size) for info in archive.infolist()}
    except zipfile.BadZipFile:
        source.drop("the log's end is missing, its whole samples are read; logs cut off:")
        members = dict(_chain(data))
    head = next((name for name in ("header.json", "_journal/start.json") if name in members), "")
    try:
        document = _json(_unpacked(data, members[head])) if head else {}
        run_id, tag = _about(document) if head else (f"inspect-{source.digest[:12]}", tag_of({"skill": path.stem}))
        samples = sorted(name for name in members if name.startswith("samples/"))
        for name in samples:
            _add_sample(_json(_unpacked(data, members[name])), run_id, tag, source)
    except ValueError as error:
        raise DataError(f"a member can't be read: {error}", path=str(path), code="inspect") from error
    if not samples:
        _add_totals(document.get("results") or {}, run_id, tag, source)


def _json(data: bytes) -> dict[str, Any]:
    document = json.loads(data)
    return document if isinstance(document, dict) else {}


class _Member(NamedTuple):
    """Where a member's local header stands, and how many bytes its packed content has."""

    at: int
    size: int


def _chain(data: bytes) -> Iterator[tuple[str, _Member]]:
    """Yields the whole members of a zip without its directory, one local header after the other.

    Source: PKWARE, APPNOTE.TXT, 4.3.7.
    """
    at = 0
    while data[at : at + 4] == ZIP and at + LOCAL_BYTES <= len(data):
        size = int.from_bytes(data[at + 18 : at + 22], "little")
        name_size = int.from_bytes(data[at + 26 : at + 28], "little")
        end = at + LOCAL_BYTES + name_size + int.from_bytes(data[at + 28 : at + 30], "little") + size
        if size == 0 or end > len(data):
            return
        name = data[at + LOCAL_BYTES : at + LOCAL_BYTES + name_size].decode("utf-8", "replace")
        yield name, _Member(at, size)
        at = end


def _unpacked(data: bytes, member: _Member) -> bytes:
    """Gives a member's content. Inspect packs with Zstandard, which Python's zipfile learned in 3.14 only.

    Raises:
        ValueError: it is damaged, or packed in another way.
    """
    at, size = member
    method = int.from_bytes(data[at + 8 : at + 10], "little")
    extra = int.from_bytes(data[at + 26 : at + 28], "little") + int.from_bytes(data[at + 28 : at + 30], "little")
    packed = data[at + LOCAL_BYTES + extra : at + LOCAL_BYTES + extra + size]
    if method == zipfile.ZIP_STORED:
        return packed
    try:
        if method == zipfile.ZIP_DEFLATED:
            return zlib.decompress(packed, -15)
        if method == ZSTANDARD:
            import zstandard

            return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    except Exception as error:  # each library has its own
        raise ValueError(str(error)) from error
    raise ValueError(f"unknown compression method {method}")


def _about(document: dict[str, Any]) -> tuple[str, str]:
    about = document.get("eval") or {}
    run_id = str(about.get("eval_id") or about.get("run_id") or about.get("task_id") or "inspect")
    return run_id, tag_of({"skill": str(about.get("task") or "unknown")})


def _add_sample(sample: dict[str, Any], run_id: str, tag: str, source: Source) -> None:
    for number, (name, score) in enumerate((sample.get("scores") or {}).items()):
        value = score.get("value") if isinstance(score, dict) else score
        value = LETTERS.get(value, value) if isinstance(value, str) else value
        if number == 0 and value in (0, 1):
            source.add_trials(run_id, 0, tag, ACCURACY, int(value), 1)
        elif is_finite(value) or isinstance(value, float):
            source.add_value(run_id, 0, tag, name, value)
        else:
            source.drop("scores that are no number not read")
    for message in sample.get("messages") or []:
        if isinstance(message, dict) and message.get("role") == "tool":
            error = message.get("error")
            source.add_trials(run_id, 0, tag, "tool_success", int(not error), 1)
            if isinstance(error, dict):
                _add_error(f"tool_{error.get('type') or 'unknown'}", run_id, tag, source)
    if sample.get("error"):
        _add_error("sample_error", run_id, tag, source)


def _add_error(kind: str, run_id: str, tag: str, source: Source) -> None:
    source.add(Key(run_id, 0, 0, tag, f"{ERROR_PREFIX}{kind}"), TagStats(n=1, total=1.0, total_sq=1.0))


def _add_totals(results: dict[str, Any], run_id: str, tag: str, source: Source) -> None:
    size = results.get("completed_samples") or 0
    for number, score in enumerate(results.get("scores") or []):
        for name, metric in (score.get("metrics") or {}).items():
            value = metric.get("value")
            if name == "accuracy" and number == 0 and size and is_finite(value) and 0 <= value <= 1:
                source.add_trials(run_id, 0, tag, ACCURACY, round(value * size), size)
            elif name != "stderr":
                source.add_value(run_id, 0, tag, f"{score.get('name', 'score')}_{name}", value)
