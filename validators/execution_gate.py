"""Judges records by doing: a plan is run in a sandbox and its world compared, an answer is recomputed.

Exit code 0 proves little, so a plan is accepted for the end state its record demands, and where the record demands
none, only when nothing about the run is suspicious (heuristics.py). A sandbox that fails is no judgement of the plan:
such a verdict has code `sandbox_error` and must be counted apart from rejections. Schema and wording of records are the
other gates' business; how plans are contained is validators/sandbox, which world a plan gets fixtures.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from frontier_core.errors import ConfigError, SandboxError
from frontier_core.in_order import in_order
from frontier_core.profiles import undress
from frontier_core.records import Record, last_assistant, metadata_of
from frontier_core.schemas import guess_spec
from validators import heuristics
from validators.base import Finding, Verdict, reject
from validators.fixtures import BadPack, Fixtures
from validators.heuristics import Rules
from validators.plans import BadPlan, as_plan, is_plan, missing_half, plan_commands, plan_steps, tool_set
from validators.sandbox.contract import Json, Outcome, Sandbox
from validators.sandbox.expectations import demands_something
from validators.skills.table import VERIFIERS

__all__ = [
    "BadPlan",
    "Rules",
    "as_judged",
    "judge_answer",
    "judge_plan",
    "judge_record",
    "judge_stream",
    "plan_commands",
    "plan_steps",
]

VALIDATOR_NAME = "execution_gate"
VALIDATOR_VERSION = "2.0.0"

LOOK_AHEAD = 4
"""Records read beyond the one being waited for, per worker."""
MAX_TEXT = 4000
MAX_PATHS = 20
MAX_DIFF = 200
ANSWER_SPECS = ("chat_sft_v1", "syllo_v1", "trace_v1", "graph_v1")

_REMEDIES = {
    "nonzero": "run the step by hand on the fixture",
    "timeout": "raise the time limit if the plan is meant to take this long",
    "oom": "raise the memory limit if the plan is meant to need this much",
    "output_limit": "write to a file, or raise the output limit",
    "disk_limit": "raise the disk limit if the plan is meant to write this much",
    "forbidden": "ask for nothing that needs root, the network, or places outside the home folder and /tmp",
    "sandbox_error": "the plan was not judged; mend the sandbox and verify again",
}
_RECORD_REMEDY = "the plan was not judged; mend the record and verify again"
_FAULTS_OF_THE_RECORD = ("bad_fixture", "bad_expect")
_NOT_RUN: Json = {"status": "not_run"}


def judge_plan(
    record: Record,
    sandbox: Sandbox,
    *,
    commands: list[str] | None = None,
    rules: Rules | None = None,
    repeat: int = 1,
    fixtures: Fixtures | None = None,
) -> Verdict:
    """Judges a plan by its text, then by running it in its fixture and comparing the world with `expect`.

    One run decides, but for two cases: a complaint on stderr beside exit code 0, where the record demands no end state,
    is settled by a run under `set -eo pipefail`; and `repeat` asks for more.

    Args:
        record: a plan_v1 record, or a raw candidate as plans.as_plan takes it.
        sandbox: where it runs.
        commands: run these instead of the record's own plan (an answer of a model to the same task).
        rules: heuristics that are off or only warn; none when None.
        repeat: runs in all, each in a fresh sandbox; more than one finds `nondeterministic`.
        fixtures: packs by domain, and whether to derive a world from the plan; own fixtures alone when None.
    Returns:
        A verdict whose details hold `status`, one of contract.STATUSES or `not_run` when the text alone decided, and
        after a run also: backend, image, limits, exit_code, signal, wall_s, cpu_s, max_rss_bytes, oom_kills, stdout and
        stderr (the first 4000 characters), stdout_bytes, stdout_sha256, stdout_truncated and the same of stderr,
        steps (contract.Outcome), changes (the first 20 in words), diff (the first 200 as objects), num_changes,
        processes_left, num_runs, judged_by (`expectation` or `heuristics`) and fixture (`own`, `none`, `pack:NAME`,
        `auto`, `pack:NAME+auto`); with status sandbox_error, when nothing was judged, failure and reason.
    """
    from validators.plan_lint import lint  # its patterns take 10 ms, which a run with nothing to do is spared

    rules, fixtures = rules or Rules(), fixtures or Fixtures()
    record = as_plan(record)
    try:
        steps = plan_steps(record) if commands is None else list(enumerate(commands))
    except BadPlan as error:
        return Verdict(findings=(error.finding,), details=dict(_NOT_RUN))
    texts = [command for _, command in steps]
    findings = rules.apply(_moved(found, steps) for found in lint(texts))
    if _has_error(findings):
        return Verdict(findings=tuple(findings), details=dict(_NOT_RUN))
    try:
        record = fixtures.prepare(record, commands)
    except BadPack as error:
        finding = Finding(
            code="sandbox_error",
            message=f"not judged: {error.message}",
            pointer="/fixture/pack",
            remedy=error.hint or _RECORD_REMEDY,
        )
        details = {"status": "sandbox_error", "failure": "bad_fixture", "reason": error.message}
        return Verdict(findings=(finding,), details=details)
    return _Trial(record, steps, sandbox, rules).verdict(findings, repeat)


class _Trial:
    """The runs of one plan, from the first to the verdict."""

    def __init__(self, record: Record, steps: list[tuple[int, str]], sandbox: Sandbox, rules: Rules) -> None:
        self.record = record
        self.steps = steps
        self.texts = [command for _, command in steps]
        self.sandbox = sandbox
        self.rules = rules
        # Without an expectation only exit code and heuristics judge; an empty one demands that nothing changes.
        self.expect: Json = record.get("expect", {"allow_other_changes": True}) or {}
        self.num_runs = 0

    def run(self, **more: Any) -> Outcome:
        """Runs the plan in a fresh sandbox."""
        self.num_runs += 1
        fixture = {key: value for key, value in (self.record.get("fixture") or {}).items() if key not in Fixtures.KEYS}
        tools = tool_set(self.record) + (["git"] if fixture.get("repos") else [])
        job = {"commands": self.texts, "fixture": fixture, "expect": self.expect, "tools": tools}
        return self.sandbox.run(job | more)

    def verdict(self, findings: list[Finding], repeat: int) -> Verdict:
        """Runs the plan and, where that is asked for, runs it again; gives the verdict of it all."""
        from validators.determinism import finding

        first = self.run()
        bad = first if first.status == "sandbox_error" else None
        findings += self._findings(first)
        if first.status == "ok" and first.exit_code == 0 and not _has_error(findings):
            bad = self._suspect(first, findings)
        for _ in range(repeat - 1):
            if bad or first.status != "ok" or _has_error(findings):
                break
            other = self.run()
            bad = other if other.status == "sandbox_error" else None
            findings += [] if bad else self.rules.apply(finding(first, other))
        if bad and bad is not first:
            findings += self._findings(bad)
        return Verdict(findings=tuple(findings), details=self._details(bad or first))

    def _findings(self, outcome: Outcome) -> list[Finding]:
        found = [] if outcome.status == "ok" else [_status_finding(outcome, self.steps)]
        return found + [Finding(**finding) for finding in outcome.findings]

    def _suspect(self, outcome: Outcome, findings: list[Finding]) -> Outcome | None:
        """Adds what is suspicious about a run that ended well; gives the strict run's outcome when that one failed."""
        noticed = self.rules.apply(heuristics.notice(outcome, self.expect))
        bad = None
        if heuristics.needs_confirmation(noticed):
            strict = self.run(strict=True)
            bad = strict if strict.status == "sandbox_error" else None
            noticed = heuristics.confirm(noticed, strict, self.texts)
        findings += [_moved(found, self.steps) for found in noticed]
        return bad

    def _details(self, outcome: Outcome) -> Json:
        details: Json = {
            "status": outcome.status, "backend": outcome.backend, "image": outcome.image, "limits": outcome.limits,
            "exit_code": outcome.exit_code, "signal": outcome.signal, "wall_s": outcome.wall_s, "cpu_s": outcome.cpu_s,
            "max_rss_bytes": outcome.max_rss_bytes, "oom_kills": outcome.oom_kills,
        }  # fmt: skip
        for name, stream in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
            details[name] = (stream.get("text") or "")[:MAX_TEXT]
            details |= {f"{name}_{key}": stream[key] for key in ("bytes", "truncated", "sha256") if key in stream}
            details[f"{name}_truncated"] = bool(stream.get("truncated")) or len(stream.get("text") or "") > MAX_TEXT
        details |= {
            "steps": list(outcome.steps),
            "changes": [f"{change['change']} {change['path']}" for change in outcome.changes[:MAX_PATHS]],
            "diff": list(outcome.changes[:MAX_DIFF]), "num_changes": outcome.num_changes,
            "processes_left": outcome.processes_left, "num_runs": self.num_runs,
            "judged_by": "expectation" if demands_something(self.expect) else "heuristics",
            "fixture": Fixtures.mark_of(self.record),
        }  # fmt: skip
        if outcome.status == "sandbox_error":
            details |= {"failure": outcome.failure, "reason": outcome.reason}
        return details


