"""What the text of a plan gives away, and what it must not be taken for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.plan_lint import handles_failures, lint


def codes(*commands: str) -> list[str]:
    return [finding.code for finding in lint(list(commands))]


@pytest.mark.parametrize(
    "command",
    [
        "rm missing || true",
        "rm missing ||true; ls",
        "rm missing || :",
        "(rm missing || exit 0)",
        "cp a b; true",
        "cp a b\ntrue\n",
        "cp a b; exit 0",
        "set +e; cp a b",
        "set +o errexit\ncp a b",
        "cp a b | true",
        "cp a b |& :; ls",
        "bash -c 'cp a b || true'",
        "ls | xargs sh -c 'rm $0 || :'",
    ],
)
def test_plan_that_can_not_fail_is_refused(command: str) -> None:
    assert codes(command) == ["swallows_errors"]


@pytest.mark.parametrize(
    "command", ["trap 'exit 0' ERR; cp a b", 'trap "exit 0" EXIT\ncp a b', "trap 'exit 0' 0; ls x"]
)
def test_trap_that_turns_every_end_into_success_is_refused(command: str) -> None:
    assert codes(command) == ["trap_exit"]


@pytest.mark.parametrize(
    "command",
    [
        "grep -q x f || echo none > out",
        "case $x in yes|true) ls;; esac",
        "echo 'a || true' > f",
        'printf "set +e\\n" > notes.txt',
        "cat > f <<'E'\nrm x || true\nE",
        "ls # || true",
        "if true; then ls; fi",
        "while true; do break; done; ls",
        "trap 'rm -f tmp' EXIT; touch tmp",
        "test -e truefile || truefile",
        "echo $((3+4))",
        "echo $HOSTNAME",
        'echo "$(wc -l < f)"',
        "echo hello > f",
        "printf 'a\\n' | sort",
        "echo done; touch f",
    ],
)
def test_honest_plan_passes(command: str) -> None:
    assert codes(command) == []


def test_hidden_error_messages_are_only_a_warning() -> None:
    [finding] = lint(["rm x 2>/dev/null"])
    assert (finding.code, finding.severity, finding.pointer) == ("hides_errors", "warning", "/output/0/command")


@pytest.mark.parametrize("commands", [[], [""], ["  \n", "# only a remark"]])
def test_plan_without_commands_is_empty(commands: list[str]) -> None:
    assert codes(*commands) == ["empty_plan"]


@pytest.mark.parametrize("commands", [["echo done"], ["echo 42; printf 'ok\\n'"], ["echo one", "echo 'price: $5'"]])
def test_plan_that_only_talks_is_narration(commands: list[str]) -> None:
    assert codes(*commands) == ["narration"]


def test_finding_points_at_the_step() -> None:
    [finding] = lint(["ls", "rm x || true"])
    assert finding.pointer == "/output/1/command"


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_is_judged_without_an_error(commands: list[str]) -> None:
    known = {"trap_exit", "swallows_errors", "empty_plan", "narration", "hides_errors"}
    assert {finding.code for finding in lint(commands)} <= known


def test_long_text_is_judged_in_time() -> None:
    assert codes("echo '" + "a'\"\\" * 20000) in ([], ["narration"])


@pytest.mark.parametrize(
    ("command", "is_handled"),
    [
        ("ls a || ls b", True),
        ("if ls a; then ls b; fi", True),
        ("! grep -q x f", True),
        ("until test -e f; do sleep 1; done", True),
        ("ls a; ls b", False),
        ("echo $(ls a)", False),
        ("echo 'a || b'", False),
        ("ls a | wc -l # || true", False),
    ],
)
def test_only_a_step_with_a_branch_can_deal_with_a_failure(command: str, is_handled: bool) -> None:
    assert handles_failures(command) is is_handled
