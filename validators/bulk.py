"""Judging lines in bulk: what is surely good is only counted, the rest is parsed and diagnosed.

Three sieves, each for what the one before it let through: regular lines are recognised in blocks (regular_lines.py,
once a file has shown what its lines look like), other lines are decoded in chunks (fast_path.py), and what is then
still in doubt is judged one by one. What comes out is the same as line by line (tests/validators/test_bulk.py);
accepted lines pass on as the bytes they were.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from frontier_core.jsonl import STDIN_NAME, LineEnds, Part, Row, lines_of, parse_raw, read_blocks
from frontier_core.lineage import Tally
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from validators.base import LevelName
from validators.judged import Judged, marked_lines

if TYPE_CHECKING:
    from validators.fast_path import FastPath
    from validators.regular_lines import RegularLines, Sifting
    from validators.sure_rules import SureRules

MAX_PATHS = 4
SURE_SPECS = ("chat_sft_v1",)
"""Specs whose lines STANDARD judges in bulk."""
MAX_AHEAD = 16
"""Chunks sifted before the doubtful lines among them are looked at."""
MAX_DOUBTFUL = 8
"""More of them in one chunk are looked at at once: there may be something to learn."""
REGULAR_BYTES = 4 << 20
"""A file that is longer is worth building an automaton for."""
SAMPLE_LINES = 16
"""Lines of each chunk that the automaton is built from."""
MAX_LESSONS = 3
TRIED_LINES = 2000
"""Of so many lines a quarter at most may be good and yet not recognised."""


@dataclass(slots=True)
class Batch:
    """Lines judged together.

    `pieces` are the accepted ones, each some whole lines, in order, where they are wanted; `num_accepted` counts them
    all the same, and `num_sure` those the fast path passed; `judged` are the lines that were looked at again: rejected,
    warned of, or accepted in silence.
    """

    pieces: list[bytes]
    num_sure: int
    num_accepted: int
    judged: list[Judged] = field(default_factory=list)

    def data(self) -> bytes:
        """Gives the accepted lines as one piece, each ending in LF."""
        data = b"".join(self.pieces)
        return data.replace(b"\r\n", b"\n") if b"\r" in data else data

    def marked(self, level: LevelName) -> bytes:
        """Gives the accepted lines as one piece with the gates' mark in their lineage, for a pipe."""
        lines = lines_of(self.data())
        return b"".join(marked_lines(lines, level, are_sure=self.num_sure == self.num_accepted))


class Bulk:
    """Judges a file chunk by chunk.

    Args:
        spec: "auto" or the one spec every line must keep.
        profile: of assistant turns.
        judge: the slow way: judges one row by both gates.
        sure_rules: STANDARD's, over what the fast path passes.
    """

    def __init__(
        self, spec: str, profile: ProfileName, judge: Callable[[Row], Judged], sure_rules: SureRules | None = None
    ) -> None:
        self.spec = spec
        self.profile = profile
        self.judge = judge
        self.sure_rules = sure_rules
        self.num_lines = 0
        self.paths: dict[str, FastPath] = {}
        self._lessons: list[Judged] = []
        self._regular = _Recogniser(profile, spec) if sure_rules is None else None

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
        # Rules over many lines take them in as they come, so there is no reading ahead under them.
        most = 1 if name == STDIN_NAME or self.sure_rules else MAX_AHEAD if keeps else 4 * MAX_AHEAD
        ahead, num_chunks, sifted = 1, 0, _Sifted(keeps)
        with _without_collection():
            for block in read_blocks(source, part=part):
                found = self._sift_block(block, sifted, ends)
                num_chunks += 1
                if num_chunks >= ahead or found > MAX_DOUBTFUL:
                    yield self._batch(sifted, name, ends)
                    ahead, num_chunks, sifted = min(most, 2 * ahead), 0, _Sifted(keeps)
            if num_chunks:
                yield self._batch(sifted, name, ends)

    def tally(self, into: Tally) -> None:
        """Adds what was counted of the lines that were sure to a tally."""
        for path in self.paths.values():
            path.tally(into)
        if self._regular:
            self._regular.tally(into)

    def _sift_block(self, block: bytes, sifted: _Sifted, ends: LineEnds) -> int:
        """Sifts a block; gives how many lines are in doubt now."""
        if self._regular and self._regular.lines:
            return sifted.take_block(block, self._regular.lines.sift(block))
        chunk = lines_of(block)
        found = self._sift(chunk)
        if self._regular:
            self._regular.see(block, chunk, found, only_chats=list(self.paths) == list(SURE_SPECS))
        return sifted.take(chunk, found, ends)

    def _batch(self, sifted: _Sifted, name: str, ends: LineEnds) -> Batch:
        """Gives the lines sifted with those in doubt judged."""
        missed = self._sift_again(sifted, ends) if sifted.was_recognised else []
        pieces, refused = sifted.pieces, []
        num_sure = sifted.num_lines - len(sifted.doubtful)
        batch = Batch(pieces, num_sure, num_sure)
        ends.num_rows += num_sure
        # Step by step over all of them: so each step finds its code in the processor's caches.
        first = self.num_lines + 1
        rows = [(place, parse_raw(raw, name, first + line, ends)) for place, line, raw in sifted.doubtful]
        batch.judged = [self.judge(row) for _, row in rows if row is not None]
        judged = iter(batch.judged)
        for place, row in rows:
            line = next(judged) if row is not None else None
            if line is None or not line.verdict.ok:
                refused.append(place)
                continue
            batch.num_accepted += 1
            self._lessons.append(line)
            if pieces:
                pieces[place] = line.row.raw + b"\n"
        self.num_lines += sifted.num_lines
        if self._regular and sifted.was_recognised:
            missed += [line.row.raw for line in batch.judged if line.verdict.ok]
            self._regular.missed(missed, sifted.num_lines)
        if pieces:
            for place in reversed(refused):
                del pieces[place]
        return batch

    def _sift_again(self, sifted: _Sifted, ends: LineEnds) -> list[bytes]:
        """Asks the fast path about lines that were not recognised; gives those that pass."""
        asked = sifted.doubtful
        lines = [raw for _, _, raw in asked]
        sifted.doubtful = [asked[place] for place in self._sift(lines)] if lines else []
        left = {line for _, line, _ in sifted.doubtful}
        passed = [(place, raw) for place, line, raw in asked if line not in left]
        for place, raw in passed:
            ends.num_crlf += raw.endswith(b"\r\n")
            if sifted.pieces:
                sifted.pieces[place] = raw.rstrip(b"\r\n") + b"\n"
        return [raw for _, raw in passed]

    def _sift(self, chunk: list[bytes]) -> list[int]:
        if self._lessons:
            self._learn()
        doubtful: list[int] | None = None
        if self.sure_rules:
            self.sure_rules.first_line = self.num_lines + 1
        for path in self.paths.values():
            if doubtful is None:
                doubtful = path.sift(chunk, self.sure_rules.odd if self.sure_rules else None)
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
                if spec not in (SURE_SPECS if self.sure_rules else FAST_SPECS) or len(self.paths) >= MAX_PATHS:
                    continue
                self.paths[spec] = FastPath(
                    spec, self.profile, is_guessed=self.spec == "auto", reads_text=self.sure_rules is not None
                )
            self.paths[spec].learn(records)


