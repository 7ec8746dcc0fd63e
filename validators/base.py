"""What every judge returns: a Verdict on one record, and Findings that say where and what to do.

Judges are pure: they read a record and answer; keeping rejects, counting and exit codes belong to their callers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from frontier_core.errors import DataError
from frontier_core.profiles import ProfileName
from frontier_core.records import Record

Severity = Literal["error", "warning"]

LevelName = Literal["quick", "standard", "deep"]


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
        return self.code == "ok"

    @property
    def code(self) -> str:
        """The first error's code, "ok" when there is none: the one word rejects are counted by."""
        for finding in self.findings:  # no generator: asked several times of every bad line
            if finding.severity == "error":
                return finding.code
        return "ok"

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


class Place(NamedTuple):
    """Where a record stands: its file, its line from 1, and the spec it passed in the schema gate."""

    path: str
    line: int
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What the checks of the content gate are made from; a check takes what it needs and ignores the rest.

    Args:
        level: the depth asked for.
        profile: the profile assistant turns must keep.
        tokenizer: folder of the run's tokenizer; None counts no tokens.
        against: evaluation files that training data must not contain.
    """

    level: LevelName = "standard"
    profile: ProfileName = "emoji_think"
    tokenizer: Path | None = None
    against: tuple[Path, ...] = ()


class Check:
    """One rule of the content gate, made anew for every file: the base of all rules, which finds nothing.

    A rule that judges a record by itself overrides `see`. One that needs the whole file collects in `see` and answers
    in `finish`; it stands in validators/checks.py as `is_late`, so that accepted lines wait for its answer. A rule that
    can't work with the settings (an absent tokenizer, no file to compare with) does nothing, or raises UsageError.

    Args:
        settings: of this run.
    """

    def __init__(self, settings: GateSettings) -> None:
        self.settings = settings

    def see(self, record: Record, at: Place) -> Iterable[Finding]:
        """Gives what is wrong with one record that passed the schema gate; called once a record, in file order."""
        return ()

    def finish(self) -> Iterable[tuple[int, Finding]]:
        """Gives what only the whole file shows, as (line, finding); line 0 is the file. An error rejects its line."""
        return ()

    def facts(self) -> Record:
        """Gives what was measured, for the report under the rule's name; JSON values only, {} for nothing."""
        return {}


class AnswerVerifier(Protocol):
    """Judges an answer to a skill's problem by recomputing it from the prompt alone, never from a stored key.

    Registered per skill in validators/skills/table.py.
    """

    def __call__(self, record: Record, answer: str) -> Verdict:
        """Judges `answer` (bare text, profile already taken off) to the problem posed by `record`."""
        ...
