"""`frontier validate`, end to end: both gates over every line of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from frontier_core.atomic import write_bytes
from frontier_core.jsonl import dumps
from frontier_ops.parallel_validate import Piece, Write, can_split, judge_on, judge_parts, num_parts, piece_of
from frontier_ops.spread import Spread
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, earlier, silent
from validators import content_gate, schema_gate
from validators.base import GateSettings
from validators.bulk import Batch
from validators.judged import Judged, mark_of
from validators.sample import Sampler, facts_of, records_of, sampled_lines, token_counter
from validators.validation import Validation


def validate(
    source: str,
    target: Target | None,
    *,
    settings: GateSettings,
    reuse: bool = False,
    spec: str = "auto",
    workers: int = 1,
    spread: Spread | None = None,
    on_reject: Callable[[Judged], None] = lambda _: None,
    on_note: Note = silent,
) -> StageResult:
    """Holds every line against both gates. Without a target nothing is written but the report.

    `spread` judges ranges of a plain file on a Ray cluster, at the level that compares no records.
    `on_reject` gets rejected lines: all of them, or of each worker but the first its first hundred.
    With `reuse` outputs that would come out the same byte for byte are left as they are, and there is no report.

    Raises:
        DataError: the file as a whole can't be read (empty, UTF-16, a Git LFS pointer, ...).
    """
    inputs = [source, *map(str, settings.against)]
    params = {"level": settings.level, "spec": spec, "profile": settings.profile}
    about: dict[str, Any] = {"producer": f"{_gates()}/{settings.level}", "params": params}
    may_reuse = reuse and settings.tokenizer is None
    if may_reuse and target is not None and (done := earlier(target, "validate", inputs, **about)):
        return done
    if settings.tokenizer is not None:
        token_counter(settings.tokenizer)  # one that can't be read is said before the work, not after
    run, piped = Validation(settings, spec), None if settings.level == "quick" or Path(source).is_file() else Sampler()
    notes: list[str] = []
    count = num_parts(source, workers) if run.has_parts else 1
    _say_one_process(run, source, workers, spread, on_note)
    pieces = partial(_pieces, spread if run.has_parts and can_split(source) else None)
    if target is None:
        for piece in pieces(run, source, count, None if piped is None else Batch.data, notes, keeps_rejects=False):
            _complain(piece, on_reject)
            if piped is not None:
                piped.take(piece.accepted.splitlines())
        result = StageResult(tally=run.tally, num_out=run.num_records - run.tally.num_rejected)
    else:
        with StageWriter(target, "validate", inputs, judges=True, **about) as writer:
            result = writer.result
            result.tally = run.tally
            is_file = writer.output.path is not None
            write = (
                None
                if writer.output.is_null and piped is None
                else Batch.data
                if is_file
                else partial(Batch.marked, level=settings.level)
            )
            keeps_rejects = target.rejects_path is not None
            for piece in pieces(run, source, count, write, notes, keeps_rejects=keeps_rejects):
                if piped is not None:
                    piped.take(piece.accepted.splitlines())
                if piece.accepted or piece.num_accepted:
                    writer.output.write_block(piece.accepted, piece.num_accepted)
                if piece.rejects or piece.num_rejects:
                    writer.keep_block(piece.rejects, piece.num_rejects)
                _complain(piece, on_reject)
            if is_file:
                # The records of a file stay as they were, byte for byte: its sidecar says what judged them.
                run.tally.marks[mark_of(settings.level)] += writer.output.num_records
    for text in notes:
        on_note(text)
    _look_at_sample(run, source, piped)
    for finding in run.whole_file:
        on_note(f"warning: {finding.message} [{finding.code}]")
    result.num_in = run.num_records
    result.report = run.report(source)
    return result


def _say_one_process(run: Validation, source: str, workers: int, spread: Spread | None, on_note: Note) -> None:
    """Says so when several were asked for and one process judges all the same."""
    if (workers > 1 or spread) and not run.has_parts:
        how = "--engine ray" if spread else f"--workers {workers}"
        on_note(f"{how}: level {run.settings.level} compares records, so one process judges them")
    elif spread and not can_split(source):
        on_note("--engine ray: a pipe or a compressed file has no ranges, so one process judges it")


def _look_at_sample(run: Validation, source: str, piped: Sampler | None) -> None:
    """Puts into a run what a sample shows: of the whole file, or of what a pipe let through."""
    if run.settings.level == "quick" or not (lines := sampled_lines(source) if piped is None else piped.lines):
        return
    facts, remarks = facts_of(records_of(lines), run.settings.tokenizer)
    run.facts = {**run.facts, **({"sample": facts} if facts else {})}
    run.whole_file = [*run.whole_file, *remarks]


def write_reports(report: dict[str, Any], *, sarif: str = "", html: str = "") -> None:
    """Writes the report of a validation in further forms, each to the file named, "" for none."""
    if sarif:
        from validators.sarif import sarif_of

        write_bytes(Path(sarif), dumps(sarif_of(report)) + b"\n")
    if html:
        from frontier_ops.validation_html import page

        write_bytes(Path(html), page(report).encode())


def _pieces(
    spread: Spread | None,
    run: Validation,
    source: str,
    count: int,
    write: Write | None,
    notes: list[str],
    *,
    keeps_rejects: bool,
) -> Iterator[Piece]:
    """Yields what became of the lines of a source, in order."""
    if spread is not None:
        yield from judge_on(spread, run, source, write=write, keeps_rejects=keeps_rejects, notes=notes)
        return
    if count > 1:
        yield from judge_parts(run, source, count, write=write, keeps_rejects=keeps_rejects, notes=notes)
        return
    if run.is_bulk:
        batches = run.batches(source, notes=notes, keeps=write is not None)
    else:
        batches = _one_by_one(run, source, notes)
    for batch in batches:
        yield piece_of(batch, write, keeps_rejects=keeps_rejects)


def _one_by_one(run: Validation, source: str, notes: list[str]) -> Iterator[Batch]:
    for judged in run.judge(source, notes=notes):
        yield Batch([judged.row.raw + b"\n"] if judged.verdict.ok else [], 0, int(judged.verdict.ok), [judged])


def _complain(piece: Piece, on_reject: Callable[[Judged], None]) -> None:
    for line in piece.rejected:
        on_reject(line)


def _gates() -> str:
    return (
        f"{schema_gate.VALIDATOR_NAME}@{schema_gate.VALIDATOR_VERSION}"
        f"+{content_gate.VALIDATOR_NAME}@{content_gate.VALIDATOR_VERSION}"
    )