class _Recogniser:
    """Regular lines of one file: watches until it is worth it, and as long as it is."""

    def __init__(self, profile: ProfileName, spec: str) -> None:
        self._is_on = False
        self._profile = profile
        self._is_guessed = spec == "auto"
        self._lines: RegularLines | None = None
        self._left = MAX_LESSONS if spec in ("auto", *SURE_SPECS) and profile != "regime3" else 0
        self._sample: list[bytes] = []
        self._num_bytes = self._num_tried = self._num_missed = 0

    def see(self, block: bytes, lines: list[bytes], doubtful: list[int], *, only_chats: bool) -> None:
        """Takes in a block that was not recognised; after some of them there may be something to recognise by."""
        if not self._left:
            return
        left_out = set(doubtful)
        self._sample += [line for place, line in enumerate(lines) if place not in left_out][:SAMPLE_LINES]
        self._num_bytes += len(block)
        if self._num_bytes >= REGULAR_BYTES:
            self._learn(is_possible=only_chats)

    @property
    def lines(self) -> RegularLines | None:
        """What recognises, None when nothing does (any more)."""
        return self._lines if self._is_on else None

    def missed(self, lines: list[bytes], num_lines: int) -> None:
        """Takes in which of so many lines were good and yet not recognised."""
        self._num_tried += num_lines
        self._num_missed += len(lines)
        self._sample += lines[: TRIED_LINES - len(self._sample)]
        if self._num_tried >= TRIED_LINES:
            if 4 * self._num_missed > self._num_tried:
                self._learn(is_possible=True)
            self._num_tried = self._num_missed = 0
            self._sample.clear()

    def tally(self, into: Tally) -> None:
        """Adds what was counted to a tally."""
        if self._lines:
            self._lines.tally(into)

    def _learn(self, *, is_possible: bool) -> None:
        self._is_on = False
        self._left -= 1
        if is_possible and self._sample and self._left >= 0:
            try:
                from validators.regular_lines import RegularLines

                self._lines = self._lines or RegularLines(self._profile, is_guessed=self._is_guessed)
            except ImportError:  # Hyperscan has no wheel for every machine
                self._left = 0
                return
            self._is_on = self._lines.learn(self._sample)
        self._left = self._left if self._is_on else 0
        self._sample.clear()


class _Sifted:
    """Lines that were sifted, as pieces where they are wanted, and those among them that are in doubt.

    `doubtful` has each with the number of its piece and that of its line, from 0.
    """

    def __init__(self, keeps: bool) -> None:
        self.pieces: list[bytes] = []
        self.doubtful: list[tuple[int, int, bytes]] = []
        self.num_lines = 0
        self.was_recognised = False
        self._keeps = keeps

    def take(self, chunk: list[bytes], doubtful: list[int], ends: LineEnds) -> int:
        """Adds lines; those that are sure end in LF from then on. Gives how many are in doubt."""
        first = len(self.pieces)
        self.doubtful += [(first + place, self.num_lines + place, chunk[place]) for place in doubtful]
        if len(doubtful) < len(chunk) and (chunk[0].endswith(b"\r\n") or chunk[-1].endswith(b"\r\n")):
            ends.num_crlf += _end_in_lf(chunk, set(doubtful))
        self.num_lines += len(chunk)
        if self._keeps:
            if not chunk[-1].endswith(b"\n"):
                chunk[-1] += b"\n"
            self.pieces += chunk
        return len(doubtful)

    def take_block(self, block: bytes, sifting: Sifting) -> int:
        """Adds a block whose lines end in LF, all but those not recognised, which are in doubt. Gives 0."""
        self.was_recognised = True
        place = 0
        for start, end, number in sifting.gaps:
            line = block[start:end]
            if self._keeps:
                self.pieces += (block[place:start], line)
            self.doubtful.append((len(self.pieces) - 1, self.num_lines + number, line))
            place = end
        if self._keeps:
            self.pieces.append(block[place:])
        self.num_lines += sifting.num_lines
        return 0


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
