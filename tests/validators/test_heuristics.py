"""What makes exit code 0 suspicious, how a suspicion is settled, and how rules are switched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import ConfigError, EnvironmentMissing
from validators.base import Finding, Verdict
from validators.execution_gate import judge_plan
from validators.heuristics import RULES, Rules, confirm, needs_confirmation, notice
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import Outcome, Sandbox


@pytest.fixture(scope="module")
def native() -> Iterator[Sandbox]:
    try:
        opened = open_sandbox("native-ns")
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


def judged(native: Sandbox, *commands: str, rules: Rules | None = None, repeat: int = 1, **keys: Any) -> Verdict:
    output = [{"command": command} for command in commands]
    record = {"instruction": "do it", "output": output, "metadata": {"skill": "s"}} | keys
    return judge_plan(record, native, rules=rules, repeat=repeat)


# Exit code 0 each time; without an expectation the rule refuses it.
SUSPICIOUS = {
    "command_not_found": "no-such-tool | wc -l",
    "command_not_found in a list": "no-such-tool; ls /",
    "command_not_found inside": "echo $(no-such-tool)",
    "stderr_complaint": "cat missing | wc -l",
    "stderr_complaint in a list": "ls missing; pwd",
    "stderr_complaint of find": "touch f; find . -name f -exec no-such-tool {} ';'",
    "swallows_errors": "rm missing || true",
    "trap_exit": "trap 'exit 0' EXIT; rm missing",
    "trap_exit on errors": "trap 'exit 0' ERR; rm missing; pwd",
    "narration": "echo All files were moved.",
    "no_effect": "test -d /",
    "processes_left": "sleep 60 & echo started",
    "oom_child": "tail /dev/zero; echo done",
}  # fmt: skip


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_exit_code_0_is_refused_for_a_named_reason(native: Sandbox, name: str) -> None:
    verdict = judged(native, SUSPICIOUS[name])
    assert verdict.code == name.split()[0], verdict.findings


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_rule_can_be_switched_off_or_made_a_warning(native: Sandbox, name: str) -> None:
    rule = name.split()[0]
    # what hides behind the first suspicion may be a second one, which is not this rule's business
    others = frozenset({"stderr_complaint", "command_not_found", "no_effect"}) - {rule}
    off = judged(native, SUSPICIOUS[name], rules=Rules(off=others | {rule}))
    assert (off.code, rule in {found.code for found in off.findings}) == ("ok", False)
    warned = judged(native, SUSPICIOUS[name], rules=Rules(off=others, warn=frozenset({rule})))
    assert warned.code == "ok"
    assert [found.severity for found in warned.findings if found.code == rule] == ["warning"]


HONEST = {
    "plain": "ls /",
    "fallback": "no-such-tool 2>/dev/null || pwd",
    "fallback that complains": "cat missing || pwd",
    "test": "if cat missing; then ls; else pwd; fi",
    "loop": "touch a b; for f in *; do mv $f $f.txt; done",
    "closed door": "find / -maxdepth 2 -name passwd | sort; ls /root 2>&1 | wc -l",
    "grep finds nothing in a pipe": "printf 'a\\n' | grep -c b | cat",
    "pipe cut short": "yes | head -1",
    "writes only to /tmp": "touch /tmp/x",
    "background child that is waited for": "sleep 0.01 & wait; pwd",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_plan_is_accepted_without_an_expectation(native: Sandbox, name: str) -> None:
    verdict = judged(native, HONEST[name])
    assert verdict.ok, verdict.findings
    assert verdict.details["judged_by"] == "heuristics"


def test_normal_plan_is_run_once_and_a_suspicious_one_twice(native: Sandbox) -> None:
    assert judged(native, "pwd").details["num_runs"] == 1
    assert judged(native, "cat missing || pwd").details["num_runs"] == 2
    assert judged(native, "pwd", repeat=3).details["num_runs"] == 3


@pytest.mark.parametrize("name", ["command_not_found", "stderr_complaint", "processes_left"])
def test_end_state_that_is_demanded_and_reached_outweighs_the_weaker_rules(native: Sandbox, name: str) -> None:
    verdict = judged(native, f"{SUSPICIOUS[name]}; touch f", expect={"files": {"f": {"text": ""}}})
    assert verdict.ok, verdict.findings
    assert {found.code: found.severity for found in verdict.findings} == {name: "warning"}
    assert (verdict.details["num_runs"], verdict.details["judged_by"]) == (1, "expectation")


@pytest.mark.parametrize("name", ["swallows_errors", "trap_exit", "narration", "oom_child"])
def test_what_proves_nothing_is_refused_beside_any_expectation(native: Sandbox, name: str) -> None:
    assert judged(native, SUSPICIOUS[name], expect={"exit_code": 0, "stdout_regex": ".*"}).code == name


def test_doing_nothing_may_be_what_is_demanded(native: Sandbox) -> None:
    assert judged(native, "test -d /", expect={"stdout": ""}).ok


def test_plan_without_an_expectation_may_change_things_and_one_with_an_empty_one_may_not(native: Sandbox) -> None:
    assert judged(native, "touch f").ok
    assert judged(native, "touch f", expect={}).code == "unexpected_change"


@pytest.mark.parametrize("step", ["cd /tmp; exec true", "cd /tmp; trap : EXIT; exit $?"])
def test_step_that_can_not_say_where_it_stood_is_named(native: Sandbox, step: str) -> None:
    verdict = judged(native, step, "pwd")
    assert (verdict.code, verdict.findings[0].pointer) == ("state_lost", "/output/0/command")
    assert verdict.details["stdout"] == "/home/user\n"
    assert judged(native, "pwd", step).code == "ok"


def test_finding_points_at_the_step_that_said_it_by_its_place_in_the_record(native: Sandbox) -> None:
    output = [{"id": "b", "command": "ls missing; pwd", "needs": ["a"]}, {"id": "a", "command": "pwd"}]
    record = {"instruction": "i", "output": output, "metadata": {"skill": "s"}}
    [found] = judge_plan(record, native).findings
    assert (found.code, found.pointer) == ("stderr_complaint", "/output/0/command")
    assert found.message == "exit code 0 in spite of: ls: cannot access 'missing': No such file or directory"


def test_second_run_finds_what_is_luck(native: Sandbox) -> None:
    verdict = judged(native, "echo $RANDOM$RANDOM$RANDOM", repeat=2)
    assert verdict.code == "nondeterministic"
    assert judged(native, "date; mktemp; echo $$ > /tmp/x; touch f; tar -czf a.tgz f", repeat=2).ok


def test_missing_tool_in_the_middle_of_a_pipe_is_not_the_plans_fault(
    native: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from validators.sandbox.tools import TOOLS

    monkeypatch.setitem(TOOLS, "no-such-tool", "some-package")
    verdict = judged(native, "no-such-tool | wc -l")
    assert (verdict.code, verdict.details["failure"]) == ("sandbox_error", "missing_tool")
    assert judged(native, "no-such-tool || touch f", expect={"files": {"f": {"text": ""}}}).ok


def test_unknown_rule_is_a_config_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        Rules(off=frozenset({"no_efect"}))
    assert "no_effect" in caught.value.hint


def test_rules_are_kept_as_plain_sorted_json() -> None:
    rules = Rules(off=frozenset({"narration", "no_effect"}), warn=frozenset({"oom_child"}))
    assert rules.as_json() == {"off": ["narration", "no_effect"], "warn": ["oom_child"]}


def test_documented_rules_are_the_rules() -> None:
    text = (Path(__file__).parents[2] / "docs/records.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (error|warning) \| (error|warning) \|$", text, re.MULTILINE)
    assert {name: (meaning.replace("\\|", "|"), alone, beside) for name, meaning, alone, beside in rows} == {
        name: tuple(rule) for name, rule in RULES.items()
    }


def outcome(errors: str, status: str = "ok") -> Outcome:
    return Outcome(status=status, backend="x", stdout={"bytes": 1}, stderr={"text": errors, "bytes": len(errors)})


@pytest.mark.parametrize(
    ("errors", "codes"),
    [
        ("bash: line 1: foo: command not found\n", ["command_not_found"]),
        ("sh: 1: foo: not found\n", ["command_not_found"]),
        ("cat: x: No such file or directory\n", ["stderr_complaint"]),
        ("find: '/proc/1/map_files': Permission denied\n", []),
        ("cat: x: Permission denied\n", ["stderr_complaint"]),
        ("awk: line 1: syntax error at or near }\n", ["stderr_complaint"]),
        (
            "bash: line 1: warning: here-document at line 1 delimited by end-of-file (wanted `EOF')\n",
            ["stderr_complaint"],
        ),
        ("Switched to branch 'x'\n", []),
        ("error: pathspec not found\n", []),
    ],
)
def test_complaints_are_told_from_chatter(errors: str, codes: list[str]) -> None:
    found = notice(outcome(errors), None)
    assert [finding.code for finding in found] == codes
    assert needs_confirmation(found) == bool(codes)


def test_complaint_counts_when_the_strict_run_ends_at_it_or_nothing_could_deal_with_it() -> None:
    said = "cat: x: No such file or directory\n"
    found = notice(outcome(said), None)

    def severity(strict: Outcome, command: str) -> str:
        [finding] = confirm(found, strict, [command])
        return finding.severity

    assert severity(outcome(said, "nonzero"), "cat x || ls; cat y | wc") == "error"
    assert severity(outcome(said), "cat x || ls") == "warning"
    assert severity(outcome(said), "echo $(cat x)") == "error"
    assert severity(outcome("other\n", "nonzero"), "cat x || ls; grep q f | wc") == "warning"


def test_findings_keep_their_severity_unless_a_rule_says_otherwise() -> None:
    found = Finding(code="wrong_file", message="m")
    assert Rules(off=frozenset({"no_effect"})).apply([found]) == [found]
