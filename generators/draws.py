"""Candidates of one cell, in index order: drawn here or by a crew of worker processes, and told apart by digest.

A candidate is a pure function of (generator, seed, index, level), so who draws it changes nothing; which of them a run
keeps is decided by one reader, in index order (generators/synth.py).
"""

from __future__ import annotations

import pickle
import signal
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, cast

from frontier_core.errors import EXIT_BUG, ConfigError, FrontierError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.lineage import mark
from frontier_core.profiles import undress
from frontier_core.records import Record, last_assistant
from frontier_core.seeds import is_held_out
from generators.base import Generator
from validators.base import AnswerVerifier
from validators.skills.table import VERIFIERS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

Split = Literal["train", "eval"]
Payload = TypeVar("Payload")
MAX_CHUNK = 128
"""Candidates a worker draws at a time: enough that asking costs little, and few enough that no one waits for long."""

HANDED_OUT = 2
"""Chunks a worker has at once: one to draw, and one to go on with at once."""


class WrongAnswer(FrontierError):
    """A generator's answer that the independent verifier refuses: our bug, and nothing of the run is kept."""

    exit_code = EXIT_BUG


class Cell(NamedTuple):
    """What is drawn: a generator's level under a seed, one split of it; every so many-th answer checked (0: none)."""

    generator: Generator
    level: int
    seed: int
    split: Split
    check_every: int = 0


class DigestSet:
    """A set of 64-bit digests in 13 to 27 bytes each: open addressing in one array, never more than 60% full.

    Two texts share a digest once in 2**64; a run of a million records is wrong about one with a chance below 1e-7, and
    then drops a good problem.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 64))
        self._num = 0

    def __len__(self) -> int:
        return self._num

    def add(self, digest: int) -> bool:
        """Adds a digest; says whether it is new."""
        digest = digest or 1  # 0 marks an empty slot
        slots = self._slots
        mask = len(slots) - 1
        place = digest & mask
        while slots[place]:
            if slots[place] == digest:
                return False
            place = (place + 1) & mask
        slots[place] = digest
        self._num += 1
        if self._num * 5 > len(slots) * 3:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._slots
        slots = self._slots = array("Q", bytes(16 * len(old)))
        mask = len(slots) - 1
        for digest in old:
            if digest:
                place = digest & mask
                while slots[place]:
                    place = (place + 1) & mask
                slots[place] = digest


def made_by(generator: Generator) -> str:
    """Gives the mark of lineage that a record of this generator carries."""
    return f"gen:{generator.generator_id}@{generator.generator_version}"


def digest_of(problem: str) -> int:
    """Gives the 64-bit digest of a problem's text."""
    return int.from_bytes(blake2b(problem.encode(), digest_size=8).digest(), "big")


def verifier_of(skill: str) -> AnswerVerifier | None:
    """Gives the verifier that computes the skill's answers again, None when it has none (plans run in a sandbox)."""
    try:
        verifier: AnswerVerifier = VERIFIERS.get(skill)
    except ConfigError:
        return None
    return verifier


def candidates(cell: Cell, indices: Iterator[int] | range) -> Iterator[tuple[int, Record] | None]:
    """Yields for each index the problem's digest and the record, or None when the other split has the problem.

    Raises:
        WrongAnswer: the verifier refuses an answer that was to be checked.
    """
    generator, level, seed = cell.generator, cell.level, cell.seed
    wants_held_out = cell.split == "eval"
    verify = verifier_of(generator.skill) if cell.check_every else None
    stamp = made_by(generator)
    for index in indices:
        record = generator.sample(seed, index, level)
        problem = generator.problem(record)
        if is_held_out(problem) != wants_held_out:
            yield None
            continue
        if verify is not None and not index % cell.check_every:
            verdict = verify(record, undress(last_assistant(record)))
            if not verdict.ok:
                where = (
                    f"{generator.generator_id}@{generator.generator_version} seed {seed} index {index} level {level}"
                )
                raise WrongAnswer(f"{where}: {verdict.message}", hint="report this line; no record was kept")
        yield digest_of(problem), mark(record, stamp)


def endless(cell: Cell) -> Iterator[tuple[int, Record] | None]:
    """Yields the candidates of every index from 0, drawn in this process."""
    return candidates(cell, count())


Lines = list[tuple[int, bytes] | None]
Chunk = tuple[int, int]
"""A cell's place and the number of one of its chunks."""


def draw_lines(cell: Cell, indices: range) -> Lines:
    """Gives the candidates of some indices as finished lines; None as in `candidates`."""
    return [found and (found[0], dumps(found[1])) for found in candidates(cell, indices)]


