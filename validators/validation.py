"""`frontier validate`: the schema gate, then the content gate, over every line of a file.

Each line gets one judgement; nothing stops at the first bad one. The caller writes accepted lines, rejects and report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from frontier_core.errors import place
from frontier_core.jsonl import Row, dumps, read_rows
from frontier_core.lineage import Tally, mark
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from frontier_core.rejects import reject_record
from validators import content_gate, schema_gate
from validators.base import Finding, Verdict, problem_findings
from validators.content_gate import ContentGate, LevelName
from validators.schema_gate import SchemaGate

MAX_REPORTED = 100
"""Findings listed in the report; all of them are counted."""


class Judged(NamedTuple):
    """One line with the spec it was held against and the verdict of both gates."""

    row: Row
    spec: str
    verdict: Verdict

    def accepted_line(self, level: LevelName) -> bytes:
        """Gives the line to pass on, with the gates' mark in its lineage.

        A line that our own serialiser would write differently (1e5, escapes) is passed on byte for byte, unmarked:
        values of foreign data are not touched; the sidecar still counts it.
        """
        if dumps(self.row.record) != self.row.raw:
            return self.row.raw
        return dumps(mark(self.row.record, mark_of(level)))

    def rejected(self) -> Record:
        """Gives the line for the rejects file."""
        first = next(finding for finding in self.verdict.findings if finding.severity == "error")
        others = [finding.code for finding in self.verdict.findings if finding is not first]
        return reject_record(
            self.row.raw, path=self.row.path, line=self.row.number, code=first.code, message=first.message,
            pointer=first.pointer, remedy=first.remedy, other_codes=others,
        )  # fmt: skip

    def complaint(self) -> str:
        """Gives the one-line message of a rejected line: place, reason, remedy."""
        first = next(finding for finding in self.verdict.findings if finding.severity == "error")
        remedy = f" ({first.remedy})" if first.remedy else ""
        return f"{place(self.row.path, self.row.number, first.pointer)}{first.message} [{first.code}]{remedy}"


def mark_of(level: LevelName) -> str:
    """Gives what the gates note in a record's lineage."""
    return f"validate:{content_gate.VALIDATOR_NAME}@{content_gate.VALIDATOR_VERSION}/{level}"


@dataclass(slots=True)
class Validation:
    """One run of both gates over one source; iterate `judge`, then read the counts.

    Args:
        level: depth of the content gate.
        spec: "auto" or a spec id.
        profile: the profile assistant turns must keep.
    """

    level: LevelName
    spec: str
    profile: ProfileName
    num_records: int = 0
    tally: Tally = field(default_factory=Tally)
    warnings: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    whole_file: list[Finding] = field(default_factory=list)

    def judge(self, source: str | Path, *, notes: list[str] | None = None) -> Iterator[Judged]:
        """Yields every line with its verdict, in order; only an unreadable file as a whole raises (DataError)."""
        schema, content = SchemaGate(self.spec), ContentGate(self.level, self.profile)
        for row in read_rows(source, notes=notes):
            self.num_records += 1
            judged = self._judge(row, schema, content)
            self._count(judged)
            yield judged
        self.whole_file = content.whole_file()

    def report(self, source: str | Path) -> dict[str, Any]:
        """Gives the machine report (`--json`): counts by code, the first findings, counts per tag."""
        return {
            "schema": "validation_report_v1",
            "source": str(source),
            "level": self.level,
            "spec": self.spec,
            "profile": self.profile,
            "validators": {
                schema_gate.VALIDATOR_NAME: schema_gate.VALIDATOR_VERSION,
                content_gate.VALIDATOR_NAME: content_gate.VALIDATOR_VERSION,
            },
            "num_records": self.num_records,
            "num_accepted": self.num_records - self.tally.num_rejected,
            "num_rejected": self.tally.num_rejected,
            "rejects": dict(self.tally.rejects.most_common()),
            "warnings": dict(self.warnings.most_common()),
            "specs": dict(sorted(self.tally.specs.items())),
            "tags": dict(sorted(self.tally.tags.items())),
            "findings": self.findings,
            "file_findings": [_plain(finding) for finding in self.whole_file],
        }

    def _judge(self, row: Row, schema: SchemaGate, content: ContentGate) -> Judged:
        if row.problem is not None:
            return Judged(row, "", Verdict(findings=problem_findings(row.problem)))
        spec, findings = schema.check(row.record)
        if not findings:
            findings = tuple(content.check(row.record, spec, row.number))
        return Judged(row, spec, Verdict(findings=findings))

    def _count(self, judged: Judged) -> None:
        for finding in judged.verdict.findings:
            if finding.severity == "warning":
                self.warnings[finding.code] += 1
            if len(self.findings) < MAX_REPORTED:
                self.findings.append({"line": judged.row.number, **_plain(finding)})
        if judged.verdict.ok:
            self.tally.add(judged.row.record)
            self.tally.specs[judged.spec] += 1
        else:
            self.tally.reject(judged.verdict.code)


def _plain(finding: Finding) -> dict[str, str]:
    entries = {
        "code": finding.code,
        "severity": finding.severity,
        "pointer": finding.pointer,
        "message": finding.message,
        "remedy": finding.remedy,
    }
    return {key: value for key, value in entries.items() if value}
