"""`synth verify`, end to end: every plan run in a sandbox, every skill answer recomputed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from frontier_core.errors import place
from frontier_core.jsonl import Row, read_rows
from frontier_core.lineage import mark
from frontier_core.records import Record
from frontier_core.rejects import reject_record
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, silent
from validators import execution_gate
from validators.base import ACCEPTED, Verdict, problem_findings
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Limits, Sandbox
from validators.schema_gate import SchemaGate


def verify(
    source: str,
    target: Target,
    *,
    sandbox: str = "auto",
    limits: Limits | None = None,
    workers: int = 2,
    on_note: Note = silent,
    on_reject: Note = silent,
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Runs every plan in a sandbox and recomputes every skill answer; keeps what holds.

    A line that can't be judged (a tool the sandbox lacks) is neither accepted nor rejected: it goes to the rejects
    file with code `sandbox_error` and is counted in `unverified`.
    """
    opened: list[Sandbox] = []

    def factory() -> Sandbox:
        box = open_sandbox(sandbox, limits=limits or Limits(), on_note=on_note)
        on_note(f"sandbox: {box.name}")
        opened.append(box)
        return box

    params: dict[str, Any] = {}
    producer = f"{execution_gate.VALIDATOR_NAME}@{execution_gate.VALIDATOR_VERSION}"
    with StageWriter(target, "synth verify", [source], judges=True, producer=producer, params=params) as writer:
        result = writer.result
        for row, verdict in _judged(source, factory, workers):
            result.num_in += 1
            if on_progress:
                on_progress(result.num_in)
            if verdict.ok:
                backend = verdict.details.get("backend", "recomputed")
                writer.accept(mark(row.record, f"verify:{producer}/{backend}"))
            elif verdict.code == "sandbox_error":
                result.unverified[verdict.message] = result.unverified.get(verdict.message, 0) + 1
                writer.keep(_reject_line(row, verdict))
            else:
                line = _reject_line(row, verdict)
                on_reject(f"{place(row.path, row.number, line['pointer'])}{line['message']} [{line['code']}]")
                writer.reject(line)
        if opened:
            params["sandbox"] = opened[0].describe()
        if result.unverified:
            params["unverified"] = result.unverified
    return result


def _judged(source: str, factory: Callable[[], Sandbox], workers: int) -> Iterator[tuple[Row, Verdict]]:
    """Yields every line with its verdict in input order; only lines that keep their schema reach the sandbox."""
    gate = SchemaGate()
    waiting: deque[tuple[Row, Verdict | None]] = deque()

    def records() -> Iterator[Record]:
        for row in read_rows(source):
            findings = problem_findings(row.problem) if row.problem else gate.check(row.record)[1]
            waiting.append((row, Verdict(findings=findings) if findings else None))
            if not findings:
                yield row.record

    def settled() -> Iterator[tuple[Row, Verdict]]:
        while waiting and waiting[0][1] is not None:
            row, verdict = waiting.popleft()
            yield row, verdict or ACCEPTED

    for _, verdict in execution_gate.judge_stream(records(), sandbox_factory=factory, workers=workers):
        yield from settled()
        yield waiting.popleft()[0], verdict
    yield from settled()


def _reject_line(row: Row, verdict: Verdict) -> Record:
    first = next(finding for finding in verdict.findings if finding.severity == "error")
    return reject_record(
        row.raw, path=row.path, line=row.number, code=first.code, message=first.message,
        pointer=first.pointer, remedy=first.remedy, **verdict.details,
    )  # fmt: skip
