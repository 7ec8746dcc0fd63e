"""`frontier import`, end to end: files of other tools in, records of our contract out, each row counted once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from frontier_core.errors import DataError, place
from frontier_core.lineage import mark
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from frontier_core.rejects import reject_record
from frontier_ops.spread import Spread
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, earlier, silent
from generators.dialects import with_profile
from generators.foreign_files import ForeignRow, Part, parts_of, rows_in
from generators.imports import FormName, Importer, Think
from validators.schema_gate import SchemaGate

PRODUCER = "import@1.0.0"
CHUNK_ROWS = 256
"""Rows taken by one task of a cluster."""


def import_files(
    sources: Sequence[str],
    target: Target,
    *,
    form: FormName | None = None,
    think: Think = "strip",
    profile: ProfileName | None = None,
    split: str = "",
    defaults: Record | None = None,
    spread: Spread | None = None,
    on_reject: Note = silent,
    on_note: Note = silent,
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Takes every row of every file; one that can't be a record goes to the rejects file with the reason.

    Args:
        sources: files or dataset folders; "-" for standard input.
        target: where records go.
        form: the form of all rows; None tells it row by row.
        think: what becomes of `<think>` blocks.
        profile: what answers are dressed in; None leaves them as they are.
        split: only this split of datasets; "" takes `train` where there is one, else all.
        defaults: metadata of rows that say nothing of their own.
        spread: takes the rows on a Ray cluster; the bytes are the same.
    Raises:
        DataError: not one file could be read.
    """
    params = {"from": form or "auto", "think": think, "profile": profile or "as it is", "split": split or "train"}
    params |= defaults or {}
    about: dict[str, Any] = {"producer": PRODUCER, "params": params}
    if done := earlier(target, "import", sources, **about):
        return done
    parts = [(source, part) for source in sources for part in _chosen(source, split, on_note)]
    files: list[dict[str, Any]] = []
    unreadable: list[DataError] = []
    with StageWriter(target, "import", sources, judges=True, **about) as writer:
        for source, part in parts:
            name = "" if source == "-" else Path(source).name if Path(source).is_dir() else part.path.name
            taker = Taker(form=form, think=think, defaults=defaults, profile=profile, name=name, split=part.split)
            job = _File(part, taker, writer, on_reject, on_progress)
            try:
                job.run(spread)
            except DataError as error:
                unreadable.append(error)
                job.refuse_file(error)
            files.append(job.facts(source))
            on_note(job.told())
        if unreadable and writer.result.num_in == len(unreadable):
            raise unreadable[0]
    writer.result.report = {
        "schema": "import_report_v1", "num_in": writer.result.num_in, "num_out": writer.result.num_out,
        "num_rejected": writer.result.num_rejected, "rejects": dict(writer.result.tally.rejects.most_common()),
        "files": files,
    }  # fmt: skip
    return writer.result


def _chosen(source: str, split: str, on_note: Note) -> list[Part]:
    """Gives the files of a source, those of other splits left out and named."""
    parts = parts_of(source)
    splits = list(dict.fromkeys(part.split for part in parts))
    if splits in ([], [""]):
        return parts
    wanted = split or ("train" if "train" in splits else "")
    if not wanted:
        return parts
    left = [name or "(unnamed)" for name in splits if name != wanted]
    if left:
        on_note(f"{source}: takes the split {wanted}, leaves {', '.join(left)} (--split NAME takes another)")
    return [part for part in parts if part.split == wanted]


