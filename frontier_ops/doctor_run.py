"""A run's verdict: how far what it did may be trusted, from what it left on disk.

strain = loss - floor; effort = the sum of strain over steps; experience = effort x quality_factor. A critical check
that fails makes the factor 0; other failures and warnings take from it. Loads no model.
Source: the seed's Temple, Blessing.from_ceremony.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import DataError, FrontierError, UsageError
from frontier_core.events import TelemetryLine
from frontier_core.jsonl import read_rows
from frontier_core.lineage import digest_of, read_sidecar
from frontier_core.records import Record
from trainer.checkpoints import damage, folders

CRITICAL = ("forge", "oracle", "champion")
MAX_DROPPED_SHARE = 0.1
EVENTS, RESULT = "events.jsonl", "result.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding: `status` is ok, warn, fail or skip; `remedy` is what to do about a warning or failure."""

    id: str
    group: str
    status: str
    details: str
    remedy: str = ""

    def to_record(self) -> Record:
        """Gives the finding as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run is worth. `verdict` is blessed, partial or cursed; `reasons` are the failures, then the warnings."""

    run: str
    verdict: str
    quality_factor: float
    effort: float
    experience: float
    floor: float
    num_steps: int
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    def to_record(self) -> Record:
        """Gives the verdict as a JSON object."""
        return asdict(self)


def quality_of(checks: Iterable[Check]) -> float:
    """Gives the quality factor of findings.

    0 when a critical group fails; else n failures give max(0.3, 1 - 0.3 n); else n warnings give max(0.7, 1 - 0.1 n).
    Skipped checks say nothing.
    """
    seen = list(checks)
    failed = [check for check in seen if check.status == "fail"]
    if any(check.group in CRITICAL for check in failed):
        return 0.0
    if failed:
        return round(max(0.3, 1 - 0.3 * len(failed)), 2)
    num_warnings = sum(check.status == "warn" for check in seen)
    return round(max(0.7, 1 - 0.1 * num_warnings), 2)


def word_for(quality_factor: float) -> str:
    """Gives the word for a quality factor."""
    return "cursed" if quality_factor == 0 else "blessed" if quality_factor >= 0.8 else "partial"


def run_verdict(run: Path, *, floor: float | None = None, more: Sequence[Check] = ()) -> Verdict:
    """Judges a run by its checkpoints, its result, its telemetry and its sidecar.

    Args:
        run: the folder given to `frontier train -o`.
        floor: the loss below which no strain is; None is the lowest loss of a logging window of this run.
        more: further findings that count (a served model's, a GPU's).
    Raises:
        UsageError: there is no such folder, or it holds no run.
    """
    if not run.is_dir():
        raise UsageError(f"{run}: no such run folder", hint="name the folder given to: frontier train -o")
    if not (run / "config.resolved.json").is_file():
        raise UsageError(f"{run}: holds no run (no config.resolved.json)", hint="frontier train -o RUN")
    windows, notes = _windows(run / EVENTS)
    checks = [
        *_champion(run),
        *_telemetry(windows, notes),
        _sidecar(run),
        *more,
    ]
    lowest = min((loss for _, loss in windows), default=0.0)
    base = lowest if floor is None else floor
    effort = sum(max(0.0, loss - base) * steps for steps, loss in windows if isfinite(loss))
    quality = quality_of(checks)
    order = {"fail": 0, "warn": 1}
    bad = sorted((check for check in checks if check.status in order), key=lambda check: order[check.status])
    return Verdict(
        run=str(run),
        verdict=word_for(quality),
        quality_factor=quality,
        effort=round(effort, 4),
        experience=round(effort * quality, 4),
        floor=round(base, 6),
        num_steps=sum(steps for steps, _ in windows),
        reasons=tuple(f"{check.id}: {check.details}" for check in bad),
        checks=tuple(checks),
    )


