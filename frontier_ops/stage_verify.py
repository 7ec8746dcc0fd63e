"""`synth verify`, end to end: every plan run in a sandbox, every skill answer recomputed, no plan run twice.

Verdicts of plans are kept in a journal beside a file output while the run goes, and, if asked, in a cache that outlives
it (verify_journal.py); where plans run is engines.py. Answers are recomputed each time, which costs less than keeping.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from frontier_core.errors import DataError, place
from frontier_core.in_order import in_order
from frontier_core.jsonl import Output, Row, dumps, read_rows
from frontier_core.lineage import mark, read_sidecar
from frontier_core.records import Record
from frontier_core.rejects import reject_record
from frontier_core.version import __version__
from frontier_ops.engines import Engine, Judging, open_engine, same_sandbox
from frontier_ops.stage_files import Note, StageResult, StageWriter, Target, earlier, refuse_clash, silent
from frontier_ops.verify_journal import JOURNAL_SUFFIX, VerdictFile, verdict_key
from frontier_ops.verify_report import NOT_JUDGED, Counts, reject_details, verdict_line
from validators import execution_gate
from validators.base import Verdict, problem_findings
from validators.plans import is_plan, pointer_as_written
from validators.sandbox.contract import Json, limits_json
from validators.schema_gate import SchemaGate

LOOK_AHEAD = 8
"""Lines read beyond the one being waited for, per plan run at once."""
PRODUCER = f"{execution_gate.VALIDATOR_NAME}@{execution_gate.VALIDATOR_VERSION}"
Listener = Callable[[int, Mapping[str, int]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Which engine runs the plans, and how many at once; `address` is that of a Ray cluster, "" for one made here."""

    name: str = "local"
    workers: int = 2
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One line with its verdict. `origin`: run, remembered (in a journal or cache), or computed without a sandbox."""

    row: Row
    record: Record
    verdict: Verdict
    key: str = ""
    origin: str = "computed"


def verify(
    source: str,
    target: Target,
    *,
    judging: Judging | None = None,
    engines: Engines | None = None,
    cache: str = "",
    verdicts: str = "",
    allow_unverified: bool = False,
    reuse: bool = False,
    on_note: Note = silent,
    on_reject: Note = silent,
    on_progress: Listener | None = None,
) -> StageResult:
    """Runs every plan in a sandbox and recomputes every skill answer; keeps what holds.

    A line that can't be judged is neither accepted nor rejected: it goes to the rejects file as `sandbox_error` and is
    counted in `unverified`. A run that was killed is taken up by the same call, to the same bytes.

    Args:
        source: records, or raw candidates `{intent, plan}`; "-" for standard input.
        cache: a file of verdicts that outlives the run and may be shared by several; "" for none.
        verdicts: gets one line per line read, of schema verdict_v1; "" for none.
        allow_unverified: lines that can't be judged are left for good; else the journal stays, for the next try.
        reuse: outputs of a run that was asked for the same are left as they are, and there is no report.
        on_progress: gets how many lines are done and how many have which verdict.
    Returns:
        Counts; `report` is the summary for people and `--json`.
    Raises:
        ConfigError: a fixture pack is no fixture.
        EnvironmentMissing: another run writes this output, no sandbox works here, Ray is not installed.
    """
    judging, engines = judging or Judging(), engines or Engines()
    if reuse and (done := _earlier(source, target, judging)):
        return done
    judging.fixtures.check()
    params: Json = {}
    counts, began = Counts(), time.monotonic()
    refuse_clash([source], target, verdicts=verdicts, cache=cache)
    with ExitStack() as stack:
        journal = _open_journal(target, stack, on_note)
        memory = [journal] if journal is not None else []
        if cache:
            memory.append(stack.enter_context(closing(VerdictFile(Path(cache), is_shared=True))))
        engine = open_engine(engines.name, judging, workers=engines.workers, address=engines.address, on_note=on_note)
        stack.callback(engine.close)
        judge = _Judge(engine, judging, memory)
        with (
            StageWriter(target, "synth verify", [source], judges=True, producer=PRODUCER, params=params) as writer,
            Output(verdicts) if verdicts else nullcontext() as lines,
            closing(judge.stream(source)) as stream,  # what is under way ends before the journal closes
        ):
            for judged in stream:
                counts.add(judged.record, judged.verdict, judged.origin)
                _write(judged, writer, lines, on_reject)
                if on_progress:
                    on_progress(counts.num_in, counts.codes)
            params |= _params(judge, judging, counts, writer.result)
        if journal is not None and (allow_unverified or not writer.result.unverified):
            journal.remove()  # the output is whole: nobody will ask again
    result = writer.result
    result.num_in = counts.num_in
    result.report = counts.report(judge.description, workers=engine.num_slots, wall_s=time.monotonic() - began)
    return result


def _earlier(source: str, target: Target, judging: Judging) -> StageResult | None:
    """Gives the result of an earlier run over the same lines, asked for the same; its sandbox is taken on its word."""
    try:
        meta = (read_sidecar(Path(target.output)) if target.output != "-" else None) or {}
    except DataError:
        return None
    params = meta.get("params", {})
    if "unverified" in params or params.get("asked", _asked(judging)) != _asked(judging):
        return None
    return earlier(target, "synth verify", [source], producer=PRODUCER, params=params)


def _asked(judging: Judging) -> str:
    """Gives what stands for all that was asked of the judge of plans."""
    asked = [judging.sandbox, judging.runtime, limits_json(judging.limits), judging.rules.as_json(), judging.repeat]
    return sha256(dumps([*asked, judging.fixtures.packs, judging.fixtures.is_auto])).hexdigest()[:16]


def journal_path(target: Target) -> Path | None:
    """Gives where the verdicts of an unfinished run are kept; None when the output is no file of its own."""
    path = Path(target.output)
    if target.output == "-" or (path.exists() and not path.is_file()):
        return None
    return path.with_name(path.name + JOURNAL_SUFFIX)


def count_lines(source: str) -> int | None:
    """Gives how many lines a plain file has, for a progress bar; None for a pipe or a compressed file."""
    path = Path(source)
    if source == "-" or not path.is_file() or path.suffix in (".gz", ".zst"):
        return None
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def _open_journal(target: Target, stack: ExitStack, on_note: Note) -> VerdictFile | None:
    path = journal_path(target)
    if path is None:
        return None
    journal = stack.enter_context(closing(VerdictFile(path, is_shared=False)))
    if len(journal):
        on_note(f"going on from {path}: {len(journal)} verdicts")
    return journal


def _write(judged: Judged, writer: StageWriter, lines: Output | None, on_reject: Note) -> None:
    verdict, row = _as_written(judged.verdict, judged.row.record), judged.row
    if lines is not None:
        lines.write(verdict_line(row, judged.record, verdict, judged.key, judged.origin))
    if verdict.ok:
        backend = verdict.details.get("backend", "recomputed")
        writer.accept(mark(judged.record, f"verify:{PRODUCER}/{backend}"))
        return
    first = next(finding for finding in verdict.findings if finding.severity == "error")
    line = reject_record(
        row.raw, path=row.path, line=row.number, code=first.code, message=first.message,
        pointer=first.pointer, remedy=first.remedy, **reject_details(verdict),
    )  # fmt: skip
    if verdict.code == NOT_JUDGED:
        unverified = writer.result.unverified
        unverified[verdict.message] = unverified.get(verdict.message, 0) + 1
        writer.keep(line)
    else:
        on_reject(f"{place(row.path, row.number, first.pointer)}{first.message} [{first.code}]")
        writer.reject(line)


def _as_written(verdict: Verdict, record: Record) -> Verdict:
    """Gives a verdict whose pointers go into the line that was read, not into the plan_v1 form it was judged in."""
    if not verdict.findings or not is_plan(record):
        return verdict
    moved = (replace(found, pointer=pointer_as_written(record, found.pointer)) for found in verdict.findings)
    return replace(verdict, findings=tuple(moved))


def _params(judge: _Judge, judging: Judging, counts: Counts, result: StageResult) -> Json:
    """Gives what the sidecar keeps of how it was judged."""
    params: Json = {"sandbox": judge.description} if judge.description else {}
    if judge.description:
        params |= {"rules": judging.rules.as_json(), "repeat": judging.repeat, "asked": _asked(judging)}
    if counts.num_remembered:
        params["remembered"] = counts.num_remembered
    if result.unverified:
        params["unverified"] = result.unverified
    return params


class _Judge:
    """Judges lines, in threads: from memory where it can, else by the engine, and remembers what was run."""

    def __init__(self, engine: Engine, judging: Judging, memory: list[VerdictFile]) -> None:
        self.description: Json = {}
        self._engine = engine
        self._judging = judging
        self._memory = memory
        self._gate = SchemaGate()

    def stream(self, source: str) -> Generator[Judged, None, None]:
        """Yields every line with its verdict, in input order."""
        slots = self._engine.num_slots
        return in_order(
            read_rows(source), self._judge, workers=slots, look_ahead=LOOK_AHEAD * slots, stop=self._engine.close
        )

    def _judge(self, row: Row) -> Judged:
        record = execution_gate.as_judged(row.record, self._judging.fixtures)
        findings = problem_findings(row.problem) if row.problem else self._gate.check(record)[1]
        if findings:
            return Judged(row=row, record=record, verdict=Verdict(findings=findings))
        if not is_plan(record):
            return Judged(row=row, record=record, verdict=execution_gate.judge_answer(record))
        self.description = self._engine.start()
        key = verdict_key(record, judge_bytes(self.description, self._judging))
        for file in self._memory:
            if (verdict := file.find(key)) is not None:
                return Judged(row=row, record=record, verdict=verdict, key=key, origin="remembered")
        verdict = self._engine.judge(record)
        if not was_run(verdict):
            return Judged(row=row, record=record, verdict=verdict, key=key)
        if verdict.code != NOT_JUDGED:  # a sandbox's failure says nothing about the plan
            for file in self._memory:
                file.add(key, verdict)
        return Judged(row=row, record=record, verdict=verdict, key=key, origin="run")


def was_run(verdict: Verdict) -> bool:
    """Says whether a sandbox was needed for a plan's verdict; the text alone can decide."""
    return "backend" in verdict.details


def judge_bytes(description: Json, judging: Judging) -> bytes:
    """Gives everything but the record that a plan's verdict depends on, for its key; its world is in the record."""
    return dumps(
        {
            "judge": [PRODUCER, __version__],
            "sandbox": same_sandbox(description),
            "limits": limits_json(judging.limits),
            "rules": judging.rules.as_json(),
            "repeat": judging.repeat,
        }
    )
