"""`frontier validate`, end to end: both gates over every line of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from frontier_core.atomic import write_bytes
from frontier_core.jsonl import dumps
from frontier_ops.parallel_validate import Write, judge_parts, num_parts
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, earlier, silent
from validators import content_gate, schema_gate
from validators.base import GateSettings
from validators.bulk import Batch
from validators.judged import Judged, mark_of
from validators.validation import Validation


def validate(
    source: str,
    target: Target | None,
    *,
    settings: GateSettings,
    reuse: bool = False,
    spec: str = "auto",
    workers: int = 1,
    on_reject: Callable[[Judged], None] = lambda _: None,
    on_note: Note = silent,
) -> StageResult:
    """Holds every line against both gates. Without a target nothing is written but the report.

    With `reuse` outputs that would come out the same byte for byte are left as they are, and there is no report.

    Raises:
        DataError: the file as a whole can't be read (empty, UTF-16, a Git LFS pointer, ...).
    """
    if reuse and target is not None and settings.tokenizer is None:
        producer, params = f"{_gates()}/{settings.level}", {"level": settings.level, "spec": spec}
        inputs, about = [source, *map(str, settings.against)], params | {"profile": settings.profile}
        if done := earlier(target, "validate", inputs, producer=producer, params=about):
            return done
    run = Validation(settings, spec)
    notes: list[str] = []
    count = num_parts(source, workers) if run.is_bulk else 1
    if workers > 1 and not run.is_bulk:
        on_note(f"--workers {workers}: level {settings.level} compares records, so one process judges them")
    if target is None:
        for judged, _, _ in _judged(run, source, count, None, notes):
            _complain([line for line in judged if not line.verdict.ok], on_reject)
        result = StageResult(tally=run.tally, num_out=run.num_records - run.tally.num_rejected)
    else:
        producer = f"{_gates()}/{settings.level}"
        params = {"level": settings.level, "spec": spec, "profile": settings.profile}
        inputs = [source, *map(str, settings.against)]
        with StageWriter(target, "validate", inputs, judges=True, producer=producer, params=params) as writer:
            result = writer.result
            result.tally = run.tally
            is_file = writer.output.path is not None
            write = (
                None
                if writer.output.is_null
                else Batch.data
                if is_file
                else partial(Batch.marked, level=settings.level)
            )
            for judged, block, num_accepted in _judged(run, source, count, write, notes):
                if block or num_accepted:
                    writer.output.write_block(block, num_accepted)
                rejected = [line for line in judged if not line.verdict.ok]
                writer.keep(*(line.rejected() for line in rejected))
                _complain(rejected, on_reject)
            if is_file:
                # The records of a file stay as they were, byte for byte: its sidecar says what judged them.
                run.tally.marks[mark_of(settings.level)] += writer.output.num_records
    for text in notes:
        on_note(text)
    for finding in run.whole_file:
        on_note(f"warning: {finding.message} [{finding.code}]")
    result.num_in = run.num_records
    result.report = run.report(source)
    return result


def write_reports(report: dict[str, Any], *, sarif: str = "", html: str = "") -> None:
    """Writes the report of a validation in further forms, each to the file named, "" for none."""
    if sarif:
        from validators.sarif import sarif_of

        write_bytes(Path(sarif), dumps(sarif_of(report)) + b"\n")
    if html:
        from frontier_ops.validation_html import page

        write_bytes(Path(html), page(report).encode())


def _judged(
    run: Validation, source: str, count: int, write: Write | None, notes: list[str]
) -> Iterator[tuple[list[Judged], bytes, int]]:
    """Yields (lines looked at more closely, accepted bytes, accepted records), in order."""
    if count > 1:
        yield from judge_parts(run, source, count, write=write, notes=notes)
        return
    if run.is_bulk:
        batches = run.batches(source, notes=notes, keeps=write is not None)
    else:
        batches = _one_by_one(run, source, notes)
    for batch in batches:
        yield batch.judged, write(batch) if write and batch.lines else b"", batch.num_accepted


def _one_by_one(run: Validation, source: str, notes: list[str]) -> Iterator[Batch]:
    for judged in run.judge(source, notes=notes):
        yield Batch([judged.row.raw + b"\n"] if judged.verdict.ok else [], 0, int(judged.verdict.ok), [judged])


def _complain(rejected: list[Judged], on_reject: Callable[[Judged], None]) -> None:
    for line in rejected:
        on_reject(line)


def _gates() -> str:
    return (
        f"{schema_gate.VALIDATOR_NAME}@{schema_gate.VALIDATOR_VERSION}"
        f"+{content_gate.VALIDATOR_NAME}@{content_gate.VALIDATOR_VERSION}"
    )
