"""What every judge returns: a Verdict on one record, and Findings that say where and what to do.

Judges are pure: they read a record and answer; keeping rejects, counting and exit codes belong to their callers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from frontier_core.errors import DataError
from frontier_core.records import Record

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a judge noticed about a record.

    `code` is a stable machine name, `pointer` a JSON pointer (RFC 6901) into the record, `remedy` the next step.
    Only findings of severity `error` reject the record.
    """

    code: str
    message: str
    pointer: str = ""
    severity: Severity = "error"
    remedy: str = ""

    def as_error(self, path: str, line: int) -> DataError:
        """Gives the exception for a command that can't go on with such a record."""
        return DataError(self.message, path=path, line=line, pointer=self.pointer, hint=self.remedy, code=self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's answer on one record: accepted or not, with what was noticed, and what was measured on the way."""

    findings: tuple[Finding, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True when no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def code(self) -> str:
        """The first error's code, "ok" when there is none: the one word rejects are counted by."""
        return next((finding.code for finding in self.findings if finding.severity == "error"), "ok")

    @property
    def message(self) -> str:
        """The first error's message, "" when there is none."""
        return next((finding.message for finding in self.findings if finding.severity == "error"), "")


ACCEPTED = Verdict()


def reject(code: str, message: str, *, pointer: str = "", remedy: str = "", **details: Any) -> Verdict:
    """Gives the verdict of a record refused for one reason."""
    finding = Finding(code=code, message=message, pointer=pointer, remedy=remedy)
    return Verdict(findings=(finding,), details=details)


def problem_findings(problem: DataError) -> tuple[Finding, ...]:
    """Gives the finding of a line that could not be read."""
    return (Finding(code=problem.code, message=problem.problem, pointer=problem.pointer, remedy=problem.hint),)


class AnswerVerifier(Protocol):
    """Judges an answer to a skill's problem by recomputing it from the prompt alone, never from a stored key.

    Registered per skill in validators/skills/table.py.
    """

    def __call__(self, record: Record, answer: str) -> Verdict:
        """Judges `answer` (bare text, profile already taken off) to the problem posed by `record`."""
        ...
