"""What an outcome says of a plan: its figures, its steps, and what carries over from one to the next."""

# ruff: noqa: E501 (one case a line reads better than wrapped ones)
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import MIB, Outcome, Sandbox


@pytest.fixture(scope="module", params=["native-ns", pytest.param("docker-ns", marks=pytest.mark.docker)])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        opened = open_sandbox(request.param)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


def run(sandbox: Sandbox, *commands: str, **job: Any) -> Outcome:
    return sandbox.run({"commands": list(commands), **job})


def test_outcome_names_sandbox_image_and_limits(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "true")
    assert (outcome.backend, outcome.status, outcome.limits["timeout_s"]) == (sandbox.name, "ok", 10.0)
    assert bool(outcome.image) == sandbox.name.startswith("docker")


def test_signal_that_ended_the_last_step_is_told_from_an_exit_code_like_it(sandbox: Sandbox) -> None:
    killed, said = run(sandbox, "kill -TERM $$"), run(sandbox, "exit 143")
    assert [(o.status, o.exit_code, o.signal) for o in (killed, said)] == [("nonzero", 143, 15), ("nonzero", 143, 0)]


def test_cpu_time_is_that_of_all_the_plans_processes_and_of_nothing_else(sandbox: Sandbox) -> None:
    burn = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
    idle = run(sandbox, "true", fixture={"setup": burn})
    busy = run(sandbox, f"({burn}) & ({burn}) & wait")
    assert 0 < idle.cpu_s < busy.cpu_s / 3
    left = run(sandbox, f"({burn}; touch /tmp/done; sleep 60) & while [ ! -e /tmp/done ]; do sleep 0.01; done")
    assert left.processes_left > 0
    assert left.cpu_s > busy.cpu_s / 6


def test_memory_is_the_peak_of_the_largest_process(sandbox: Sandbox) -> None:
    small = run(sandbox, "true")
    large = run(sandbox, "head -c 50000000 /dev/zero | tail | wc -c; true")
    assert small.max_rss_bytes < 40 * MIB < large.max_rss_bytes < 120 * MIB


