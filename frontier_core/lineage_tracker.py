"""Which generator's records fail, and at which validator: pass and fail rates over everything that was judged.

`status/data_lineage.json` holds the last result of every judged file, so that judging a file again counts once, and the
sums over all of them. Writers take turns by a lock beside the file and replace it whole, so it can be read at any time.
Source: the system architecture's data lineage section (totals, fail rate, top reasons, offenders above 5 %).
LIMIT: about 300 bytes a judged file and generator; results of pipes, which have no sidecar, are not counted.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import write_bytes
from frontier_core.errors import DataError
from frontier_core.lineage import meta_digest

SCHEMA = "data_lineage_v1"
TRACKER = Path("status/data_lineage.json")
WORST_RATE = 0.05
TOP_REASONS = 5

Run = dict[str, Any]


@dataclass(slots=True)
class Score:
    """What became of one generator's or one validator's records."""

    passed: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Records judged."""
        return self.passed + self.failed

    @property
    def fail_rate(self) -> float:
        """Share of failed ones; 0.0 when none was judged."""
        return self.failed / self.total if self.total else 0.0

    def add(self, entry: Run) -> None:
        """Adds one file's counts."""
        self.passed += entry["passed"]
        self.failed += entry["failed"]
        self.reasons.update(entry["reasons"])

    def plain(self) -> Run:
        """Gives the counts as JSON."""
        return {
            "total": self.total, "passed": self.passed, "failed": self.failed, "fail_rate": round(self.fail_rate, 6),
            "top_reasons": dict(self.reasons.most_common(TOP_REASONS)),
        }  # fmt: skip


def run_of(meta: dict[str, Any]) -> Run | None:
    """Gives what the tracker keeps of a sidecar, None when its stage judged nothing."""
    if "generators" not in meta or not meta["generators"]:
        return None
    return {
        "validator": meta["producer"] or meta["stage"], "stage": meta["stage"], "meta_sha256": meta_digest(meta),
        "generators": meta["generators"],
    }  # fmt: skip


def summary_of(runs: Iterable[Run]) -> dict[str, Any]:
    """Gives the sums over runs: in all, per generator, per validator, and the worst offenders, worst first."""
    whole, generators, validators = Score(), dict[str, Score](), dict[str, Score]()
    for run in runs:
        for name, entry in run["generators"].items():
            for score in (
                whole,
                generators.setdefault(name, Score()),
                validators.setdefault(run["validator"], Score()),
            ):
                score.add(entry)
    worst = [
        {"kind": kind, "name": name, **score.plain()}
        for kind, scores in (("generator", generators), ("validator", validators))
        for name, score in scores.items()
        if score.fail_rate > WORST_RATE
    ]
    return {
        "summary": whole.plain(),
        "generators": {name: generators[name].plain() for name in sorted(generators)},
        "validators": {name: validators[name].plain() for name in sorted(validators)},
        "worst": sorted(worst, key=lambda entry: (-entry["fail_rate"], entry["name"])),
    }


def read_tracker(path: Path = TRACKER) -> dict[str, Any]:
    """Gives what the tracker holds; an empty one when there is no file.

    Raises:
        DataError: the file is not one of a tracker.
    """
    if not path.exists():
        return {"schema": SCHEMA, **summary_of(()), "runs": {}}
    try:
        document = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise DataError("the tracker is not valid JSON", path=str(path), code="tracker", hint="remove it") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise DataError(f"the tracker is not of schema {SCHEMA}", path=str(path), code="tracker", hint="remove it")
    return document


def track(runs: dict[str, Run], path: Path = TRACKER) -> dict[str, Any]:
    """Puts the results of judged files into the tracker and gives what it then holds.

    Args:
        runs: by the path of the judged file; an earlier result of the same file is replaced.
        path: the tracker's file; its folder is made when absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _turn(path):
        document = read_tracker(path)
        known = {**document["runs"], **runs}
        if known == document["runs"] and path.exists():
            return document
        now = datetime.now(UTC).isoformat(timespec="seconds")
        document = {"schema": SCHEMA, "updated_at": now, **summary_of(known.values()), "runs": known}
        write_bytes(path, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return document


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Waits for the lock beside a file; other writers wait meanwhile."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
