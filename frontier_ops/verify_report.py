"""What `synth verify` tells: the line of a verdicts file, what a rejects file keeps, and the summary of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from frontier_core.jsonl import Row
from frontier_core.records import Record, metadata_of
from validators.base import Verdict
from validators.sandbox.contract import Json

NOT_JUDGED = "sandbox_error"
"""The code of a verdict that is none: the sandbox failed, the plan was not judged."""
_MEASURED = ("wall_s", "cpu_s", "max_rss_bytes")
"""What differs from run to run; a rejects file leaves it out, so that the same input gives the same bytes."""
_HOW = ("image", "limits")
"""The same for every line of a run: in the sidecar, and in each line of a verdicts file, not among the rejects."""


def verdict_line(row: Row, record: Record, verdict: Verdict, key: str, origin: str) -> Record:
    """Gives a line of a verdicts file (schema verdict_v1): place, verdict, and all that was measured.

    Args:
        row: the line as it was read.
        record: the record that was judged.
        verdict: on it.
        key: what a journal or cache knows the verdict by; "" when no sandbox was needed.
        origin: run, remembered or computed.
    """
    metadata = metadata_of(record)
    about = {name: metadata[name] for name in ("skill", "domain") if isinstance(metadata.get(name), str)}
    return {
        "path": row.path,
        "line": row.number,
        **about,
        "accepted": verdict.ok,
        "code": verdict.code,
        "origin": origin,
        "key": key,
        "findings": [asdict(finding) for finding in verdict.findings],
        **verdict.details,
    }


def reject_details(verdict: Verdict) -> Json:
    """Gives what a rejects file keeps of a verdict's details: what happened, without how long it took."""
    details = {key: value for key, value in verdict.details.items() if key not in (*_MEASURED, *_HOW)}
    if "steps" in details:
        details["steps"] = [
            {key: value for key, value in step.items() if key not in _MEASURED} for step in details["steps"]
        ]
    return details


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a run counts while verdicts pass, in all and per domain (or skill, for records without one)."""

    codes: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Counter[str]] = field(default_factory=dict)
    cpu_s: float = 0.0

    @property
    def num_in(self) -> int:
        """Lines judged."""
        return self.codes.total()

    @property
    def num_remembered(self) -> int:
        """Verdicts taken over from a journal or a cache."""
        return self.origins["remembered"]

    def add(self, record: Record, verdict: Verdict, origin: str) -> None:
        """Counts one verdict."""
        metadata = metadata_of(record)
        group = str(metadata.get("domain") or metadata.get("skill") or "unknown")
        self.codes[verdict.code] += 1
        self.origins[origin] += 1
        self.groups.setdefault(group, Counter())[verdict.code] += 1
        self.warnings.update({found.code for found in verdict.findings if found.severity == "warning"})
        if origin == "run":
            self.cpu_s += verdict.details.get("cpu_s", 0.0)

    def report(self, sandbox: Json, *, workers: int, wall_s: float) -> dict[str, Any]:
        """Gives the summary.

        Args:
            sandbox: what the sandbox says of itself, {} when none was needed.
            workers: plans run at once.
            wall_s: time of the whole run; the rate is plans run (not remembered) per second of it.
        """
        run = self.origins["run"]
        return {
            "num_in": self.num_in,
            **_split(self.codes),
            "warnings": dict(sorted(self.warnings.items())),
            "groups": {name: _split(codes) for name, codes in sorted(self.groups.items())},
            "num_run": run,
            "num_remembered": self.num_remembered,
            "num_computed": self.origins["computed"],
            "wall_s": round(wall_s, 3),
            "plan_cpu_s": round(self.cpu_s, 3),
            "plans_per_s": round(run / wall_s, 2) if wall_s > 0 else 0.0,
            "workers": workers,
            "sandbox": sandbox,
        }


def _split(codes: Counter[str]) -> Json:
    rejects = {code: count for code, count in codes.most_common() if code not in ("ok", NOT_JUDGED)}
    return {
        "accepted": codes["ok"],
        "rejected": sum(rejects.values()),
        "not_judged": codes[NOT_JUDGED],
        "reasons": rejects,
    }
