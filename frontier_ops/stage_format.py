"""`synth format`, end to end: verified records in another form, and pairs of them with failed candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from frontier_core.errors import DataError
from frontier_core.jsonl import Row, read_rows
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from frontier_ops.stage_files import StageResult, StageWriter, Target, earlier
from validators.base import problem_findings

if TYPE_CHECKING:
    from generators.formats import FormName
    from generators.pairs import Answered, PairForm

T = TypeVar("T")


def format_records(source: str, target: Target, *, form: FormName, profile: ProfileName) -> StageResult:
    """Writes every record in another form. A record that has none raises DataError with its line."""
    about: dict[str, Any] = {"producer": "", "params": {"form": form, "profile": profile}}
    if done := earlier(target, "synth format", [source], **about):
        return done
    from generators import formats
    from validators.schema_gate import SchemaGate

    gate = SchemaGate()
    with StageWriter(target, "synth format", [source], **about) as writer:
        for row in read_rows(source):
            findings = problem_findings(row.problem) if row.problem else gate.check(row.record)[1]
            if findings:
                raise findings[0].as_error(row.path, row.number)
            writer.accept(_at_row(row, partial(formats.convert, form=form, profile=profile)))
            writer.result.num_in += 1
    return writer.result


def pair_records(
    source: str, failed: str, target: Target, *, form: PairForm, profile: ProfileName, most: int = 1
) -> StageResult:
    """Writes preference pairs or sparring records of verified records and failed candidates to the same problems.

    Args:
        source: verified records.
        failed: a rejects file of `synth verify`, or records that are wrong.
        target: where they go.
        form: preference or sparring.
        profile: what answers are dressed in.
        most: failed answers used per verified record.
    Raises:
        DataError: a line can't be read or does not end in an answer; names it.
    """
    about: dict[str, Any] = {"producer": "", "params": {"form": form, "profile": profile, "most": most}}
    if done := earlier(target, "synth format", [source, failed], **about):
        return done
    from generators import pairs

    failures = pairs.Failures()
    for row in read_rows(failed):
        _at_row(row, failures.add)
    with StageWriter(target, "synth format", [source, failed], **about) as writer:

        def verified() -> Iterator[Answered]:
            for row in read_rows(source):
                writer.result.num_in += 1
                yield _at_row(row, pairs.answered)

        make = pairs.preferences if form == "preference" else pairs.sparring
        for record in make(verified(), failures, profile=profile, most=most):
            writer.accept(record)
    return writer.result


def _at_row(row: Row, action: Callable[[Record], T]) -> T:
    """Does something with a line's record; errors name the line."""
    if row.problem is not None:
        raise row.problem
    try:
        return action(row.record)
    except DataError as error:
        raise DataError(
            error.problem, path=row.path, line=row.number, pointer=error.pointer, hint=error.hint, code=error.code
        ) from error
