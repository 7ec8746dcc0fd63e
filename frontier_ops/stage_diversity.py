"""`synth dedup` and `synth coverage`, end to end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from frontier_core.errors import ConfigError
from frontier_core.jsonl import Row, read_rows
from frontier_core.lineage import mark
from frontier_core.rejects import reject_record
from frontier_ops.spread import Spread
from frontier_ops.stage_files import StageResult, StageWriter, Target, earlier
from validators.base import problem_findings

if TYPE_CHECKING:
    from validators.near_duplicates import Bands, By, ReadText

PRODUCER = "dedup@2.0.0"
CHUNK_ROWS = 256
"""Texts read by one task of a cluster."""


def dedup(
    source: str,
    target: Target,
    *,
    threshold: float,
    by: By,
    spread: Spread | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Keeps the first record of each kind; a near-duplicate goes to the rejects file with the line it repeats.

    Args:
        source: records.
        target: where the kept ones go.
        threshold: Jaccard similarity of word triples, above 0 to 1.
        by: compare prompts alone, or prompts with answers.
        spread: reads the texts on a Ray cluster; which of them repeat is decided here, in order.
        on_progress: told the number of records read.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"--threshold {threshold} is not above 0 and at most 1")
    about: dict[str, Any] = {"producer": PRODUCER, "params": {"threshold": threshold, "by": by}}
    if done := earlier(target, "synth dedup", [source], **about):
        return done
    from validators.near_duplicates import NearDuplicateFilter  # and with it numpy

    seen = NearDuplicateFilter(threshold)
    with StageWriter(target, "synth dedup", [source], judges=True, **about) as writer:
        for row, read in _read(source, by, seen.bands, spread):
            writer.result.num_in += 1
            if row.problem is not None:
                found = problem_findings(row.problem)[0]
                code, message = found.code, found.message
            else:
                twin = seen.add_read(row.number, read)
                if twin is None:
                    writer.accept(mark(row.record, PRODUCER))
                    continue
                code, message = "near_duplicate", f"repeats line {twin.number} (similarity {twin.similarity:.2f})"
            writer.reject(reject_record(row.raw, path=row.path, line=row.number, code=code, message=message))
            if on_progress:
                on_progress(writer.result.num_in)
    return writer.result


def _read(source: str, by: By, bands: Bands, spread: Spread | None) -> Iterator[tuple[Row, ReadText | None]]:
    """Yields each row with what the filter needs of its text."""
    from validators.near_duplicates import read_text, text_of

    if spread is None:
        for row in read_rows(source):
            yield row, None if row.problem is not None else read_text(text_of(row.record, by), bands)
        return
    waiting: deque[list[Row]] = deque()

    def chunks() -> Iterator[list[str]]:
        rows = iter(read_rows(source))
        while chunk := list(islice(rows, CHUNK_ROWS)):
            waiting.append(chunk)
            yield ["" if row.problem is not None else text_of(row.record, by) for row in chunk]

    for read in spread.map(partial(_read_texts, bands), chunks()):
        yield from zip(waiting.popleft(), read, strict=True)


def _read_texts(bands: Bands, texts: Sequence[str]) -> list[ReadText | None]:
    from validators.near_duplicates import read_text

    return [read_text(text, bands) for text in texts]


def coverage(source: str, wanted: Iterable[tuple[str, int]] = ()) -> dict[str, Any]:
    """Counts what a file of records covers.

    Args:
        source: records.
        wanted: cells (skill, level) there should be; those without a record are named.
    Raises:
        DataError: a line is no record; names it.
    """
    from generators.diversity import Coverage

    counted = Coverage()
    for row in read_rows(source):
        if row.problem is not None:
            raise row.problem
        counted.add(row.record)
    return counted.report(wanted)