def _champion(run: Path) -> list[Check]:
    found = folders(run)
    problem = damage(found[0]) if found else "is missing: nothing was saved"
    checks = [
        Check(
            id="newest_checkpoint", group="champion", status="fail" if problem else "ok",
            details=f"the newest checkpoint {problem}" if problem else f"{found[0].name} is whole",
            remedy="frontier train again resumes from the newest whole one" if problem else "",
        )
    ]  # fmt: skip
    result = _json(run / RESULT)
    if result is None:
        details, status = "the run has not finished (no result.json)", "warn"
    elif not result.get("success"):
        details, status = f"the run failed: {result.get('error_message') or 'stopped'}", "fail"
    else:
        details, status = f"finished at step {result.get('global_step')}", "ok"
    remedy = "" if status == "ok" else "frontier train again resumes it"
    checks.append(Check(id="result", group="champion", status=status, details=details, remedy=remedy))
    summary = (result or {}).get("summary") or {}
    dropped, kept = int(summary.get("num_dropped_too_long") or 0), int(summary.get("num_examples") or 0)
    share = dropped / max(1, dropped + kept)
    checks.append(
        Check(
            id="examples_kept", group="scribe", status="warn" if share > MAX_DROPPED_SHARE else "ok",
            details=f"{dropped} of {dropped + kept} examples were too long and dropped",
            remedy="raise max_length_tokens" if share > MAX_DROPPED_SHARE else "",
        )
    )  # fmt: skip
    return checks


def _telemetry(windows: list[tuple[int, float]], notes: list[str]) -> list[Check]:
    if not windows:
        return [
            Check(
                id="telemetry", group="scribe", status="warn", details="no loss was logged", remedy="keep events.jsonl"
            )
        ]  # fmt: skip
    first, last = windows[0][1], windows[-1][1]
    is_finite = all(isfinite(loss) for _, loss in windows)
    fell = is_finite and (len(windows) == 1 or last < first)
    status = "fail" if not is_finite else "ok" if fell else "warn"
    checks = [
        Check(
            id="loss", group="champion" if not is_finite else "scribe", status=status,
            details=f"the loss went from {first:.4g} to {last:.4g}",
            remedy="" if status == "ok" else "lower learning_rate, or look at the data",
        )
    ]  # fmt: skip
    if notes:
        remedy = "a power loss tears a last line; the rest counts"
        checks.append(Check(id="telemetry", group="scribe", status="warn", details=notes[0], remedy=remedy))
    return checks


def _windows(path: Path) -> tuple[list[tuple[int, float]], list[str]]:
    """Gives (steps, mean loss) of each logging window over all tags, in order."""
    windows: list[tuple[int, float]] = []
    notes: list[str] = []
    if not path.exists() or not path.stat().st_size:
        return windows, notes
    try:
        for row in read_rows(path):
            if row.problem is not None:
                notes.append(row.problem.message)
                continue
            line = TelemetryLine.from_record(row.record)
            if line.key.tag == "all" and line.key.metric == "loss" and line.stats.n:
                windows.append((line.key.step_to - line.key.step_from, line.stats.total / line.stats.n))
    except (DataError, KeyError, ValueError, TypeError) as error:
        notes.append(f"{path}: can't be read on: {error}")
    return windows, notes


def _sidecar(run: Path) -> Check:
    try:
        meta = read_sidecar(run)
    except FrontierError as error:
        return Check(id="lineage", group="scribe", status="warn", details=error.message, remedy="frontier train again")
    if meta is None:
        details = "the run has no sidecar: what it was made from is not known"
        return Check(id="lineage", group="scribe", status="warn", details=details, remedy="frontier train writes it")
    if meta["data"].get("sha256") != digest_of(run):
        details = "the run's folder was changed after its sidecar was written"
        return Check(id="lineage", group="scribe", status="warn", details=details, remedy="frontier lineage show RUN")
    return Check(id="lineage", group="scribe", status="ok", details="the sidecar vouches for the folder")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
