"""`frontier validate`, end to end: both gates over every line of a source."""

from __future__ import annotations

from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, earlier, silent
from validators import content_gate, schema_gate
from validators.base import GateSettings
from validators.validation import Validation


def validate(
    source: str,
    target: Target | None,
    *,
    settings: GateSettings,
    reuse: bool = False,
    spec: str = "auto",
    on_reject: Note = silent,
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
    if target is None:
        for judged in run.judge(source, notes=notes):
            if not judged.verdict.ok:
                on_reject(judged.complaint())
        result = StageResult(tally=run.tally)
    else:
        producer = f"{_gates()}/{settings.level}"
        params = {"level": settings.level, "spec": spec, "profile": settings.profile}
        inputs = [source, *map(str, settings.against)]
        with StageWriter(target, "validate", inputs, judges=True, producer=producer, params=params) as writer:
            result = writer.result
            for judged in run.judge(source, notes=notes):
                if judged.verdict.ok:
                    writer.output.write_raw(judged.accepted_line(settings.level))
                    result.tally.add(judged.row.record)
                    result.tally.specs[judged.spec] += 1
                else:
                    on_reject(judged.complaint())
                    writer.reject(judged.rejected())
    for text in notes:
        on_note(text)
    for finding in run.whole_file:
        on_note(f"warning: {finding.message} [{finding.code}]")
    result.num_in = run.num_records
    result.report = run.report(source)
    return result


def _gates() -> str:
    return (
        f"{schema_gate.VALIDATOR_NAME}@{schema_gate.VALIDATOR_VERSION}"
        f"+{content_gate.VALIDATOR_NAME}@{content_gate.VALIDATOR_VERSION}"
    )
