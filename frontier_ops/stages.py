"""The data stages, end to end: read records, do one thing, write records, rejects and the sidecar.

One function a command, so that a daemon or a notebook gets what the command line gets. Every stage streams; a file
output appears whole or not at all, its sidecar last. Training, evaluation and serving are in modules of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from validators.sandbox.backend import Limits, Sandbox, open_sandbox

from frontier_core.domains import Domain
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import Output, Row, read_rows
from frontier_core.lineage import Tally, mark, write_sidecar
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from frontier_core.rejects import reject_record
from generators import formats, synth
from generators.synth import Request, Split
from validators import execution_gate
from validators.base import ACCEPTED, Verdict, problem_findings
from validators.content_gate import LevelName
from validators.schema_gate import SchemaGate
from validators.validation import Validation

Note = Callable[[str], None]


def _silent(_: str) -> None:
    """Says nothing: the default listener."""


@dataclass(slots=True, kw_only=True)
class Target:
    """Where a stage writes: records, and the lines it holds back.

    `rejects` is a path; left out, a file output keeps them beside itself (`OUT.rejects.jsonl`) and a pipe only counts.
    """

    output: str = "-"
    rejects: str = ""
    pipe: BinaryIO | None = None

    @property
    def rejects_path(self) -> Path | None:
        """The rejects file, None when rejects are only counted."""
        if self.rejects:
            return Path(self.rejects)
        if self.output == "-" or not _is_plain(Path(self.output)):
            return None
        name = Path(self.output).name
        for suffix in (".gz", ".zst"):
            name = name.removesuffix(suffix)
        return Path(self.output).with_name(f"{name.removesuffix('.jsonl')}.rejects.jsonl")


def _is_plain(path: Path) -> bool:
    return not path.exists() or path.is_file()


@dataclass(slots=True, kw_only=True)
class StageResult:
    """What a stage did: records in and out, rejects by reason, and lines that could not be judged at all."""

    num_in: int = 0
    num_out: int = 0
    tally: Tally = field(default_factory=Tally)
    unverified: dict[str, int] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def num_rejected(self) -> int:
        """Lines held back."""
        return self.tally.num_rejected


class _Writer:
    """The outputs of one stage: opened together, committed together, sidecar last."""

    def __init__(self, target: Target, stage: str, sources: Iterable[str], **about: Any) -> None:
        self.target = target
        self.stage = stage
        self.sources = list(sources)
        self.about = about
        self.result = StageResult()
        self._stack = ExitStack()
        self._rejects: Output | None = None

    def __enter__(self) -> _Writer:
        _refuse_overwrite(self.sources, self.target)
        self.output = self._stack.enter_context(Output(self.target.output, pipe=self.target.pipe))
        return self

    def accept(self, record: Record) -> None:
        self.output.write(record)
        self.result.tally.add(record)

    def reject(self, line: Record) -> None:
        self.result.tally.reject(line["code"])
        self.keep(line)

    def keep(self, line: Record) -> None:
        """Writes a line to the rejects file, if there is one, without counting it as rejected."""
        path = self.target.rejects_path
        if self._rejects is None and path is not None:
            self._rejects = self._stack.enter_context(Output(path))
        if self._rejects is not None:
            self._rejects.write(line)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is not None:
            return
        self.result.num_out = self.output.num_records
        rejects = self.target.rejects_path
        if rejects is not None and self._rejects is None and rejects.is_file():
            rejects.unlink()  # from an earlier run with other rejects
        if self.output.path is not None:
            write_sidecar(
                self.output.path,
                stage=self.stage,
                inputs=self.sources,
                tally=self.result.tally,
                output=self.output,
                **self.about,
            )


def _refuse_overwrite(sources: Iterable[str], target: Target) -> None:
    for source in sources:
        if source != "-" and target.output != "-" and Path(source).resolve() == Path(target.output).resolve():
            raise UsageError(f"{source}: is both input and output", hint="write to another file")


def gen(
    requests: Sequence[Request],
    target: Target,
    *,
    seed: int,
    split: Split = "train",
    allow_duplicates: bool = False,
    policy: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Generates the requested records. Raises UsageError when a cell has too few distinct problems."""
    about = {"seed": seed, "producer": "procedural", "params": {"split": split, "policy": policy}}
    with _Writer(target, "synth gen", [policy] if policy else [], **about) as writer:
        for record in synth.generate(requests, seed=seed, split=split, allow_duplicates=allow_duplicates):
            writer.accept(record)
            writer.result.num_in += 1
            if on_progress:
                on_progress(writer.result.num_in)
    return writer.result