def _has_error(findings: Iterable[Finding]) -> bool:
    return any(found.severity == "error" for found in findings)


def _moved(found: Finding, steps: list[tuple[int, str]]) -> Finding:
    """Points a finding on a step at the step's place in the record instead of its place in the run."""
    parts = found.pointer.split("/")
    if len(parts) < 3:
        return found
    return replace(found, pointer=f"/output/{steps[int(parts[2])][0]}/command")


def _status_finding(outcome: Outcome, steps: list[tuple[int, str]]) -> Finding:
    last = len(outcome.steps) - 1
    pointer = f"/output/{steps[last][0]}/command" if 0 <= last < len(steps) else ""
    words = (outcome.stderr.get("text") or "").strip().splitlines()
    said = f": {words[-1][:200]}" if words else ""
    messages = {
        "nonzero": f"step {last + 1} of {len(steps)} ended with exit code {outcome.exit_code}{said}",
        "timeout": f"step {last + 1} of {len(steps)} was stopped at the time limit",
        "oom": "the plan ran out of memory",
        "output_limit": "the plan printed more than the output limit",
        "disk_limit": "the plan wrote more than the disk limit",
        "forbidden": f"step {last + 1} of {len(steps)} needs what the sandbox forbids: {outcome.reason or 'processes'}",
        "sandbox_error": f"not judged: {outcome.reason}",
    }
    if outcome.status == "sandbox_error":
        pointer = {"bad_fixture": "/fixture", "bad_expect": "/expect", "missing_tool": "/metadata/tool_set"}.get(
            outcome.failure, ""
        )
    return Finding(
        code=outcome.status,
        message=messages[outcome.status],
        pointer=pointer,
        remedy=_RECORD_REMEDY if outcome.failure in _FAULTS_OF_THE_RECORD else _REMEDIES.get(outcome.status, ""),
    )


