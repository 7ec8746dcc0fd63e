"""Verdicts on plans, answers and streams of both."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import DataError, EnvironmentMissing
from validators.base import ACCEPTED, Verdict, reject
from validators.execution_gate import BadPlan, judge_plan, judge_record, judge_stream, plan_commands, plan_steps
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Outcome, Sandbox
from validators.skills.table import VERIFIERS


class StubSandbox:
    """Answers what it is told, and keeps the jobs; the real ones are tested in test_sandbox.py."""

    name = "stub"

    def __init__(self, **answer: Any) -> None:
        self.answer = {"status": "ok", "stdout": {"text": "x\n", "bytes": 2}} | answer
        self.jobs: list[dict[str, Any]] = []
        self.is_closed = False

    def describe(self) -> dict[str, Any]:
        return {"backend": "stub"}

    def run(self, job: dict[str, Any]) -> Outcome:
        self.jobs.append(job)
        return Outcome(backend="stub", **self.answer)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(scope="module")
def native() -> Iterator[Sandbox]:
    try:
        opened = open_sandbox("native-ns")
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


def plan(*commands: str, **keys: Any) -> dict[str, Any]:
    output = [{"command": command} for command in commands]
    return {"instruction": "do it", "output": output, "metadata": {"skill": "shell_test"}} | keys


def dag(*steps: tuple[str, list[str]]) -> dict[str, Any]:
    output = [{"id": name, "command": f"run {name}", "needs": needs} for name, needs in steps]
    return {"instruction": "do it", "output": output, "metadata": {"skill": "shell_test"}}


COPY = {
    "fixture": {"files": {"a": {"text": "1\n"}}, "dirs": {"d": {}}},
    "expect": {"files": {"d/a": {"text": "1\n"}}},
}


def test_list_runs_in_the_order_written() -> None:
    assert plan_commands(plan("b", "a", "c")) == ["b", "a", "c"]


def test_graph_runs_in_topological_order_with_ties_as_written() -> None:
    record = dag(("last", ["left", "right"]), ("right", ["first"]), ("left", ["first"]), ("first", []))
    assert plan_commands(record) == ["run first", "run right", "run left", "run last"]
    assert [number for number, _ in plan_steps(record)] == [3, 1, 2, 0]


@given(
    st.integers(1, 12).flatmap(lambda n: st.lists(st.sets(st.integers(0, n - 1), max_size=3), min_size=n, max_size=n))
)
def test_every_step_comes_after_all_it_needs_or_the_plan_is_refused(needs: list[set[int]]) -> None:
    record = dag(*((str(number), sorted(map(str, wanted))) for number, wanted in enumerate(needs)))
    try:
        order = [number for number, _ in plan_steps(record)]
    except BadPlan:
        with pytest.raises(BadPlan, match="wait for each other"):
            plan_steps(record)
        return
    assert sorted(order) == list(range(len(needs)))
    assert all(order.index(before) < order.index(after) for after, wanted in enumerate(needs) for before in wanted)


@pytest.mark.parametrize(
    ("output", "code", "pointer"),
    [
        ([{"id": "a", "command": "x", "needs": ["a"]}], "plan_cycle", "/output"),
        ([{"command": "x", "needs": ["zz"]}], "unknown_step", "/output/0/needs/0"),
        ([{"id": "a", "command": "x"}, {"id": "a", "command": "y"}], "duplicate_step", "/output/1/id"),
        ([{"run": "x"}], "no_command", "/output/0"),
        ([3], "no_command", "/output/0"),
        ([], "empty_plan", "/output"),
        ("", "empty_plan", "/output"),
        (None, "empty_plan", "/output"),
    ],
)  # fmt: skip
def test_plan_without_an_order_is_rejected_unrun(output: Any, code: str, pointer: str) -> None:
    sandbox = StubSandbox()
    verdict = judge_plan(plan() | {"output": output}, sandbox)
    assert (verdict.code, verdict.findings[0].pointer, verdict.details["status"]) == (code, pointer, "not_run")
    assert sandbox.jobs == []


def test_right_plan_is_accepted_with_what_was_measured(native: Sandbox) -> None:
    verdict = judge_plan(plan("cp a d/", "ls d") | COPY, native)
    assert verdict.ok, verdict.findings
    details = verdict.details
    assert (details["status"], details["exit_code"], details["stdout"]) == ("ok", 0, "a\n")
    assert (details["changes"], details["num_changes"], details["backend"]) == (["added d/a"], 1, "native-ns")
    assert 0 < details["wall_s"] < 10


MUTATIONS = {
    "wrong_folder": ("cp a .d/ || exit 1", "nonzero"),
    "wrong_name": ("cp a d/b", "missing_file"),
    "moved_not_copied": ("mv a d/", "unexpected_change"),
    "left_over": ("cp a d/; touch d/b", "unexpected_change"),
    "wrong_content": ("echo 2 > d/a", "wrong_file"),
    "swallowed": ("cp a e/ || true", "swallows_errors"),
    "talk": ("echo copied", "narration"),
    "nothing": ("ls", "missing_file"),
    "misspelt": ("copy a d/", "nonzero"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_plan_is_rejected_with_a_reason(native: Sandbox, name: str) -> None:
    command, code = MUTATIONS[name]
    verdict = judge_plan(plan(command) | COPY, native)
    assert (verdict.ok, verdict.code) == (False, code)
    assert verdict.message


def test_failing_step_is_named_with_its_last_words(native: Sandbox) -> None:
    verdict = judge_plan(plan("true", "cat nothing", "true"), native)
    [finding] = verdict.findings
    assert finding.pointer == "/output/1/command"
    assert finding.message == "step 2 of 3 ended with exit code 1: cat: nothing: No such file or directory"


def test_other_commands_can_be_judged_on_the_records_world(native: Sandbox) -> None:
    record = plan("cp a d/") | COPY
    assert judge_plan(record, native, commands=["install -m 644 a d/a"]).ok
    assert judge_plan(record, native, commands=["mv a d/a"]).code == "unexpected_change"


def test_failure_of_the_sandbox_is_told_apart_from_a_rejection() -> None:
    verdict = judge_plan(plan("ls"), StubSandbox(status="sandbox_error", failure="missing_tool", reason="lacks git"))
    assert (verdict.ok, verdict.code, verdict.details["status"]) == (False, "sandbox_error", "sandbox_error")
    assert verdict.details["failure"] == "missing_tool"
    assert verdict.findings[0].pointer == "/metadata/tool_set"


def test_tools_of_the_record_reach_the_sandbox() -> None:
    sandbox = StubSandbox()
    judge_plan(plan("ls", metadata={"skill": "s", "tool_set": ["git", "tar"]}), sandbox)
    expect = {"allow_other_changes": True}  # a record without an expectation forbids nothing
    assert sandbox.jobs == [{"commands": ["ls"], "fixture": {}, "expect": expect, "tools": ["git", "tar"]}]


def chat(skill: str, answer: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "metadata": {"skill": skill}}


def is_seven(record: dict[str, Any], answer: str) -> Verdict:
    return ACCEPTED if answer == "7" else reject("wrong_answer", f"{answer!r} is not 7")


def test_answer_is_judged_bare_by_its_skills_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERIFIERS._loaded, "sevens", is_seven)
    sandbox = StubSandbox()
    assert judge_record(chat("sevens", "\N{THINKING FACE}" * 4 + "\n7"), sandbox).ok
    assert judge_record(chat("sevens", "8"), sandbox).code == "wrong_answer"
    assert sandbox.jobs == []


def test_skill_without_a_verifier_is_refused_by_name() -> None:
    verdict = judge_record(chat("binery", "7"), StubSandbox())
    assert (verdict.code, verdict.findings[0].pointer) == ("no_verifier", "/metadata/skill")
    assert "binary" in verdict.findings[0].remedy


def test_record_of_a_form_nothing_verifies_is_refused() -> None:
    assert judge_record({"text": "x", "metadata": {"skill": "s"}}, StubSandbox()).code == "no_verifier"


def test_stream_keeps_the_order_of_the_input(native: Sandbox) -> None:
    records = [plan(f"sleep 0.{3 - number % 3}; pwd", metadata={"skill": "s", "index": number}) for number in range(9)]
    verdicts = list(judge_stream(records, sandbox_factory=lambda: native_copy(), workers=3))
    assert [record["metadata"]["index"] for record, _ in verdicts] == list(range(9))
    assert all(verdict.ok for _, verdict in verdicts)


def native_copy() -> Sandbox:
    return open_sandbox("native-ns")


def test_stream_without_plans_opens_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERIFIERS._loaded, "sevens", is_seven)

    def explode() -> Sandbox:
        raise AssertionError("opened")

    verdicts = [verdict.ok for _, verdict in judge_stream([chat("sevens", "7")] * 3, sandbox_factory=explode)]
    assert verdicts == [True, True, True]


def test_first_verdict_comes_while_the_input_is_silent() -> None:
    is_released = threading.Event()

    def slow_input() -> Iterator[dict[str, Any]]:
        yield plan("ls")
        is_released.wait(10)
        yield plan("ls")

    stream = judge_stream(slow_input(), sandbox_factory=StubSandbox, workers=1)
    assert next(stream)[1].ok
    is_released.set()
    assert [verdict.ok for _, verdict in stream] == [True]


def test_reading_stays_within_the_look_ahead() -> None:
    num_read = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal num_read
        while True:
            num_read += 1
            yield plan("ls")

    stream = judge_stream(endless(), sandbox_factory=StubSandbox, workers=2)
    for _ in range(5):
        next(stream)
    assert num_read <= 5 + 8 + 1
    stream.close()


def test_unreadable_input_is_raised_after_the_verdicts_before_it() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield plan("ls")
        raise DataError("cut off", path="f.jsonl", line=2)

    stream = judge_stream(broken(), sandbox_factory=StubSandbox)
    assert next(stream)[1].ok
    with pytest.raises(DataError, match=r"f\.jsonl:2"):
        next(stream)


def test_missing_sandbox_is_raised_to_the_caller() -> None:
    def missing() -> Sandbox:
        raise EnvironmentMissing("no sandbox here")

    with pytest.raises(EnvironmentMissing, match="no sandbox here"):
        list(judge_stream([plan("ls")], sandbox_factory=missing))


def test_closing_the_stream_ends_what_runs(native: Sandbox) -> None:
    del native
    sandboxes: list[Sandbox] = []

    def factory() -> Sandbox:
        sandboxes.append(native_copy())
        return sandboxes[0]

    stream = judge_stream([plan("ls"), plan("sleep 9"), plan("sleep 9")], sandbox_factory=factory, workers=2)
    next(stream)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 6
    assert sandboxes[0]._running == {}  # type: ignore[attr-defined]


INTERRUPTED = """
import sys
sys.path.insert(0, sys.argv[1])
from frontier_core.jsonl import read_records
from validators.execution_gate import judge_stream
from validators.sandbox.backend import open_sandbox
stream = judge_stream(read_records("-"), sandbox_factory=lambda: open_sandbox("native-ns"))
try:
    for record, verdict in stream:
        print(verdict.code, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def test_interrupt_while_the_pipe_is_silent_ends_at_once(native: Sandbox) -> None:
    del native
    import signal

    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(b'{"instruction":"i","output":[{"command":"pwd"}],"metadata":{"skill":"s"}}\n')
        child.stdin.flush()
        assert child.stdout.readline() == b"ok\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == b"interrupted\n"
        assert child.wait(timeout=20) == 130
        assert child.stderr.read() == b""
