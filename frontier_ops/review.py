"""A person's verdict on records whose template asks for one: decisions in a journal, applied to the file at the end.

A decision is one line beside the file (FILE.review.jsonl), appended and durable at once, so that a review goes on where
it was left, on this machine or, exported, on another. A record is known by its content, never by its line number. How
records are shown and keys are read is frontier_cli/commands/synth_review.py.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, get_args

from frontier_core.atomic import write_bytes
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import Output, append_line, dumps, loads, read_rows
from frontier_core.nearest import did_you_mean
from frontier_core.records import Record, last_assistant, metadata_of
from frontier_core.rejects import reject_record
from frontier_ops.stage_files import StageResult, StageWriter, Target
from validators.base import Finding, problem_findings
from validators.schema_gate import SchemaGate

DecisionName = Literal["accept", "edit", "reject"]
DECISIONS: tuple[DecisionName, ...] = get_args(DecisionName)
UNDO = "undo"
COLUMNS = ("key", "line", "skill", "level", "prompt", "answer", "decision", "reason", "reviewer", "record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A record that waits for a person: where it stands and what it is."""

    key: str
    line: int
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person said of a record: `record` is the edited one, {} unless edited; `at` is UTC, ISO 8601."""

    key: str
    decision: DecisionName
    reviewer: str
    reason: str = ""
    record: Record
    at: str


def journal_of(source: str) -> Path:
    """Gives the file of decisions beside a file of records."""
    if source == "-":
        raise UsageError("a review needs a file, not standard input", hint="frontier synth review FILE")
    return Path(source + ".review.jsonl")


def key_of(record: Record) -> str:
    """Gives a short digest of the record's content."""
    return blake2b(dumps(record), digest_size=12).hexdigest()


def asks_for_review(record: Record) -> bool:
    """Says whether the record's template asks for a person: metadata.review is yes or true."""
    return metadata_of(record).get("review") in (True, "yes")


def items(source: str, *, everything: bool = False) -> Iterator[Item]:
    """Yields the records that ask for a review, or all of them.

    Raises:
        DataError: a line is no record; names it.
    """
    for row in read_rows(source):
        if row.problem is not None:
            raise row.problem
        if everything or asks_for_review(row.record):
            yield Item(key=key_of(row.record), line=row.number, record=row.record)


