"""`frontier validate`: the schema gate, then the content gate, over every line of a file.

Each line gets one judgement; nothing stops at the first bad one. The caller writes accepted lines, rejects and report.
A level with rules that answer only after the last line (validators/checks.py, `is_late`) reads its source twice: once
to judge, once to hand each line on with its verdict; a pipe is kept in a temporary file for that.
"""

from __future__ import annotations

import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from frontier_core.errors import DataError, place
from frontier_core.jsonl import STDIN_NAME, Row, dumps, open_input, read_rows
from frontier_core.lineage import Tally, generator_of, mark
from frontier_core.records import Record, metadata_of
from frontier_core.rejects import reject_record
from validators import content_gate, schema_gate
from validators.base import Finding, GateSettings, LevelName, Verdict, problem_findings
from validators.content_gate import ContentGate, waits_for_the_file
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
        settings: level, profile and what else the rules are made from.
        spec: "auto" or a spec id.
    """

    settings: GateSettings
    spec: str = "auto"
    num_records: int = 0
    tally: Tally = field(default_factory=Tally)
    warnings: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    whole_file: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def judge(self, source: str | Path, *, notes: list[str] | None = None) -> Iterator[Judged]:
        """Yields every line with its verdict, in order; only an unreadable file as a whole raises (DataError)."""
        schema, content = SchemaGate(self.spec), ContentGate(settings=self.settings)
        with ExitStack() as stack:
            if waits_for_the_file(self.settings.level):
                lines = self._late(source, schema, content, notes, stack)
            else:
                lines = (self._judge(row, schema, content) for row in read_rows(source, notes=notes))
            for judged in lines:
                self.num_records += 1
                self._count(judged)
                yield judged
        if not waits_for_the_file(self.settings.level):
            self.whole_file = content.finish().file
        self.facts = content.facts()

    def _late(
        self,
        source: str | Path,
        schema: SchemaGate,
        content: ContentGate,
        notes: list[str] | None,
        stack: ExitStack,
    ) -> Iterator[Judged]:
        """Yields every line in a second reading, when the whole file has been judged in a first one."""
        name = ""
        if str(source) == "-":
            source, name = _kept(source, stack), STDIN_NAME
        before = Path(source).stat()
        noticed: dict[int, tuple[Finding, ...]] = {}
        specs: list[str] = []
        held = array("B")
        for row in read_rows(source, notes=notes, name=name):
            judged = self._judge(row, schema, content)
            if judged.verdict.findings:
                noticed[row.number] = judged.verdict.findings
            if judged.spec not in specs:
                specs.append(judged.spec)
            held.append(specs.index(judged.spec))
        late = content.finish()
        self.whole_file = late.file
        after = Path(source).stat()
        if Path(source).is_file() and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise DataError("changed while it was being judged", path=str(source), code="changed", hint="run it again")
        for index, row in enumerate(read_rows(source, name=name)):
            findings = (*noticed.get(row.number, ()), *late.lines.get(row.number, ()))
            yield Judged(row, specs[held[index]], Verdict(findings=findings))

    def report(self, source: str | Path) -> dict[str, Any]:
        """Gives the machine report (`--json`): counts by code, the first findings, counts per tag."""
        return {
            "schema": "validation_report_v1",
            "source": str(source),
            "level": self.settings.level,
            "spec": self.spec,
            "profile": self.settings.profile,
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
            "facts": self.facts,
        }

    def _judge(self, row: Row, schema: SchemaGate, content: ContentGate) -> Judged:
        if row.problem is not None:
            return Judged(row, "", Verdict(findings=problem_findings(row.problem)))
        spec, findings = schema.check(row.record)
        if not findings:
            findings = tuple(content.check(row.record, spec, row.number, row.path))
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
            self.tally.reject(judged.verdict.code, generator_of(metadata_of(judged.row.record)))


def _kept(source: str | Path, stack: ExitStack) -> Path:
    """Copies a pipe to a temporary file that goes with the run."""
    from tempfile import NamedTemporaryFile

    file = stack.enter_context(NamedTemporaryFile(prefix="frontier-validate-", suffix=".jsonl"))  # noqa: SIM115
    with open_input(source) as stream:
        shutil.copyfileobj(stream, file)
    file.flush()
    return Path(file.name)


def _plain(finding: Finding) -> dict[str, str]:
    entries = {
        "code": finding.code,
        "severity": finding.severity,
        "pointer": finding.pointer,
        "message": finding.message,
        "remedy": finding.remedy,
    }
    return {key: value for key, value in entries.items() if value}
