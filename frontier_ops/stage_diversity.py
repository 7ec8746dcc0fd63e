"""`synth dedup` and `synth coverage`, end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.jsonl import read_rows
from frontier_core.lineage import mark
from frontier_core.rejects import reject_record
from frontier_ops.stage_files import StageResult, StageWriter, Target, earlier
from generators.diversity import Coverage
from validators.base import problem_findings
from validators.near_duplicates import By, NearDuplicateFilter, text_of

PRODUCER = "dedup@2.0.0"


def dedup(
    source: str, target: Target, *, threshold: float, by: By, on_progress: Callable[[int], None] | None = None
) -> StageResult:
    """Keeps the first record of each kind; a near-duplicate goes to the rejects file with the line it repeats.

    Args:
        source: records.
        target: where the kept ones go.
        threshold: Jaccard similarity of word triples, above 0 to 1.
        by: compare prompts alone, or prompts with answers.
        on_progress: told the number of records read.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"--threshold {threshold} is not above 0 and at most 1")
    about: dict[str, Any] = {"producer": PRODUCER, "params": {"threshold": threshold, "by": by}}
    if done := earlier(target, "synth dedup", [source], **about):
        return done
    seen = NearDuplicateFilter(threshold)
    with StageWriter(target, "synth dedup", [source], judges=True, **about) as writer:
        for row in read_rows(source):
            writer.result.num_in += 1
            if row.problem is not None:
                found = problem_findings(row.problem)[0]
                code, message = found.code, found.message
            else:
                twin = seen.add(row.number, text_of(row.record, by))
                if twin is None:
                    writer.accept(mark(row.record, PRODUCER))
                    continue
                code, message = "near_duplicate", f"repeats line {twin.number} (similarity {twin.similarity:.2f})"
            writer.reject(reject_record(row.raw, path=row.path, line=row.number, code=code, message=message))
            if on_progress:
                on_progress(writer.result.num_in)
    return writer.result


def coverage(source: str, wanted: Iterable[tuple[str, int]] = ()) -> dict[str, Any]:
    """Counts what a file of records covers.

    Args:
        source: records.
        wanted: cells (skill, level) there should be; those without a record are named.
    Raises:
        DataError: a line is no record; names it.
    """
    counted = Coverage()
    for row in read_rows(source):
        if row.problem is not None:
            raise row.problem
        counted.add(row.record)
    return counted.report(wanted)