def policy_weights(path: str) -> dict[str, float]:
    """Reads the tag weights of a policy file. Raises DataError naming the line and the pointer of a bad entry."""
    weights: dict[str, float] = {}
    for row in read_rows(path):
        if row.problem is not None:
            raise row.problem
        if row.record.get("kind") != "tag":
            continue
        tag, weight = row.record.get("tag"), row.record.get("weight")
        if not isinstance(tag, str):
            raise DataError("the tag is missing", path=row.path, line=row.number, pointer="/tag", code="policy")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
            message = "the weight is not a number from 0 to 1"
            raise DataError(message, path=row.path, line=row.number, pointer="/weight", code="policy")
        weights[tag] = float(weight)
    if not weights:
        raise DataError("holds no line of kind tag", path=path, code="policy", hint="frontier reweight writes policies")
    return weights


def choose_requests(
    domains: Sequence[Domain], num: int, *, levels: Sequence[int] = (), policy: str = ""
) -> list[Request]:
    """Splits a run of `num` records over its cells, by the policy file when one is given."""
    weights = policy_weights(policy) if policy else None
    return synth.plan_requests(domains, num, levels=levels, weights=weights)


def verify(
    source: str,
    target: Target,
    *,
    sandbox: str = "auto",
    limits: Limits | None = None,
    workers: int = 2,
    on_note: Note = _silent,
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
    with _Writer(target, "synth verify", [source], producer=producer, params=params) as writer:
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
                writer.reject(_reject_line(row, verdict))
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


def validate(
    source: str,
    target: Target | None,
    *,
    level: LevelName,
    spec: str,
    profile: ProfileName,
    on_reject: Note = _silent,
    on_note: Note = _silent,
) -> StageResult:
    """Holds every line against both gates. Without a target nothing is written but the report.

    Raises:
        DataError: the file as a whole can't be read (empty, UTF-16, a Git LFS pointer, ...).
    """
    run = Validation(level, spec, profile)
    notes: list[str] = []
    if target is None:
        for judged in run.judge(source, notes=notes):
            if not judged.verdict.ok:
                on_reject(judged.complaint())
        result = StageResult(tally=run.tally)
    else:
        producer = f"{_gates()}/{level}"
        params = {"level": level, "spec": spec, "profile": profile}
        with _Writer(target, "validate", [source], producer=producer, params=params) as writer:
            result = writer.result
            for judged in run.judge(source, notes=notes):
                if judged.verdict.ok:
                    writer.output.write_raw(judged.accepted_line(level))
                else:
                    on_reject(judged.complaint())
                    writer.keep(judged.rejected())
            result.tally = run.tally
    for text in notes:
        on_note(text)
    for finding in run.whole_file:
        on_note(f"warning: {finding.message} [{finding.code}]")
    result.num_in = run.num_records
    result.report = run.report(source)
    return result


def _gates() -> str:
    from validators import content_gate, schema_gate

    return (
        f"{schema_gate.VALIDATOR_NAME}@{schema_gate.VALIDATOR_VERSION}"
        f"+{content_gate.VALIDATOR_NAME}@{content_gate.VALIDATOR_VERSION}"
    )


def format_records(source: str, target: Target, *, form: formats.FormName, profile: ProfileName) -> StageResult:
    """Writes every record in another form. A record that has none raises DataError with its line."""
    gate = SchemaGate()
    with _Writer(target, "synth format", [source], params={"form": form, "profile": profile}) as writer:
        for row in read_rows(source):
            findings = problem_findings(row.problem) if row.problem else gate.check(row.record)[1]
            if findings:
                raise findings[0].as_error(row.path, row.number)
            try:
                writer.accept(formats.convert(row.record, form, profile=profile))
            except DataError as error:
                raise DataError(
                    error.problem, path=row.path, line=row.number, pointer=error.pointer, hint=error.hint
                ) from error
            writer.result.num_in += 1
    return writer.result


def replay(source: str, target: Target, *, line: int = 0) -> StageResult:
    """Makes every record of a file again from its metadata; with `line`, only that one."""
    with _Writer(target, "synth replay", [source]) as writer:
        for row in read_rows(source):
            if line and row.number != line:
                continue
            writer.accept(synth.replay_row(row))
            writer.result.num_in += 1
    if line and not writer.result.num_in:
        raise UsageError(f"{source} has no line {line}")
    return writer.result


def write_lines(
    records: Iterable[Record], target: Target, *, stage: str, sources: Sequence[str], **about: Any
) -> StageResult:
    """Writes what a library function computed, with its sidecar: telemetry, policies, evaluations."""
    with _Writer(target, stage, sources, **about) as writer:
        for record in records:
            writer.accept(record)
            writer.result.num_in += 1
    return writer.result
