"""`frontier convert`, end to end: rows of one tool's form in, rows of another's out, what can't be taken held back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from frontier_core.errors import DataError, place
from frontier_core.jsonl import Row, read_rows
from frontier_core.lineage import mark
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from frontier_core.rejects import reject_record
from frontier_core.schemas import guess_spec
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, earlier, silent
from generators import dialects
from generators.dialects import DialectName

PRODUCER = "convert@1.0.0"


def convert(
    source: str,
    target: Target,
    *,
    to: DialectName,
    form: DialectName | None = None,
    skill: str = "imported",
    profile: ProfileName | None = None,
    keep_metadata: bool = True,
    on_reject: Note = silent,
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Converts every row; one that has no such form goes to the rejects file with the reason.

    Args:
        source: a file of rows, "-" for standard input.
        target: where they go.
        to: the form to write.
        form: the form they are in; None tells it from each row's keys.
        skill: metadata.skill of rows that name none.
        profile: what assistant texts are dressed in; None leaves them as they are.
        keep_metadata: False leaves metadata out, for tools that refuse keys they do not know.
    """
    params = {"to": to, "from": form or "auto", "skill": skill, "profile": profile or "as it is"}
    params |= {} if keep_metadata else {"bare": "yes"}
    about: dict[str, Any] = {"producer": PRODUCER, "params": params}
    if done := earlier(target, "convert", [source], **about):
        return done

    def converted(row: Row) -> Record:
        if row.problem is not None:
            raise row.problem
        record = dialects.from_dialect(row.record, form or dialects.sniff(row.record), skill=skill)
        if guess_spec(record) is None:
            raise DataError("the row has no form that a spec knows", code="unknown_form", hint="name it with --from")
        record = mark(record, PRODUCER) if keep_metadata else record
        record = dialects.to_dialect(record, to)
        record = dialects.with_profile(record, profile) if profile else record
        return record if keep_metadata else {key: value for key, value in record.items() if key != "metadata"}

    with StageWriter(target, "convert", [source], judges=True, **about) as writer:
        for row in read_rows(source):
            writer.result.num_in += 1
            try:
                writer.accept(converted(row))
            except DataError as error:
                on_reject(f"{place(row.path, row.number, error.pointer)}{error.problem} [{error.code}]")
                found = {"code": error.code, "message": error.problem, "pointer": error.pointer, "remedy": error.hint}
                writer.reject(reject_record(row.raw, path=row.path, line=row.number, **found))
            if on_progress:
                on_progress(writer.result.num_in)
    return writer.result
