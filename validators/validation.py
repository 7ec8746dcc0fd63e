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
from typing import Any

from frontier_core.errors import DataError
from frontier_core.jsonl import STDIN_NAME, LineEnds, Part, Row, open_input, read_rows
from frontier_core.lineage import Tally, generator_of
from frontier_core.records import metadata_of
from validators import content_gate, schema_gate
from validators.base import Finding, GateSettings, Verdict, problem_findings
from validators.bulk import Batch, Bulk
from validators.content_gate import ContentGate, waits_for_the_file
from validators.judged import Judged
from validators.schema_gate import SchemaGate

MAX_REPORTED = 100
"""Findings listed in the report; all of them are counted."""


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
    ends: LineEnds = field(default_factory=lambda: LineEnds(""))

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

    @property
    def is_bulk(self) -> bool:
        """Says whether lines may be judged in bulk: the level has no rule that the fast path does not know."""
        return self.settings.level != "deep"

    @property
    def has_parts(self) -> bool:
        """Says whether ranges of a file may be judged apart: the level has no rule that compares records."""
        return self.settings.level == "quick"

    def batches(
        self,
        source: str | Path,
        *,
        part: Part | None = None,
        lines_before: int = 0,
        notes: list[str] | None = None,
        keeps: bool = True,
    ) -> Iterator[Batch]:
        """Yields all lines in batches, in order, for a level that is judged in bulk (`is_bulk`).

        Args:
            source: a path, or "-".
            part: a range of bytes of a plain file.
            lines_before: how many lines stand before the range.
            notes: gets remarks about the whole file; None drops them.
            keeps: whether accepted lines are wanted, or only counted.
        """
        schema, content = SchemaGate(self.spec), ContentGate(settings=self.settings)
        self.ends = LineEnds(STDIN_NAME if str(source) == "-" else str(source))
        sure_rules = None
        if self.settings.level == "standard":
            from validators.sure_rules import SureRules

            sure_rules = SureRules(content)
        bulk = Bulk(self.spec, self.settings.profile, lambda row: self._judge(row, schema, content), sure_rules)
        bulk.num_lines = lines_before
        for batch in bulk.batches(source, part=part, ends=self.ends, keeps=keeps):
            for judged in batch.judged:
                self._count(judged)
            yield batch
        sure = Tally()
        bulk.tally(sure)
        for mine, theirs in zip(self.tally.counters(), sure.counters(), strict=True):
            mine.update(theirs)
        if sure_rules is not None:
            sure_rules.finish(sure.tags)
        self.whole_file = content.finish().file
        self.facts = content.facts()
        self.num_records = self.ends.num_rows
        if part is None:
            self.ends.tell(notes)

    def absorb(self, other: Validation) -> None:
        """Takes in the counts of a run over the next range of the same file."""
        self.num_records += other.num_records
        self.warnings += other.warnings
        for mine, theirs in zip(self.tally.counters(), other.tally.counters(), strict=True):
            mine.update(theirs)
        self.findings += other.findings[: MAX_REPORTED - len(self.findings)]
        self.ends.num_rows += other.ends.num_rows
        self.ends.num_blank += other.ends.num_blank
        self.ends.num_crlf += other.ends.num_crlf

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
