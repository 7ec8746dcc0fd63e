"""`frontier validate --workers`: ranges of one file judged side by side, results in the order of the file.

Each worker is a forked process that counts the lines before its range, so that its numbers are those of the file, then
judges the lines beginning in it and writes what passes and what does not to temporary files, as they will stand in the
outputs; the first range is this process's own. Only for levels judged in bulk (QUICK) and plain files: rules that
compare records need them in one place.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from frontier_core.errors import EnvironmentMissing, FrontierError
from frontier_core.jsonl import Part, count_lines
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


def num_parts(source: str, workers: int) -> int:
    """Gives into how many ranges a source is worth being split; 1 for pipes, compressed and small files."""
    path = Path(source)
    if source == "-" or not path.is_file() or path.suffix in (".gz", ".zst"):
        return 1
    return max(1, min(workers, path.stat().st_size // MIN_PART_BYTES))


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
        accepted=write(batch) if write and batch.lines else b"",
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


def _work(run: Validation, source: str, part: Part, target: str, write: Write | None, keeps_rejects: bool) -> None:
    """Judges a range in a forked process, which ends here."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        report = _Report(run)
        try:
            with open(target + ".accepted", "wb") as accepted, open(target + ".rejects", "wb") as rejects:
                before = count_lines(source, part.start)
                for batch in run.batches(source, part=part, lines_before=before, keeps=write is not None):
                    piece = piece_of(batch, write, keeps_rejects=keeps_rejects)
                    report.rejected += piece.rejected[: MAX_REPORTED - len(report.rejected)]
                    report.num_rejects += piece.num_rejects
                    report.num_accepted += piece.num_accepted
                    accepted.write(piece.accepted)
                    rejects.write(piece.rejects)
        except FrontierError as error:
            report = _Report(error=error)
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
    if report.error is not None or report.run is None:
        raise report.error or EnvironmentMissing("a worker sent nothing back")
    run.absorb(report.run)
    yield Piece(rejected=report.rejected, num_rejects=report.num_rejects, num_accepted=report.num_accepted)
    with open(target + ".rejects", "rb") as file:
        while block := file.read(PIECE_BYTES):
            yield Piece(rejects=block)
    with open(target + ".accepted", "rb") as file:
        while block := file.read(PIECE_BYTES):
            yield Piece(accepted=block)


def _scratch() -> str | None:
    """Gives the folder for what workers pass on: TMPDIR or the system's default."""
    return os.environ.get("TMPDIR") or None
