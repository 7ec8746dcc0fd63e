"""`frontier validate --workers`: ranges of one file judged side by side, results in the order of the file.

Each worker is a forked process that counts the lines before its range, so that its numbers are those of the file, then
judges the lines beginning in it and writes what passes and what does not to temporary files, as they will stand in the
outputs; the first range is this process's own. Only for the level that compares no records (QUICK) and for plain files.
`--engine ray` judges ranges in the same way on a cluster.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from frontier_core.errors import EnvironmentMissing, FrontierError
from frontier_core.jsonl import Part, count_lines
from frontier_ops.spread import Spread
from validators.base import GateSettings
from validators.bulk import Batch
from validators.judged import Judged, rejects_of
from validators.validation import MAX_REPORTED, Validation

MIN_PART_BYTES = 4 << 20
"""Smaller ranges are not worth a process."""
PIECE_BYTES = 1 << 20

Write = Callable[[Batch], bytes]


@dataclass(slots=True)
class Piece:
    """What became of some lines, in order.

    `rejected` are lines to be told of: all of this process's own, the first ones of a worker's. `rejects` and
    `accepted` are whole lines for the two outputs.
    """

    rejected: list[Judged] = field(default_factory=list)
    rejects: bytes = b""
    num_rejects: int = 0
    accepted: bytes = b""
    num_accepted: int = 0


def can_split(source: str) -> bool:
    """Says whether ranges of a source can be read: not of pipes and compressed files."""
    path = Path(source)
    return source != "-" and path.is_file() and path.suffix not in (".gz", ".zst")


def num_parts(source: str, workers: int) -> int:
    """Gives into how many ranges a source is worth being split; 1 for pipes, compressed and small files."""
    if not can_split(source):
        return 1
    return max(1, min(workers, Path(source).stat().st_size // MIN_PART_BYTES))


def parts_of(source: str, count: int) -> list[Part]:
    """Gives `count` ranges of about equal size that cover the file."""
    size = Path(source).stat().st_size
    bounds = [size * number // count for number in range(count + 1)]
    return [Part(start, end) for start, end in pairwise(bounds)]


def piece_of(batch: Batch, write: Write | None, *, keeps_rejects: bool) -> Piece:
    """Gives what became of a batch.

    Args:
        batch: lines judged.
        write: gives the bytes that a batch passes on; None when they are not wanted.
        keeps_rejects: whether rejected lines are wanted as they stand in a rejects file.
    """
    rejected = [line for line in batch.judged if not line.verdict.ok]
    return Piece(
        rejected=rejected,
        rejects=rejects_of(rejected) if keeps_rejects and rejected else b"",
        num_rejects=len(rejected),
        accepted=write(batch) if write and batch.pieces else b"",
        num_accepted=batch.num_accepted,
    )


@dataclass(slots=True)
class _Report:
    """What a worker sends back beside its two files: its counts, lines to tell of, and how it ended."""

    run: Validation | None = None
    rejected: list[Judged] = field(default_factory=list)
    num_rejects: int = 0
    num_accepted: int = 0
    error: FrontierError | None = None


def judge_parts(
    run: Validation, source: str, count: int, *, write: Write | None, keeps_rejects: bool, notes: list[str]
) -> Iterator[Piece]:
    """Yields what became of the lines of the file, in order.

    Args:
        run: takes in the counts.
        source: a plain file.
        count: ranges.
        write: gives the bytes that a batch passes on; None when nothing is written.
        keeps_rejects: whether rejected lines are wanted as they stand in a rejects file.
        notes: gets remarks about the whole file.
    """
    from tempfile import TemporaryDirectory

    first, *others = parts_of(source, count)
    with TemporaryDirectory(prefix="frontier-validate-", dir=_scratch()) as folder:
        workers: dict[int, str] = {}
        try:
            for number, part in enumerate(others):
                target = os.path.join(folder, str(number))
                worker = os.fork()
                if worker == 0:
                    _work(Validation(run.settings, run.spec), source, part, target, write, keeps_rejects)
                workers[worker] = target
            for batch in run.batches(source, part=first, keeps=write is not None):
                yield piece_of(batch, write, keeps_rejects=keeps_rejects)
            for worker in list(workers):
                _, status = os.waitpid(worker, 0)
                yield from _merge(run, workers.pop(worker), os.waitstatus_to_exitcode(status))
        finally:
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                os.waitpid(worker, 0)
    run.ends.tell(notes)


def judge_on(
    spread: Spread, run: Validation, source: str, *, write: Write | None, keeps_rejects: bool, notes: list[str]
) -> Iterator[Piece]:
    """Yields as `judge_parts` does; the ranges are judged on a Ray cluster, whose nodes must have the file.

    Args:
        spread: the cluster.
        run, source, write, keeps_rejects, notes: see judge_parts.
    """
    path = os.path.abspath(source)
    count = max(1, Path(path).stat().st_size // MIN_PART_BYTES)
    work = partial(_judge_range, run.settings, run.spec, path, write, keeps_rejects)
    for report, rejects, accepted in spread.map(work, _numbered(path, parts_of(path, count))):
        yield _absorbed(run, report)
        yield Piece(rejects=rejects, accepted=accepted)
    run.ends.tell(notes)


def _numbered(source: str, parts: list[Part]) -> Iterator[tuple[Part, int]]:
    """Yields ranges with the number of lines before each, counted as they are asked for."""
    before = 0
    for part in parts:
        yield part, before
        before += count_lines(source, part.end, start=part.start)


def _judge_range(
    settings: GateSettings,
    spec: str,
    source: str,
    write: Write | None,
    keeps_rejects: bool,
    numbered: tuple[Part, int],
) -> tuple[_Report, bytes, bytes]:
    """Judges one range elsewhere; gives the report, and whole lines for the two outputs: rejects, accepted."""
    rejects: list[bytes] = []
    accepted: list[bytes] = []
    part, before = numbered
    run = Validation(settings, spec)
    report = _judge(run, source, part, before, write, keeps_rejects, rejects.append, accepted.append)
    return report, b"".join(rejects), b"".join(accepted)


def _judge(
    run: Validation,
    source: str,
    part: Part,
    before: int,
    write: Write | None,
    keeps_rejects: bool,
    reject: Callable[[bytes], object],
    accept: Callable[[bytes], object],
) -> _Report:
    """Judges a range of a file that has `before` lines before it, and hands on the bytes for the two outputs."""
    report = _Report(run)
    try:
        for batch in run.batches(source, part=part, lines_before=before, keeps=write is not None):
            piece = piece_of(batch, write, keeps_rejects=keeps_rejects)
            report.rejected += piece.rejected[: MAX_REPORTED - len(report.rejected)]
            report.num_rejects += piece.num_rejects
            report.num_accepted += piece.num_accepted
            accept(piece.accepted)
            reject(piece.rejects)
    except FrontierError as error:
        return _Report(error=error)
    return report


def _work(run: Validation, source: str, part: Part, target: str, write: Write | None, keeps_rejects: bool) -> None:
    """Judges a range in a forked process, which ends here."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with open(target + ".accepted", "wb") as accepted, open(target + ".rejects", "wb") as rejects:
            before = count_lines(source, part.start)
            report = _judge(run, source, part, before, write, keeps_rejects, rejects.write, accepted.write)
        with open(target, "wb") as file:
            pickle.dump(report, file)
        code = 0
    finally:
        os._exit(code)


def _merge(run: Validation, target: str, code: int) -> Iterator[Piece]:
    """Yields what a worker did and takes its counts in."""
    if code != 0:
        raise EnvironmentMissing(f"a worker ended with code {code}", hint="was memory short? --workers 1 needs least")
    with open(target, "rb") as file:
        report: _Report = pickle.load(file)
    yield _absorbed(run, report)
    with open(target + ".rejects", "rb") as file:
        while block := file.read(PIECE_BYTES):
            yield Piece(rejects=block)
    with open(target + ".accepted", "rb") as file:
        while block := file.read(PIECE_BYTES):
            yield Piece(accepted=block)


def _absorbed(run: Validation, report: _Report) -> Piece:
    """Takes a report's counts in; gives the lines to tell of and the numbers of records."""
    if report.error is not None or report.run is None:
        raise report.error or EnvironmentMissing("a worker sent nothing back")
    run.absorb(report.run)
    return Piece(rejected=report.rejected, num_rejects=report.num_rejects, num_accepted=report.num_accepted)


def _scratch() -> str | None:
    """Gives the folder for what workers pass on: TMPDIR or the system's default."""
    return os.environ.get("TMPDIR") or None
