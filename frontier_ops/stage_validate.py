"""`frontier validate`, end to end: both gates over every line of a source."""

from __future__ import annotations

from collections.abc import Iterator

from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, silent
from validators import content_gate, schema_gate
from validators.base import GateSettings
from validators.bulk import Batch
from validators.judged import mark_of
from validators.validation import Validation


def validate(
    source: str,
    target: Target | None,
    *,
    settings: GateSettings,
    spec: str = "auto",
    on_reject: Note = silent,
    on_note: Note = silent,
) -> StageResult:
    """Holds every line against both gates. Without a target nothing is written but the report.

    Raises:
        DataError: the file as a whole can't be read (empty, UTF-16, a Git LFS pointer, ...).
    """
    run = Validation(settings, spec)
    notes: list[str] = []
    if target is None:
        for batch in _batches(run, source, notes):
            _complain(batch, on_reject)
        result = StageResult(tally=run.tally, num_out=run.num_records - run.tally.num_rejected)
    else:
        producer = f"{_gates()}/{settings.level}"
        params = {"level": settings.level, "spec": spec, "profile": settings.profile}
        inputs = [source, *map(str, settings.against)]
        with StageWriter(target, "validate", inputs, judges=True, producer=producer, params=params) as writer:
            result = writer.result
            result.tally = run.tally
            is_file = writer.output.path is not None
            for batch in _batches(run, source, notes):
                if batch.lines and not writer.output.is_null:
                    block = batch.data() if is_file else batch.marked(settings.level)
                    writer.output.write_block(block, len(batch.lines))
                for judged in batch.judged:
                    if not judged.verdict.ok:
                        writer.keep(judged.rejected())
                _complain(batch, on_reject)
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


def _batches(run: Validation, source: str, notes: list[str]) -> Iterator[Batch]:
    """Yields accepted lines beside the lines that were looked at more closely, in order."""
    if run.is_bulk:
        yield from run.batches(source, notes=notes)
        return
    for judged in run.judge(source, notes=notes):
        yield Batch([judged.row.raw + b"\n"] if judged.verdict.ok else [], 0, [judged])


def _complain(batch: Batch, on_reject: Note) -> None:
    for judged in batch.judged:
        if not judged.verdict.ok:
            on_reject(judged.complaint())


def _gates() -> str:
    return (
        f"{schema_gate.VALIDATOR_NAME}@{schema_gate.VALIDATOR_VERSION}"
        f"+{content_gate.VALIDATOR_NAME}@{content_gate.VALIDATOR_VERSION}"
    )
