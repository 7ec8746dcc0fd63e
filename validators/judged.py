"""One line with its verdict, and the forms it leaves in: passed on with the gates' mark, or among the rejects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from frontier_core.errors import place
from frontier_core.jsonl import Row, dumps, loads
from frontier_core.lineage import mark
from frontier_core.records import Record
from frontier_core.rejects import reject_record
from validators import content_gate
from validators.base import LevelName, Verdict


class Judged(NamedTuple):
    """One line with the spec it was held against and the verdict of both gates."""

    row: Row
    spec: str
    verdict: Verdict

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


def rejects_of(lines: Iterable[Judged]) -> bytes:
    """Gives rejected lines as they stand in a rejects file."""
    return b"".join([dumps(line.rejected()) + b"\n" for line in lines])


def mark_of(level: LevelName) -> str:
    """Gives what the gates note in a record's lineage."""
    return f"validate:{content_gate.VALIDATOR_NAME}@{content_gate.VALIDATOR_VERSION}/{level}"


def marked_lines(lines: Sequence[bytes], level: LevelName, *, are_sure: bool = False) -> list[bytes]:
    """Gives accepted lines with the gates' mark in their lineage, for a pipe, where no sidecar can vouch.

    A line that our own serialiser would write differently (1e5, escapes, spaces) is passed on as it is, unmarked,
    unless the mark can be spliced into its bytes.

    Args:
        lines: accepted lines, each with its newline.
        level: of the content gate.
        are_sure: the fast path passed them all, so that metadata is the only object beside the turns.
    """
    own = f'"{mark_of(level)}"'.encode()
    return [(are_sure and _spliced(line, own)) or _marked(line, level) for line in lines]


def _spliced(line: bytes, own: bytes) -> bytes:
    """Gives the line with the mark put into its bytes, b"" when metadata does not stand last as we write it."""
    if not line.endswith(b"}}\n"):
        return b""
    start = line.rfind(b'"lineage":["')
    if start < 0:
        is_absent = b'lineage"' not in line and b"\\u" not in line
        return line[:-3] + b',"lineage":[' + own + b"]}}\n" if is_absent else b""
    if line.endswith(b'"]}}\n') and line.find(b"]", start) == len(line) - 4:
        return line if line.endswith(own + b"]}}\n") else line[:-4] + b"," + own + b"]}}\n"
    return b""


def _marked(line: bytes, level: LevelName) -> bytes:
    record = loads(line)
    if dumps(record) + b"\n" != line:
        return line
    return dumps(mark(record, mark_of(level))) + b"\n"