class Journal:
    """The decisions on one file's records; the last one on a record holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._decisions: dict[str, Decision] = {}
        if path.exists():
            for row in read_rows(str(path)):
                if row.problem is not None:
                    continue  # a torn last line: that decision was never confirmed to anyone
                self._take(row.record, _decision(row.record, row.path, row.number))

    def __getitem__(self, key: str) -> Decision | None:
        return self._decisions.get(key)

    def _take(self, line: Record, decision: Decision | None) -> None:
        if decision is not None:
            self._decisions[decision.key] = decision
        elif line.get("decision") == UNDO:
            self._decisions.pop(str(line.get("key")), None)

    def add(
        self, item: Item, decision: DecisionName, *, reviewer: str, reason: str = "", record: Record | None = None
    ) -> None:
        """Writes a decision down; it is on disk when this returns.

        Raises:
            UsageError: a rejection without a reason, or nobody's decision.
            DataError: the edited record breaks its schema.
        """
        if decision == "reject" and not reason.strip():
            raise UsageError("a rejection needs a reason")
        if not reviewer.strip():
            raise UsageError("who decides? set a reviewer", hint="--reviewer NAME")
        if decision == "edit":
            problem = edit_problem(record or {})
            if problem is not None:
                raise problem.as_error(str(self.path), item.line)
        made = Decision(
            key=item.key, decision=decision, reviewer=reviewer.strip(), reason=reason.strip(),
            record=(record or {}) if decision == "edit" else {}, at=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        line = {name: getattr(made, name) for name in Decision.__slots__}
        append_line(self.path, {name: value for name, value in line.items() if value not in ("", {})})
        self._take(line, made)

    def forget(self, item: Item) -> None:
        """Takes a decision back."""
        append_line(self.path, {"key": item.key, "decision": UNDO})
        self._decisions.pop(item.key, None)


def _decision(line: Record, path: str, number: int) -> Decision | None:
    if line.get("decision") not in DECISIONS:
        return None
    try:
        return Decision(**{"record": {}, "at": "", **line})
    except TypeError as error:
        raise DataError(f"not a decision: {error}", path=path, line=number, code="wrong_type") from error


def edit_problem(record: Record) -> Finding | None:
    """Gives the first thing wrong with an edited record, None when its schema holds."""
    findings = SchemaGate().check(record)[1]
    return next((finding for finding in findings if finding.severity == "error"), None)


def apply(source: str, target: Target, journal: Journal, *, everything: bool = False) -> StageResult:
    """Writes what was accepted or edited, in the file's order; what was rejected goes to the rejects file.

    Records nobody asked about pass through. Undecided ones are left out and counted in `unverified`.
    """
    with StageWriter(target, "synth review", [source, str(journal.path)], judges=True, producer="review") as writer:
        for row in read_rows(source):
            writer.result.num_in += 1
            if row.problem is not None:
                found = problem_findings(row.problem)[0]
                writer.reject(_held_back(row.raw, source, row.number, found.code, found.message))
                continue
            decision = journal[key_of(row.record)]
            if decision is None and (everything or asks_for_review(row.record)):
                waiting = writer.result.unverified
                waiting["waits for a review"] = waiting.get("waits for a review", 0) + 1
            elif decision is None:
                writer.accept(row.record)
            elif decision.decision == "reject":
                reason = f"rejected by {decision.reviewer}: {decision.reason}"
                writer.reject(_held_back(row.raw, source, row.number, "rejected_by_review", reason))
            else:
                writer.accept(_reviewed(decision.record or row.record, decision))
    return writer.result


def _held_back(raw: bytes, source: str, line: int, code: str, message: str) -> Record:
    return reject_record(raw, path=source, line=line, code=code, message=message)


def _reviewed(record: Record, decision: Decision) -> Record:
    about = {"decision": decision.decision, "reviewer": decision.reviewer, "at": decision.at}
    if decision.reason:
        about["reason"] = decision.reason
    return {**record, "metadata": {**metadata_of(record), "review": about}}


def prompt_and_answer(record: Record) -> tuple[str, str]:
    """Gives what a person has to read: the prompt, and the plan or last answer."""
    if "instruction" in record:
        steps = record.get("output")
        commands = [step.get("command", "") if isinstance(step, dict) else step for step in steps or []]
        return str(record["instruction"]), "\n".join(map(str, commands))
    turns = [turn for turn in record.get("messages") or [] if isinstance(turn, dict)]
    last = max((number for number, turn in enumerate(turns) if turn.get("role") == "assistant"), default=len(turns))
    prompt = "\n".join(f"{turn.get('role')}: {_said(turn)}" for turn in turns[:last])
    return prompt, last_assistant(record)


def _said(turn: dict[str, Any]) -> str:
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in turn.get("tool_calls") or []]
    return "\n".join(filter(None, [str(turn.get("content") or ""), *calls]))


def export(source: str, target: str, journal: Journal, *, everything: bool = False) -> int:
    """Writes a sheet to review elsewhere: JSON Lines, or CSV by suffix; decisions made so far stand in it.

    Returns:
        How many records are in it.
    """
    lines = [_sheet_line(item, journal[item.key]) for item in items(source, everything=everything)]
    if not target.endswith(".csv"):
        with Output(target) as output:
            for line in lines:
                output.write(line)
        return len(lines)
    from io import StringIO

    text = StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    for line in lines:
        table.writerow({**line, "record": dumps(line["record"]).decode()})
    write_bytes(Path(target), text.getvalue().encode())
    return len(lines)


def _sheet_line(item: Item, decision: Decision | None) -> Record:
    prompt, answer = prompt_and_answer(item.record)
    metadata = metadata_of(item.record)
    said = {name: getattr(decision, name) if decision else "" for name in ("decision", "reason", "reviewer")}
    record = decision.record if decision and decision.record else item.record
    about = {"key": item.key, "line": item.line, "skill": metadata.get("skill"), "level": metadata.get("level")}
    return {**about, "prompt": prompt, "answer": answer, **said, "record": record}


def import_decisions(sheet: str, source: str, journal: Journal, *, reviewer: str, everything: bool = False) -> int:
    """Takes decisions from a filled-in sheet; an empty one decides nothing. All lines are checked before any is kept.

    Returns:
        How many decisions were new.
    Raises:
        DataError: a line names an unknown decision or record, lacks a reason, or an edited record breaks its schema.
    """
    waiting = {item.key: item for item in items(source, everything=everything)}
    new: list[tuple[Item, DecisionName, str, str, Record]] = []
    for number, line in _sheet_lines(sheet):
        said = str(line.get("decision") or "").strip().lower()
        if not said:
            continue
        item = waiting.get(str(line.get("key")))
        name = next((known for known in DECISIONS if known == said), None)
        if name is None:
            hint = did_you_mean(said, DECISIONS)
            raise DataError(f"unknown decision {said!r}", path=sheet, line=number, pointer="/decision", hint=hint)
        if item is None:
            raise DataError("no such record", path=sheet, line=number, pointer="/key", hint=f"is it of {source}?")
        reason, record = str(line.get("reason") or ""), line.get("record") or {}
        if name == "reject" and not reason.strip():
            raise DataError("a rejection needs a reason", path=sheet, line=number, pointer="/reason")
        problem = edit_problem(record) if name == "edit" else None
        if problem is not None:
            raise problem.as_error(sheet, number)
        before = journal[item.key]
        if before is None or (before.decision, before.reason) != (name, reason.strip()) or name == "edit":
            new.append((item, name, str(line.get("reviewer") or reviewer), reason, record))
    for item, name, who, reason, record in new:
        journal.add(item, name, reviewer=who, reason=reason, record=record)
    return len(new)


def _sheet_lines(sheet: str) -> Iterator[tuple[int, Record]]:
    if not sheet.endswith(".csv"):
        for row in read_rows(sheet):
            if row.problem is not None:
                raise row.problem
            yield row.number, row.record
        return
    try:
        with open(sheet, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            table = csv.DictReader(file, delimiter=max(",;\t", key=head.count))  # some spreadsheets write semicolons
            if missing := {"key", "decision"} - set(table.fieldnames or ()):
                raise DataError(f"lacks the column {min(missing)!r}", path=sheet, line=1, hint="--export makes a sheet")
            for number, line in enumerate(table, 2):
                try:
                    yield number, {**line, "record": loads(line.get("record") or "{}")}
                except ValueError as error:
                    raise DataError(f"not JSON: {error}", path=sheet, line=number, pointer="/record") from error
    except FileNotFoundError as error:
        raise UsageError(f"{sheet}: no such file") from error
