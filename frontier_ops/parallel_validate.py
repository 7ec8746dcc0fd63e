"""`frontier validate --workers`: ranges of one file judged side by side, results in the order of the file.

Each worker is a forked process that judges the lines beginning in its range and writes what passes to a temporary
file; the first range is this process's own. Only for levels judged in bulk (QUICK) and plain files: rules that compare
records need them in one place.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from frontier_core.errors import EnvironmentMissing, FrontierError
from frontier_core.jsonl import Part
from validators.bulk import Batch
from validators.judged import Judged
from validators.validation import Validation

MIN_PART_BYTES = 4 << 20
"""Smaller ranges are not worth a process."""

Write = Callable[[Batch], bytes]


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


@dataclass(slots=True)
class _Report:
    """What a worker sends back: its counts, the lines looked at more closely, and how it ended."""

    run: Validation | None = None
    judged: list[Judged] = field(default_factory=list)
    num_accepted: int = 0
    error: FrontierError | None = None


def judge_parts(
    run: Validation, source: str, count: int, *, write: Write | None, notes: list[str]
) -> Iterator[tuple[list[Judged], bytes, int]]:
    """Yields (lines looked at more closely, accepted bytes, accepted records) of the file, in order.

    Args:
        run: takes in the counts.
        source: a plain file.
        count: ranges.
        write: gives the bytes that a batch passes on; None when nothing is written.
        notes: gets remarks about the whole file.
    """
    import multiprocessing  # slow to import

    first, *others = parts_of(source, count)
    with TemporaryDirectory(prefix="frontier-validate-", dir=_scratch()) as folder:
        context = multiprocessing.get_context("fork")
        workers = []
        try:
            for number, part in enumerate(others):
                target = os.path.join(folder, str(number))
                new = Validation(run.settings, run.spec)
                worker = context.Process(target=_work, args=(new, source, part, target, write), daemon=True)
                worker.start()
                workers.append((worker, target))
            for batch in run.batches(source, part=first, keeps=write is not None):
                yield batch.judged, write(batch) if write and batch.lines else b"", batch.num_accepted
            for worker, target in workers:
                worker.join()
                yield from _merge(run, target, worker.exitcode)
        finally:
            for worker, _ in workers:
                worker.kill()
    run.ends.tell(notes)


def _work(run: Validation, source: str, part: Part, target: str, write: Write | None) -> None:
    report = _Report(run)
    try:
        with open(target + ".lines", "wb") as file:
            for batch in run.batches(source, part=part, keeps=write is not None):
                report.judged += [judged for judged in batch.judged if judged.verdict.findings]
                report.num_accepted += batch.num_accepted
                if write and batch.lines:
                    file.write(write(batch))
    except FrontierError as error:
        report = _Report(error=error)
    with open(target, "wb") as file:
        pickle.dump(report, file)


def _merge(run: Validation, target: str, code: int | None) -> Iterator[tuple[list[Judged], bytes, int]]:
    """Yields what a worker did, with line numbers of the whole file, and takes its counts in."""
    if code != 0:
        raise EnvironmentMissing(f"a worker ended with code {code}", hint="was memory short? --workers 1 needs least")
    with open(target, "rb") as file:
        report: _Report = pickle.load(file)
    if report.error is not None or report.run is None:
        raise report.error or EnvironmentMissing("a worker sent nothing back")
    before = run.num_lines
    judged = [line.moved(before) for line in report.judged]
    run.absorb(report.run, before)
    with open(target + ".lines", "rb") as file:
        yield judged, b"", report.num_accepted
        while block := file.read(1 << 20):
            yield [], block, 0


def _scratch() -> str | None:
    """Gives the folder for what workers pass on: TMPDIR or the system's default."""
    return os.environ.get("TMPDIR") or None
