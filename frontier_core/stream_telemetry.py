"""`submit_telemetry`: what a training or evaluation loop pushes, as telemetry lines that `frontier reweight` reads.

Each call appends whole lines to one file in a single write, so loops in several processes may share it. What the lines
mean is frontier_core/events.py; reading the logs of other tools is `frontier telemetry ingest`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.events import EventSink, Key, TelemetryLine
from frontier_core.nearest import did_you_mean
from frontier_core.records import TagStats

WHOLE_RUN = "all"
"""The tag of a run's own metrics."""

_KEYS = ("run_id", "metrics", "tag_stats", "step", "step_from", "step_to", "round")
_SUMS = ("n", "sum", "sum_sq", "tokens", "successes", "trials")


def submit_telemetry(telemetry: Mapping[str, Any], *, path: str | Path | None = None) -> Path:
    """Appends a run's telemetry to a file of telemetry lines.

    Args:
        telemetry: `run_id` (a text), `metrics` (name -> number) of the whole run, and `tag_stats` (tag -> metric ->
            number or sums). A number is one value; sums are any of n, sum, sum_sq, tokens, successes, trials and add
            up over calls. Optional: `step`, or `step_from` and `step_to`, and `round`.
        path: the file; $FRONTIER_TELEMETRY, else ./telemetry.jsonl by default.
    Returns:
        The file.
    Raises:
        ConfigError: an unknown key, a missing run_id, or a value that is no finite number; nothing was written.
    Side effects: appends to the file, which is made when absent.
    """
    lines = _lines(telemetry)
    target = Path(path or os.environ.get("FRONTIER_TELEMETRY") or "telemetry.jsonl")
    sink = EventSink(target)
    try:
        sink.write(lines)
    finally:
        sink.close()
    return target


def _lines(telemetry: Mapping[str, Any]) -> list[TelemetryLine]:
    for key in telemetry:
        if key not in _KEYS:
            raise ConfigError(f"telemetry: unknown key {key!r}", hint=did_you_mean(str(key), _KEYS))
    run_id = telemetry.get("run_id")
    if not isinstance(run_id, str) or not run_id:
        raise ConfigError("telemetry: run_id must be a text that is not empty")
    step = _whole(telemetry, "step", 0)
    first, last = _whole(telemetry, "step_from", step), _whole(telemetry, "step_to", step)
    number = telemetry.get("round")
    found = []
    tags: dict[Any, Any] = {WHOLE_RUN: telemetry.get("metrics") or {}, **(telemetry.get("tag_stats") or {})}
    for tag, metrics in tags.items():
        if not isinstance(metrics, Mapping) or not tag or not isinstance(tag, str):
            raise ConfigError(f"telemetry: {tag!r} must be a tag with metrics by name")
        for metric, value in metrics.items():
            stats = _stats(value, f"telemetry: {tag} {metric}")
            about = Key(run_id, min(first, last), max(first, last), tag, str(metric))
            line_round = None if number is None else _whole(telemetry, "round", 0)
            found.append(TelemetryLine(key=about, stats=stats, source="submit_telemetry", round=line_round))
    return found


def _whole(telemetry: Mapping[str, Any], key: str, default: int) -> int:
    value = telemetry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"telemetry: {key} must be a whole number from 0")
    return value


def _stats(value: Any, where: str) -> TagStats:
    if isinstance(value, Mapping):
        for key in value:
            if key not in _SUMS:
                raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(str(key), _SUMS))
        sums = {key: _number(item, f"{where} {key}") for key, item in value.items()}
        return TagStats(
            n=int(sums.get("n", sums.get("trials", 0))),
            total=sums.get("sum", 0.0),
            total_sq=sums.get("sum_sq", 0.0),
            tokens=int(sums.get("tokens", 0)),
            successes=int(sums.get("successes", 0)),
            trials=int(sums.get("trials", 0)),
        )
    number = _number(value, where)
    return TagStats(n=1, total=number, total_sq=number * number)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise ConfigError(f"{where}: {value!r} is no finite number")
    return float(value)
