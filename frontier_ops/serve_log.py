"""What a server tells of its requests: a JSON line each, without any text, and counters for Prometheus.

The lines are what `frontier telemetry ingest` reads. No HTTP here.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from frontier_core.jsonl import dumps
from frontier_core.records import Record

CLIENT_GONE = 499
"""Status in the request log of a request whose client went away. Source: nginx's log convention."""

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the latency histograms, in seconds."""


class RequestLog:
    """Appends one JSON line per request: times, counts and outcome, never the text.

    A log that can't be written is said once and costs no answer.
    """

    def __init__(self, path: Path | None, on_note: Callable[[str], None]) -> None:
        self._on_note = on_note
        self._descriptor = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, entry: Record) -> None:
        """Appends one entry in a single write."""
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, dumps(entry) + b"\n")
        except OSError as error:
            self._on_note(f"the request log can't be written ({error.strerror}); going on without it")
            self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(slots=True)
class Visit:
    """What the log tells about one request, filled while it is answered."""

    request_id: str
    release: str
    started: float = field(default_factory=time.monotonic)
    status: int = CLIENT_GONE
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None
    first_token_s: float | None = None
    error: str | None = None

    def see(self, event: Record) -> None:
        """Takes note of an event of the worker."""
        if event["event"] == "text" and event["text"] and self.first_token_s is None:
            self.first_token_s = round(time.monotonic() - self.started, 4)
        elif event["event"] == "done":
            self.prompt_tokens, self.completion_tokens = event["prompt_tokens"], event["completion_tokens"]
            self.finish_reason = event["finish_reason"]

    def refuse(self, status: int, error: str) -> None:
        """Takes note of a refusal."""
        self.status, self.error = status, error

    def entry(self) -> Record:
        """Gives the log line."""
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": self.request_id,
            "release": self.release,
            "status": self.status,
            "stream": self.stream,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "first_token_s": self.first_token_s,
            "latency_s": round(time.monotonic() - self.started, 4),
            "finish_reason": self.finish_reason,
            "error": self.error,
        }


class Histogram:
    """Counts of values at or below each bound, their sum and number."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Takes one value, in seconds."""
        self._counts[bisect_left(BUCKETS_S, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Gives the histogram in the text format."""
        lines, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*BUCKETS_S, "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class Metrics:
    """Counters of a server since it started. Source: the Prometheus text exposition format, version 0.0.4."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[int, str]] = Counter()
        self._tokens: Counter[str] = Counter()
        self._latency = Histogram()
        self._first_token = Histogram()

    def count(self, entry: Record) -> None:
        """Takes a finished request's log line."""
        self._requests[int(entry["status"]), str(entry["release"])] += 1
        self._tokens["prompt"] += entry["prompt_tokens"]
        self._tokens["completion"] += entry["completion_tokens"]
        self._latency.add(entry["latency_s"])
        if entry["first_token_s"] is not None:
            self._first_token.add(entry["first_token_s"])

    def text(self, gauges: Record) -> str:
        """Gives the page: the counters, then what is true right now (name -> number)."""
        lines = ["# TYPE frontier_requests_total counter"]
        lines += [
            f'frontier_requests_total{{status="{status}",release="{release}"}} {count}'
            for (status, release), count in sorted(self._requests.items())
        ]
        lines.append("# TYPE frontier_tokens_total counter")
        lines += [f'frontier_tokens_total{{kind="{kind}"}} {self._tokens[kind]}' for kind in ("prompt", "completion")]
        lines += self._latency.lines("frontier_request_latency_seconds")
        lines += self._first_token.lines("frontier_time_to_first_token_seconds")
        for name, value in gauges.items():
            kind = "counter" if name.partition("{")[0].endswith("_total") else "gauge"
            lines += [f"# TYPE {name.partition('{')[0]} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