class Taken(NamedTuple):
    """A row's record and the form it was told by, or why it can't be one; and how many `<think>` blocks went."""

    form: str
    record: Record
    problem: DataError | None
    num_stripped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """Makes records of a file's rows; what `import_files` was asked for, the file's name and its split."""

    form: FormName | None
    think: Think
    defaults: Record | None
    profile: ProfileName | None
    name: str
    split: str

    def take(self, rows: Sequence[ForeignRow]) -> list[Taken]:
        """Takes rows, each by itself."""
        return list(self.each(rows))

    def each(self, rows: Iterable[ForeignRow]) -> Iterator[Taken]:
        """Takes rows as they come."""
        importer = Importer(self.form, think=self.think, defaults=self.defaults)
        gate = SchemaGate()
        return (self._one(row, importer, gate) for row in rows)

    def _one(self, row: ForeignRow, importer: Importer, gate: SchemaGate) -> Taken:
        before = importer.num_stripped
        try:
            if row.problem is not None:
                raise row.problem
            form, record = importer.take(row.value, source=self.name, split=self.split)
            record = mark(record, PRODUCER)
            if self.profile:
                record = with_profile(record, self.profile)
            _, findings = gate.check(record)
            if findings:
                raise findings[0].as_error("", 0)
        except DataError as error:
            return Taken("", {}, error, importer.num_stripped - before)
        return Taken(form, record, None, importer.num_stripped - before)


class _File:
    """One file on its way in."""

    def __init__(self, part: Part, taker: Taker, writer: StageWriter, on_reject: Note, on_progress: Any) -> None:
        self.part, self.taker, self.writer = part, taker, writer
        self.on_reject, self.on_progress = on_reject, on_progress
        self.forms: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.num_in = 0
        self.num_stripped = 0

    def run(self, spread: Spread | None) -> None:
        """Takes every row; only a file that can't be read raises."""
        for row, taken in self._rows(spread):
            self.num_in += 1
            self.num_stripped += taken.num_stripped
            self.writer.result.num_in += 1
            if taken.problem is not None:
                self._refuse(row, taken.problem)
            else:
                self.forms[taken.form] += 1
                self.writer.accept(taken.record)
            if self.on_progress:
                self.on_progress(self.writer.result.num_in)

    def _rows(self, spread: Spread | None) -> Iterator[tuple[ForeignRow, Taken]]:
        waiting: deque[ForeignRow] = deque()
        unreadable: list[DataError] = []

        def rows() -> Iterator[ForeignRow]:
            try:
                for row in rows_in(self.part):
                    waiting.append(row)
                    yield row
            except DataError as error:  # what was read before it counts
                unreadable.append(error)

        if spread is None:
            taken = self.taker.each(rows())
        else:
            source = rows()
            chunks = iter(lambda: list(islice(source, CHUNK_ROWS)), [])
            taken = chain.from_iterable(spread.map(self.taker.take, chunks))
        for found in taken:
            yield waiting.popleft(), found
        if unreadable:
            raise unreadable[0]

    def _refuse(self, row: ForeignRow, error: DataError) -> None:
        self.rejects[error.code] += 1
        self.on_reject(f"{place(row.path, row.number, error.pointer)}{error.problem} [{error.code}]")
        found = {"code": error.code, "message": error.problem, "pointer": error.pointer, "remedy": error.hint}
        self.writer.reject(reject_record(row.raw, path=row.path, line=row.number, **found))

    def refuse_file(self, error: DataError) -> None:
        """Keeps a file that can't be read (any further) as one row and one reject, on line 0 where all is meant."""
        self.writer.result.num_in += 1
        self._refuse(ForeignRow(str(self.part.path), error.line, b"", None), error)

    def facts(self, source: str) -> dict[str, Any]:
        """Gives what came of the file, for the report."""
        return {
            "path": str(self.part.path), "source": source, "split": self.part.split, "num_in": self.num_in,
            "num_out": self.forms.total(), "forms": dict(self.forms.most_common()),
            "rejects": dict(self.rejects.most_common()), "think_stripped": self.num_stripped,
        }  # fmt: skip

    def told(self) -> str:
        """Gives what came of the file, in words."""
        forms = ", ".join(f"{count} {form}" for form, count in self.forms.most_common()) or "none"
        told = f"{self.part.path}: took {self.forms.total()} of {self.num_in} rows ({forms})"
        stripped = self.num_stripped
        return told + (f", <think> taken out of {stripped} answers" if stripped else "")
