"""Judging lines in bulk: the fast path sifts a chunk, only what it is not sure of is parsed and diagnosed.

For levels whose rules look at one record at a time and whose findings the fast path knows (QUICK). What comes out is
the same as line by line (tests/validators/test_bulk.py); accepted lines pass on as the bytes they were.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
MAX_AHEAD = 16
"""Chunks sifted before the doubtful lines among them are looked at."""
MAX_DOUBTFUL = 8
"""More of them in one chunk are looked at at once: there may be something to learn."""


@dataclass(slots=True)
class Batch:
    """Lines judged together.

    `lines` are the accepted ones, newline included, in order, where they are wanted; `num_accepted` counts them all the
    same, and `num_sure` those the fast path passed; `judged` are the lines that were looked at again: rejected, warned
    of, or accepted in silence.
    """

    lines: list[bytes]
    num_sure: int
    num_accepted: int
    judged: list[Judged] = field(default_factory=list)

    def data(self) -> bytes:
        """Gives the accepted lines as one piece, each ending in LF."""
        data = b"".join(self.lines)
        return data.replace(b"\r\n", b"\n") if b"\r" in data else data

    def marked(self, level: LevelName) -> bytes:
        """Gives the accepted lines as one piece with the gates' mark in their lineage, for a pipe."""
        lines = [line.replace(b"\r\n", b"\n") for line in self.lines]
        return b"".join(marked_lines(lines, level, are_sure=self.num_sure == self.num_accepted))


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

    def batches(
        self, source: str | Path, *, part: Part | None = None, ends: LineEnds | None = None, keeps: bool = True
    ) -> Iterator[Batch]:
        """Yields the lines of a file, or of a part of it, in order.

        Args:
            source: a path, or "-".
            part: a range of bytes; line numbers count from its beginning.
            ends: gets the counts of line ends.
            keeps: whether accepted lines are wanted; else they are only counted.
        """
        name = STDIN_NAME if str(source) == "-" else str(source)
        ends = ends or LineEnds(name)
        # A pipe passes on what has come; a file is read some chunks ahead, because diagnosing is cheaper in a row.
        most = 1 if name == STDIN_NAME else MAX_AHEAD if keeps else 4 * MAX_AHEAD
        ahead, num_chunks, sifted = 1, 0, _Sifted()
        with _without_collection():
            for chunk in read_chunks(source, part=part):
                found = self._sift(chunk)
                sifted.take(chunk, found, ends, keeps=keeps)
                num_chunks += 1
                if num_chunks >= ahead or len(found) > MAX_DOUBTFUL:
                    yield self._batch(sifted, name, ends)
                    ahead, num_chunks, sifted = min(most, 2 * ahead), 0, _Sifted()
            if num_chunks:
                yield self._batch(sifted, name, ends)

    def _batch(self, sifted: _Sifted, name: str, ends: LineEnds) -> Batch:
        """Gives the lines sifted with those in doubt judged."""
        lines, refused = sifted.lines, []
        num_sure = sifted.num_lines - len(sifted.doubtful)
        batch = Batch(lines, num_sure, num_sure)
        ends.num_rows += num_sure
        # Step by step over all of them: so each step finds its code in the processor's caches.
        first = self.num_lines + 1
        rows = [(place, parse_raw(raw, name, first + place, ends)) for place, raw in sifted.doubtful]
        batch.judged = [self.judge(row) for _, row in rows if row is not None]
        judged = iter(batch.judged)
        for place, row in rows:
            line = next(judged) if row is not None else None
            if line is None or not line.verdict.ok:
                refused.append(place)
                continue
            batch.num_accepted += 1
            self._lessons.append(line)
            if lines:
                lines[place] = line.row.raw + b"\n"
        self.num_lines += sifted.num_lines
        if lines:
            for place in reversed(refused):
                del lines[place]
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


@dataclass(slots=True)
class _Sifted:
    """Lines that the fast path has seen, and those among them that it is not sure of, with their places."""

    lines: list[bytes] = field(default_factory=list)
    doubtful: list[tuple[int, bytes]] = field(default_factory=list)
    num_lines: int = 0

    def take(self, chunk: list[bytes], doubtful: list[int], ends: LineEnds, *, keeps: bool) -> None:
        """Adds a chunk; lines that are sure end in LF from then on."""
        self.doubtful += [(self.num_lines + place, chunk[place]) for place in doubtful]
        if len(doubtful) < len(chunk) and (chunk[0].endswith(b"\r\n") or chunk[-1].endswith(b"\r\n")):
            ends.num_crlf += _end_in_lf(chunk, set(doubtful))
        self.num_lines += len(chunk)
        if keeps:
            if not chunk[-1].endswith(b"\n"):
                chunk[-1] += b"\n"
            self.lines += chunk


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keeps the cycle collector from walking over every chunk's turns, which hold no cycles: a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _end_in_lf(chunk: list[bytes], doubtful: set[int]) -> int:
    """Ends lines in LF that end in CRLF; gives how many, without those that are looked at again anyway."""
    num_crlf = 0
    for place, line in enumerate(chunk):
        if place not in doubtful and line.endswith(b"\r\n"):
            chunk[place] = line.rstrip(b"\r\n") + b"\n"
            num_crlf += 1
    return num_crlf
