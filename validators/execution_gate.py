"""Judges records by doing: a plan is run in a sandbox and its world compared, an answer is recomputed.

Exit code 0 proves little, so a plan is accepted only for the end state its record demands. A sandbox that fails is no
judgement of the plan: such a verdict has code `sandbox_error` and must be counted apart from rejections. Schema and
wording of records are the other gates' business; how plans are contained is validators/sandbox.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from frontier_core.errors import ConfigError, FrontierError, SandboxError
from frontier_core.profiles import undress
from frontier_core.records import Record, last_assistant, metadata_of
from frontier_core.schemas import guess_spec
from validators.base import Finding, Verdict, reject
from validators.plan_lint import lint
from validators.sandbox.contract import Json, Outcome, Sandbox
from validators.skills.table import VERIFIERS

VALIDATOR_NAME = "execution_gate"
VALIDATOR_VERSION = "1.0.0"

LOOK_AHEAD = 4
"""Records read beyond the one being waited for, per worker."""
MAX_TEXT = 4000
MAX_PATHS = 20
ANSWER_SPECS = ("chat_sft_v1", "syllo_v1")

_REMEDIES = {
    "nonzero": "run the step by hand on the fixture",
    "timeout": "raise the time limit if the plan is meant to take this long",
    "oom": "raise the memory limit if the plan is meant to need this much",
    "output_limit": "write to a file, or raise the output limit",
    "disk_limit": "raise the disk limit if the plan is meant to write this much",
    "sandbox_error": "the plan was not judged; mend the sandbox and verify again",
}


class BadPlan(FrontierError):
    """A plan whose steps can't be put in order; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def plan_steps(record: Record) -> list[tuple[int, str]]:
    """Gives a plan's steps as (position in `output`, command) in the order they run.

    Without `needs` that is the order written; with them a topological order, ties in the order written.

    Raises:
        BadPlan: a step has no command, an id stands twice, is unknown, or the steps wait for each other.
    """
    output = record.get("output")
    steps = output if isinstance(output, list) else []
    by_id: dict[str, int] = {}
    for number, step in enumerate(steps):
        if not isinstance(step, dict) or not isinstance(step.get("command"), str):
            raise _bad("no_command", "the step has no command", f"/output/{number}")
        name = step.get("id")
        if name is not None and name in by_id:
            raise _bad("duplicate_step", f"the id {name!r} stands twice", f"/output/{number}/id")
        if name is not None:
            by_id[name] = number
    needs = [_needs_of(step, number, by_id) for number, step in enumerate(steps)]
    order: list[int] = []
    done: set[int] = set()
    while len(order) < len(steps):
        ready = next((n for n in range(len(steps)) if n not in done and needs[n] <= done), None)
        if ready is None:
            waiting = [str(steps[n].get("id", n)) for n in range(len(steps)) if n not in done]
            raise _bad("plan_cycle", f"steps wait for each other: {', '.join(waiting)}", "/output")
        order.append(ready)
        done.add(ready)
    return [(number, steps[number]["command"]) for number in order]


def plan_commands(record: Record) -> list[str]:
    """Gives the commands of a plan in the order they run; raises BadPlan as `plan_steps` does."""
    return [command for _, command in plan_steps(record)]


def _needs_of(step: Json, number: int, by_id: dict[str, int]) -> set[int]:
    needs: set[int] = set()
    for position, name in enumerate(step.get("needs") or []):
        if name not in by_id:
            raise _bad("unknown_step", f"needs {name!r}, which is no step", f"/output/{number}/needs/{position}")
        needs.add(by_id[name])
    return needs


def _bad(code: str, message: str, pointer: str) -> BadPlan:
    return BadPlan(Finding(code=code, message=message, pointer=pointer))


def judge_plan(record: Record, sandbox: Sandbox, *, commands: list[str] | None = None) -> Verdict:
    """Judges a plan by its text, then by running it in its fixture and comparing the world with `expect`.

    Args:
        record: a plan_v1 record.
        sandbox: where it runs.
        commands: run these instead of the record's own plan (an answer of a model to the same task).
    Returns:
        A verdict whose details hold status, exit_code, wall_s, stdout, stderr, changes, num_changes, processes_left,
        backend. Status `not_run` when the text alone decided; `sandbox_error` when nothing was judged.
    """
    try:
        steps = plan_steps(record) if commands is None else list(enumerate(commands))
    except BadPlan as error:
        return Verdict(findings=(error.finding,), details={"status": "not_run"})
    texts = [command for _, command in steps]
    findings = [_moved(found, steps) for found in lint(texts)]
    if any(found.severity == "error" for found in findings):
        return Verdict(findings=tuple(findings), details={"status": "not_run"})
    outcome = sandbox.run(
        {
            "commands": texts,
            "fixture": record.get("fixture") or {},
            "expect": record.get("expect") or {},
            "tools": _tool_set(record),
        }
    )
    if outcome.status != "ok":
        findings.append(_status_finding(outcome, steps))
    findings += [Finding(**found) for found in outcome.findings]
    return Verdict(findings=tuple(findings), details=_details(outcome))


