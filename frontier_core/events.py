"""Telemetry lines: what every step of training and evaluation reports, and how lines add up.

One JSON line per (run, step range, tag, metric) with additive sums (schema `telemetry_v1`), so lines from restarts,
ranks and files merge in any order and intervals can be computed later. Reading foreign formats is curriculum/ingest.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from frontier_core.jsonl import dumps
from frontier_core.records import Record, TagStats


class Key(NamedTuple):
    """What a telemetry line is about."""

    run_id: str
    step_from: int
    step_to: int
    tag: str
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryLine:
    """One telemetry line: its key, its sums, and where it was read."""

    key: Key
    stats: TagStats
    source: str = ""
    source_sha256: str = ""
    round: int | None = None

    def to_record(self) -> Record:
        """Gives the line as a JSON object of schema telemetry_v1; empty optional fields are left out."""
        record: dict[str, Any] = {**self.key._asdict(), "n": self.stats.n}
        if self.stats.n:
            record |= {"sum": self.stats.total, "sum_sq": self.stats.total_sq}
        if self.stats.tokens:
            record["tokens"] = self.stats.tokens
        if self.stats.trials:
            record |= {"successes": self.stats.successes, "trials": self.stats.trials}
        if self.round is not None:
            record["round"] = self.round
        if self.source:
            record["source"] = self.source
        if self.source_sha256:
            record["source_sha256"] = self.source_sha256
        return record

    @staticmethod
    def from_record(record: Record) -> TelemetryLine:
        """Reads a line of schema telemetry_v1; raises KeyError or ValueError when it is none."""
        key = Key(
            run_id=str(record["run_id"]),
            step_from=int(record["step_from"]),
            step_to=int(record["step_to"]),
            tag=str(record["tag"]),
            metric=str(record["metric"]),
        )
        stats = TagStats(
            n=int(record["n"]),
            total=float(record.get("sum", 0.0)),
            total_sq=float(record.get("sum_sq", 0.0)),
            tokens=int(record.get("tokens", 0)),
            successes=int(record.get("successes", 0)),
            trials=int(record.get("trials", 0)),
        )
        return TelemetryLine(
            key=key,
            stats=stats,
            source=str(record.get("source", "")),
            source_sha256=str(record.get("source_sha256", "")),
            round=record.get("round"),
        )


class EventSink:
    """Appends telemetry lines to a run's `events.jsonl`, each batch in one write, durable on `close`.

    A line is on disk or not there at all, except after a power loss, when the last one may be torn: readers stop there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, lines: Iterable[TelemetryLine]) -> None:
        """Appends lines in one write call."""
        data = b"".join(dumps(line.to_record()) + b"\n" for line in lines)
        if data:
            os.write(self._descriptor, data)

    def close(self) -> None:
        """Makes everything durable and closes the file."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)