def judge_record(
    record: Record,
    sandbox: Sandbox,
    *,
    rules: Rules | None = None,
    repeat: int = 1,
    fixtures: Fixtures | None = None,
) -> Verdict:
    """Judges one record: a plan by running it, an answer by its skill's verifier; anything else is refused.

    The options are those of `judge_plan`.
    """
    if is_plan(record):
        return judge_plan(record, sandbox, rules=rules, repeat=repeat, fixtures=fixtures)
    return judge_answer(record)


def judge_answer(record: Record) -> Verdict:
    """Judges an answer by its skill's verifier; a record of a form that nothing verifies is refused."""
    spec = guess_spec(record)
    skill = str(metadata_of(record).get("skill", ""))
    if spec is None and (missing := missing_half(record)):
        return Verdict(findings=(missing,))
    if spec not in ANSWER_SPECS:
        return reject("no_verifier", f"nothing verifies records of the form {spec or 'unknown'}")
    try:
        verify = VERIFIERS.get(skill)
    except ConfigError as error:
        message = f"no verifier for the skill {skill!r}"
        return reject("no_verifier", message, pointer="/metadata/skill", remedy=error.hint)
    verdict: Verdict = verify(record, undress(last_assistant(record)))
    return verdict


class LazySandbox:
    """A sandbox opened by the first plan that needs it, so that streams without plans need none. Thread-safe."""

    name = "lazy"

    def __init__(self, factory: Callable[[], Sandbox]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._is_closed = False

    def _opened(self) -> Sandbox:
        with self._lock:
            if self._is_closed:
                raise SandboxError("the sandbox was closed")
            if self._sandbox is None:
                self._sandbox = self._factory()
            return self._sandbox

    def describe(self) -> Json:
        """Gives the opened sandbox's description, {} when no plan came."""
        return self._sandbox.describe() if self._sandbox is not None else {}

    def run(self, job: Json) -> Outcome:
        """Runs one plan; raises what the factory raises."""
        return self._opened().run(job)

    def close(self) -> None:
        """Closes what was opened."""
        with self._lock:
            self._is_closed = True
            sandbox = self._sandbox
        if sandbox is not None:
            sandbox.close()


def judge_stream(
    records: Iterable[Record],
    *,
    sandbox_factory: Callable[[], Sandbox],
    workers: int = 2,
    rules: Rules | None = None,
    repeat: int = 1,
    fixtures: Fixtures | None = None,
) -> Iterator[tuple[Record, Verdict]]:
    """Yields every record with its verdict, in input order, each as soon as it and all before it are judged.

    A plan comes back as it was judged: in plan_v1 form and with its world, when that was not its own (`as_judged`).
    Reading goes on in a thread of its own, at most `LOOK_AHEAD * workers` records beyond the last one yielded, so that
    neither a slow plan nor a slow input holds up what is ready. However the caller stops, no plan is left running.

    Args:
        records: read in another thread; its errors are raised here, after the verdicts before them.
        sandbox_factory: called once, when the first plan comes; its errors are raised here.
        workers: plans run at once.
        rules, repeat, fixtures: as for `judge_plan`.
    """
    sandbox = LazySandbox(sandbox_factory)

    def judge(record: Record) -> tuple[Record, Verdict]:
        judged = as_judged(record, fixtures)
        return judged, judge_record(judged, sandbox, rules=rules, repeat=repeat, fixtures=fixtures)

    yield from in_order(records, judge, workers=workers, look_ahead=LOOK_AHEAD * workers, stop=sandbox.close)


def as_judged(record: Record, fixtures: Fixtures | None = None) -> Record:
    """Gives a plan in plan_v1 form and with the world it is judged in; any other record as it is.

    Judging the result gives the verdict of the record itself; a bad plan or pack is left for the verdict to name.
    """
    if not is_plan(record):
        return record
    plan = as_plan(record)
    try:
        return (fixtures or Fixtures()).prepare(plan)
    except (BadPlan, BadPack):
        return plan