def _moved(found: Finding, steps: list[tuple[int, str]]) -> Finding:
    """Points a lint finding at the step's place in the record instead of its place in the run."""
    parts = found.pointer.split("/")
    if len(parts) < 3:
        return found
    pointer = f"/output/{steps[int(parts[2])][0]}/command"
    return Finding(
        code=found.code, message=found.message, pointer=pointer, severity=found.severity, remedy=found.remedy
    )


def _tool_set(record: Record) -> list[str]:
    tools = metadata_of(record).get("tool_set")
    return [name for name in tools if isinstance(name, str)] if isinstance(tools, list) else []


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
        "forbidden": "the plan did what the sandbox forbids",
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
        remedy=_REMEDIES.get(outcome.status, ""),
    )


def _details(outcome: Outcome) -> Json:
    details: Json = {
        "status": outcome.status,
        "backend": outcome.backend,
        "exit_code": outcome.exit_code,
        "wall_s": outcome.wall_s,
        "stdout": (outcome.stdout.get("text") or "")[:MAX_TEXT],
        "stderr": (outcome.stderr.get("text") or "")[:MAX_TEXT],
        "changes": [f"{change['change']} {change['path']}" for change in outcome.changes[:MAX_PATHS]],
        "num_changes": outcome.num_changes,
        "processes_left": outcome.processes_left,
    }
    if outcome.status == "sandbox_error":
        details |= {"failure": outcome.failure, "reason": outcome.reason}
    return details


def judge_record(record: Record, sandbox: Sandbox) -> Verdict:
    """Judges one record: a plan by running it, an answer by its skill's verifier; anything else is refused."""
    spec = guess_spec(record)
    if spec == "plan_v1":
        return judge_plan(record, sandbox)
    skill = str(metadata_of(record).get("skill", ""))
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
    records: Iterable[Record], *, sandbox_factory: Callable[[], Sandbox], workers: int = 2
) -> Iterator[tuple[Record, Verdict]]:
    """Yields every record with its verdict, in input order, each as soon as it and all before it are judged.

    Reading goes on in a thread of its own, at most `LOOK_AHEAD * workers` records beyond the last one yielded, so that
    neither a slow plan nor a slow input holds up what is ready. However the caller stops, no plan is left running.

    Args:
        records: read in another thread; its errors are raised here, after the verdicts before them.
        sandbox_factory: called once, when the first plan comes; its errors are raised here.
        workers: plans run at once.
    """
    sandbox = LazySandbox(sandbox_factory)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="judge")
    reader = _Reader(records, lambda record: pool.submit(judge_record, record, sandbox), LOOK_AHEAD * workers)
    reader.start()
    try:
        while (item := reader.queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            record, future = item
            verdict = future.result()
            reader.slots.release()
            yield record, verdict
    finally:
        reader.stop()
        sandbox.close()
        pool.shutdown(wait=True, cancel_futures=True)


class _Reader(threading.Thread):
    """Reads ahead and submits. A daemon, because a read from a silent pipe can't be interrupted."""

    def __init__(self, records: Iterable[Record], submit: Callable[[Record], Future[Verdict]], look_ahead: int) -> None:
        super().__init__(name="judge-reader", daemon=True)
        self.slots = threading.Semaphore(look_ahead)
        self.queue: SimpleQueue[tuple[Record, Future[Verdict]] | BaseException | None] = SimpleQueue()
        self._records = iter(records)
        self._submit = submit
        self._is_stopped = False

    def run(self) -> None:
        try:
            while not self._is_stopped:
                self.slots.acquire()
                record = next(self._records, None)
                if record is None or self._is_stopped:
                    break
                self.queue.put((record, self._submit(record)))
            self.queue.put(None)
        except BaseException as error:  # whatever it is, it belongs to whoever takes the verdicts
            self.queue.put(error)
        finally:
            if self._is_stopped:
                close: Any = getattr(self._records, "close", None)
                with suppress(Exception):
                    close and close()

    def stop(self) -> None:
        """Asks for the end; a reader that waits for a slot or is done ends at once."""
        self._is_stopped = True
        self.slots.release()
        self.join(timeout=0.1)