def test_streams_are_capped_in_text_and_whole_in_count_and_digest(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "seq 100000")
    text = "".join(f"{number}\n" for number in range(1, 100001))
    assert outcome.stdout == {
        "text": text, "bytes": len(text), "truncated": False, "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }  # fmt: skip


def test_every_step_that_ran_has_a_result_of_its_own(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "echo one; echo uno >&2", "seq 2000", "echo three; exit 4", "echo never")
    steps = [(s["step"], s["exit_code"], s["stdout"][:9], s["stderr"], s.get("has_state")) for s in outcome.steps]
    assert steps == [(0, 0, "one\n", "uno\n", True), (1, 0, "1\n2\n3\n4\n5", "", True), (2, 4, "three\n", "", None)]
    assert [len(step["stdout"]) for step in outcome.steps] == [4, 1000, 6]
    assert all(0 < step["wall_s"] < 5 for step in outcome.steps)


CARRIED = {
    "folder": (["mkdir a; cd a", "pwd"], "/home/user/a\n"),
    "folder of a subshell": (["mkdir a; (cd a)", "pwd"], "/home/user\n"),
    "folder by a link": (["mkdir a; ln -s a l; cd l", "pwd; cd ..; pwd"], "/home/user/l\n/home/user\n"),
    "folder with a newline": (["mkdir $'a\\nb'; cd $'a\\nb'", "pwd"], "/home/user/a\nb\n"),
    "exported": (["export A=' x\ny '", 'echo "[$A]"'], "[ x\ny ]\n"),
    "not exported": (["A=1; f() { :; }; set -f", "echo ${A-none}; type -t f; echo *"], "none\n*\n"),
    "exported function": (["f() { echo hi; }; export -f f", "f"], "hi\n"),
    "unset": (["export A=1; unset USER", "echo $A ${USER-none}", "unset A", "echo ${A-none}"], "1 none\nnone\n"),
    "of the fixture": (["unset F", "echo ${F-none}"], "none\n"),
    "set -e": (["set -eu; cd /tmp", "false; pwd"], "/tmp\n"),
    "exit": (["cd /tmp; exit 0", "pwd"], "/tmp\n"),
    "exit in a function": (["f() { cd /tmp; exit; }; f", "pwd"], "/tmp\n"),
    "own EXIT trap": (["trap 'echo bye' EXIT; cd /tmp", "pwd"], "bye\n/tmp\n"),
    "trace": (["set -x; cd /tmp", "pwd"], "/tmp\n"),
    "stdout closed": (["cd /tmp; exec >&-", "pwd"], "/tmp\n"),
    "stdout redirected": (["exec > /tmp/log; cd /tmp; echo lost", "pwd"], "/tmp\n"),
    "PATH of nothing": (["export PATH=/none; cd /tmp", "pwd; echo $PATH"], "/tmp\n/none\n"),
    "overridden builtins": (["printf() { :; }; env() { :; }; pwd() { echo /x; }; cd /tmp", "pwd"], "/tmp\n"),
    "comment at the end": (["cd /tmp # to work", "pwd"], "/tmp\n"),
    "heredoc at the end": (["cd /tmp; cat > f <<'E'\n$x\nE", "cat f"], "$x\n"),
    "heredoc without its end": (["cd /tmp; cat > f <<'E'\nlast", "cat f"], "last"),
    "positional words": (["echo $# $0", "echo $# $0"], "0 bash\n0 bash\n"),
    "line numbers": (["echo $LINENO\necho $LINENO", "echo $LINENO\necho $LINENO"], "1\n2\n1\n2\n"),
    "a script longer than an argument may be": ([f"cd /tmp; : {'x' * 150_000}\necho done", "pwd"], "done\n/tmp\n"),
    "a last script longer than an argument may be": (["cd /tmp", f"pwd\n: {'x' * 150_000}"], "/tmp\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", CARRIED)
def test_next_step_goes_on_where_the_last_one_stood(sandbox: Sandbox, name: str) -> None:
    commands, text = CARRIED[name]
    outcome = run(sandbox, *commands, fixture={"env": {"F": "1"}})
    assert outcome.status == "ok", (outcome.reason, outcome.stderr)
    assert outcome.stdout["text"] == text.removesuffix("\n") + "\n" if text != "last" else "last\n"
    assert all(step["has_state"] for step in outcome.steps[:-1])


@pytest.mark.parametrize("step", ["cd /tmp; exec true", "cd /tmp; trap : EXIT; exit 0", "cd /tmp; exec 250>&-"])
def test_step_that_ends_in_silence_is_marked_and_the_next_starts_where_it_did(sandbox: Sandbox, step: str) -> None:
    outcome = run(sandbox, "mkdir a; cd a", step, "pwd")
    assert [s.get("has_state") for s in outcome.steps] == [True, False, None]
    assert outcome.stdout["text"] == "/home/user/a\n"


def test_step_in_a_folder_that_is_gone_fails_by_its_name(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "mkdir a; cd a; rmdir ../a", "pwd")
    assert (outcome.status, outcome.exit_code) == ("nonzero", 126)
    assert outcome.stderr["text"] == "bash: /home/user/a: No such file or directory\n"


@pytest.mark.parametrize("first", ["echo (", "set -e; cd /none", "cd /tmp; false", "kill -9 $$"])
def test_failing_step_ends_the_plan(sandbox: Sandbox, first: str) -> None:
    outcome = run(sandbox, first, "echo never")
    assert (outcome.status, len(outcome.steps), outcome.stdout["text"]) == ("nonzero", 1, "")


def test_strict_run_ends_at_the_first_failure_in_a_pipe(sandbox: Sandbox) -> None:
    plan = ["cd /tmp", "false | true", "echo after"]
    assert run(sandbox, *plan).stdout["text"] == "after\n"
    strict = run(sandbox, *plan, strict=True)
    assert (strict.status, strict.exit_code, len(strict.steps)) == ("nonzero", 1, 2)
    assert run(sandbox, "false || true", "if false; then :; fi", "echo ok", strict=True).stdout["text"] == "ok\n"


FORBIDDEN = {
    "system files": ("touch /usr/x", "touch: cannot touch '/usr/x': Read-only file system"),
    "root's commands": ("cd /tmp; sudo ls", "bash: line 1: sudo: command not found"),
    "the network": ("exec 3<>/dev/tcp/192.0.2.1/80", "bash: connect: Network is unreachable"),
    "other people's files": ("mkdir /x 2>/tmp/e; sed 's/Read.*/Permission denied/' /tmp/e >&2; false", "Permission denied"),
    "a refused system call": ("kill -SYS $$", "a system call that the sandbox forbids"),
    "in a child": ("(kill -SYS $BASHPID); exit $?", "a system call that the sandbox forbids"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_plan_that_fails_at_what_is_denied_to_all_is_forbidden(sandbox: Sandbox, name: str) -> None:
    command, reason = FORBIDDEN[name]
    outcome = run(sandbox, "pwd", command)
    assert outcome.status == "forbidden"
    assert outcome.exit_code != 0
    assert reason in outcome.reason


@pytest.mark.parametrize(
    "command",
    [
        "touch a; chmod 0 a; cat a", "cat /tmp/none", "ls /none", "foo", "exit 1",
        "touch /tmp/a; chmod 0 /tmp/a; cat /tmp/a", "mkdir d; chmod 500 d; touch d/x",
    ],
)  # fmt: skip
def test_plan_that_fails_by_its_own_doing_is_nonzero(sandbox: Sandbox, command: str) -> None:
    assert run(sandbox, command).status == "nonzero"


def test_only_the_failing_steps_words_count(sandbox: Sandbox) -> None:
    assert run(sandbox, "touch /usr/x; true", "false").status == "nonzero"


def test_complaint_beside_exit_code_0_is_no_status(sandbox: Sandbox) -> None:
    assert run(sandbox, "touch /usr/x; true").status == "ok"


def test_effects_outside_the_home_folder_are_noticed_when_there_are_no_others(sandbox: Sandbox) -> None:
    process = {"processes": [{"name": "web", "argv": ["sleep", "500"], "pid_file": "pid"}]}
    assert run(sandbox, "touch /tmp/x").other_effects
    assert run(sandbox, "touch /dev/shm/x").other_effects
    assert run(
        sandbox, "kill $(cat pid); while kill -0 $(cat pid) 2>/dev/null; do :; done", fixture=process
    ).other_effects
    assert not run(sandbox, "true", fixture=process).other_effects
