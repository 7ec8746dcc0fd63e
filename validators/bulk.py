"""Judging lines in bulk: the fast path sifts a chunk, only what it is not sure of is parsed and diagnosed.

For levels whose rules look at one record at a time and whose findings the fast path knows (QUICK). What comes out is
the same as line by line (tests/validators/test_bulk.py); accepted lines pass on as the bytes they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from frontier_core.jsonl import STDIN_NAME, LineEnds, Part, Row, parse_raw, read_chunks
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from validators.base import LevelName
from validators.judged import Judged, marked_lines

if TYPE_CHECKING:
    from validators.fast_path import FastPath

MAX_PATHS = 4


@dataclass(slots=True)
class Batch:
    """Lines judged together.

    `lines` are the accepted ones, newline included, in order; `sure` counts those the fast path passed; `judged` are
    the lines that were looked at again: rejected, warned of, or accepted in silence.
    """

    lines: list[bytes]
    num_sure: int
    judged: list[Judged] = field(default_factory=list)

    def data(self) -> bytes:
        """Gives the accepted lines as one piece, each ending in LF."""
        data = b"".join(self.lines)
        return data.replace(b"\r\n", b"\n") if b"\r" in data else data

    def marked(self, level: LevelName) -> bytes:
        """Gives the accepted lines as one piece with the gates' mark in their lineage, for a pipe."""
        lines = [line.replace(b"\r\n", b"\n") for line in self.lines]
        return b"".join(marked_lines(lines, level, are_sure=self.num_sure == len(self.lines)))


class Bulk:
    """Judges a file chunk by chunk.

    Args:
        spec: "auto" or the one spec every line must keep.
        profile: of assistant turns.
        judge: the slow way: judges one row by both gates.
    """

    def __init__(self, spec: str, profile: ProfileName, judge: Callable[[Row], Judged]) -> None:
        self.spec = spec
        self.profile = profile
        self.judge = judge
        self.num_lines = 0
        self.paths: dict[str, FastPath] = {}
        self._lessons: list[Judged] = []

    def batches(self, source: str | Path, *, part: Part | None = None, ends: LineEnds | None = None) -> Iterator[Batch]:
        """Yields the lines of a file, or of a part of it, in order.

        Args:
            source: a path, or "-".
            part: a range of bytes; line numbers count from its beginning.
            ends: gets the counts of line ends.
        """
        name = STDIN_NAME if str(source) == "-" else str(source)
        ends = ends or LineEnds(name)
        for chunk in read_chunks(source, part=part):
            yield self._batch(chunk, name, ends)

    def _batch(self, chunk: list[bytes], name: str, ends: LineEnds) -> Batch:
        doubtful = self._sift(chunk)
        num_sure = len(chunk) - len(doubtful)
        ends.num_rows += num_sure
        if num_sure and (chunk[0].endswith(b"\r\n") or chunk[-1].endswith(b"\r\n")):
            ends.num_crlf += _end_in_lf(chunk, set(doubtful))
        if not chunk[-1].endswith(b"\n"):
            chunk[-1] += b"\n"
            is_torn = True
        else:
            is_torn = False
        batch = Batch(chunk, num_sure)
        refused = []
        for place in doubtful:
            raw = chunk[place][:-1] if is_torn and place == len(chunk) - 1 else chunk[place]
            row = parse_raw(raw, name, self.num_lines + place + 1, ends)
            judged = self.judge(row) if row is not None else None
            if row is None or judged is None or not judged.verdict.ok:
                refused.append(place)
            else:
                chunk[place] = row.raw + b"\n"
                self._lessons.append(judged)
            if judged is not None:
                batch.judged.append(judged)
        self.num_lines += len(chunk)
        for place in reversed(refused):
            del chunk[place]
        return batch

    def _sift(self, chunk: list[bytes]) -> list[int]:
        if self._lessons:
            self._learn()
        doubtful: list[int] | None = None
        for path in self.paths.values():
            if doubtful is None:
                doubtful = path.sift(chunk)
            elif doubtful:
                again = path.sift([chunk[place] for place in doubtful])
                doubtful = [doubtful[place] for place in again]
        return list(range(len(chunk))) if doubtful is None else doubtful

    def _learn(self) -> None:
        """Makes the fast paths of the specs of lines that passed, or teaches them the lines' keys.

        Not before a second chunk needs it: a file of some lines is judged without.
        """
        from validators.fast_path import FAST_SPECS, FastPath

        lessons: dict[str, list[Record]] = {}
        for judged in self._lessons:
            lessons.setdefault(judged.spec, []).append(judged.row.record)
        self._lessons.clear()
        for spec, records in lessons.items():
            if spec not in self.paths:
                if spec not in FAST_SPECS or len(self.paths) >= MAX_PATHS:
                    continue
                self.paths[spec] = FastPath(spec, self.profile, is_guessed=self.spec == "auto")
            self.paths[spec].learn(records)


def _end_in_lf(chunk: list[bytes], doubtful: set[int]) -> int:
    """Ends lines in LF that end in CRLF; gives how many, without those that are looked at again anyway."""
    num_crlf = 0
    for place, line in enumerate(chunk):
        if place not in doubtful and line.endswith(b"\r\n"):
            chunk[place] = line.rstrip(b"\r\n") + b"\n"
            num_crlf += 1
    return num_crlf