def chunk_size(wanted: int, num_workers: int) -> int:
    """Gives how many candidates of a cell one of several workers draws at a time."""
    return max(8, min(MAX_CHUNK, wanted // num_workers + 1))


class Crew:
    """Worker processes that draw candidates ahead of one reader, each with a pipe of its own.

    Results are the same for any number of workers. Chunks of every cell are asked for before they are wanted, and a
    worker that is done gets the next one, whichever cell it is of: a slow cell keeps all workers busy, not one.
    A worker ends when its pipe closes, so none outlives a reader that was killed.

    Args:
        cells: what is drawn.
        counts: how many records of each cell the reader wants; sizes the chunks, and says when to stop drawing ahead.
        num_workers: processes.
    """

    def __init__(self, cells: Sequence[Cell], counts: Sequence[int], num_workers: int) -> None:
        self._cells = cells
        self._sizes = [chunk_size(wanted, num_workers) for wanted in counts]
        self._enough = [-(-wanted * 10 // (9 * size)) for wanted, size in zip(counts, self._sizes, strict=True)]
        self._num_asked = [0] * len(cells)
        self._ahead = HANDED_OUT * num_workers
        self._num_workers = num_workers
        self._waiting: deque[Chunk] = deque()
        self._arrived: dict[Chunk, Lines] = {}
        self._pipes: list[Connection] = []
        self._handed: dict[Connection, deque[Chunk]] = {}
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> Crew:
        import multiprocessing  # most runs have no crew

        try:
            work = pickle.dumps(tuple(self._cells))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError("a generator of this run can't be sent to workers", hint="pass --workers 1") from error
        context = multiprocessing.get_context("spawn")
        try:
            for _ in range(self._num_workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, work), daemon=True)
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._handed[ours] = deque()
                self._processes.append(process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        for place in range(len(self._cells)):
            self._ask(place, 0)
        self._hand_out()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()
            process.join()

    def stream(self, place: int) -> Iterator[tuple[int, bytes] | None]:
        """Yields the candidates of one cell from index 0 as finished lines; None as in `candidates`."""
        for number in count():
            yield from self._take(place, number)

    def _ask(self, place: int, number: int) -> None:
        """Sees to it that a chunk of a cell is drawn, and those behind it that will surely be wanted."""
        upto = max(number + 1, min(number + self._ahead, self._enough[place]))
        self._waiting.extend((place, later) for later in range(self._num_asked[place], upto))
        self._num_asked[place] = max(self._num_asked[place], upto)

    def _hand_out(self) -> None:
        """Gives every worker with too little to do what was asked for first."""
        for load in range(HANDED_OUT):
            for pipe in self._pipes:
                if self._waiting and len(self._handed[pipe]) <= load:
                    place, number = self._waiting.popleft()
                    size = self._sizes[place]
                    self._handed[pipe].append((place, number))
                    with _living():
                        pipe.send((place, number * size, (number + 1) * size))

    def _take(self, place: int, number: int) -> Lines:
        """Waits for a chunk; others that arrive before it are kept."""
        from multiprocessing.connection import wait

        wanted = (place, number)
        self._ask(place, number)
        if wanted in self._waiting:  # nobody has begun it: the next one to be free does
            self._waiting.remove(wanted)
            self._waiting.appendleft(wanted)
        while True:
            self._hand_out()
            busy = [pipe for pipe in self._pipes if self._handed[pipe]]
            for pipe in busy and wait(busy, 0 if wanted in self._arrived else None):
                ours = cast("Connection", pipe)
                self._arrived[self._handed[ours].popleft()] = _received(ours)
            if wanted in self._arrived:
                self._hand_out()
                return self._arrived.pop(wanted)


@contextmanager
def _living() -> Iterator[None]:
    """Says what it means when a pipe has no other end."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise FrontierError("a worker process died", hint="is there memory left? try --workers 1") from error


def _received(pipe: Connection) -> Lines:
    """Gives what a worker sends, or raises what it met with."""
    with _living():
        answer = pipe.recv()
    if isinstance(answer, BaseException):
        raise answer
    lines: Lines = answer
    return lines


def _work(pipe: Connection, work: bytes) -> None:
    """The life of a worker: draws the chunks asked for until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the reader gets it too, and ends us
    cells: tuple[Cell, ...] = pickle.loads(work)
    while True:
        try:
            place, start, stop = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer: object = draw_lines(cells[place], range(start, stop))
        except Exception as error:  # the reader raises it, with its message and hint
            answer = error if isinstance(error, FrontierError) else RuntimeError(repr(error))
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionError):
            return


def distinct(
    stream: Iterator[tuple[int, Payload] | None], *, max_misses: int, exhausted: Callable[[int], FrontierError]
) -> Iterator[Payload]:
    """Yields what is not None and has a new digest, in order.

    Args:
        stream: as `candidates` yields it.
        max_misses: candidates in a row that may be of the other split or known already.
        exhausted: makes the error for one more than that, from how many were found.
    """
    seen = DigestSet()
    misses = 0
    for found in stream:
        if found is not None and seen.add(found[0]):
            misses = 0
            yield found[1]
            continue
        misses += 1
        if misses > max_misses:
            raise exhausted(len(seen))
