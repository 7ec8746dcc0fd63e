"""Plans that other verifiers judge wrongly: output floods, daemons, heredocs, quotes, traps. No false verdict here."""

# ruff: noqa: E501 (one case a line reads better than wrapped ones)
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.base import Verdict
from validators.execution_gate import judge_plan
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import MIB, Limits, Sandbox

Case = tuple[str | list[str], dict[str, Any] | None, str]
LIMITS = Limits(timeout_s=3, memory_bytes=128 * MIB, output_bytes=8 * MIB)
BIG = 5_000_000


@pytest.fixture(scope="module", params=["native-ns", pytest.param("docker-ns", marks=pytest.mark.docker)])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        opened = open_sandbox(request.param, limits=LIMITS)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield opened
    opened.close()


# plan, expectation (None: no such key), code of the verdict
TRAPS: dict[str, Case] = {
    "daemon holding stdout": ("setsid sleep 60 & echo started", {"stdout": "started\n"}, "ok"),
    "nohup daemon": ("nohup sleep 60 >/dev/null 2>&1 & echo $!", {"stdout_regex": "[0-9]+\n"}, "ok"),
    "double fork": ("(setsid sh -c 'sleep 60 & sleep 60' &) ; echo started", {"stdout": "started\n"}, "ok"),
    "daemon nobody asked for": ("sleep 60 & echo started", None, "processes_left"),
    "background child that ends": ("(sleep 0.2; echo late) & wait; echo end", {"stdout": "late\nend\n"}, "ok"),
    "background failure": ("cp none f & wait $!", None, "nonzero"),
    "589 kB of output": ("head -c 589000 /dev/zero | tr '\\0' x", {"stdout": "x" * 589_000}, "ok"),
    "1 MB of output": ("head -c 1000000 /dev/zero | tr '\\0' x", {"stdout": "x" * 1_000_000}, "ok"),
    "5 MB of output": (f"head -c {BIG} /dev/zero | tr '\\0' x", {"stdout": "x" * BIG}, "ok"),
    "1 MB on each stream": ("for i in {1..20}; do head -c 50000 /dev/zero | tee /dev/stderr; done | wc -c", {"stdout": "1000000\n"}, "ok"),
    "more output than allowed": ("yes | head -c 9000000", None, "output_limit"),
    "heredoc": ("cat > f <<'E'\n$a \"b\" 'c' `d` \\e\nE", {"files": {"f": {"text": "$a \"b\" 'c' `d` \\e\n"}}}, "ok"),
    "heredoc with tabs": ("ls; cat <<-E\n\ta\n\t\tb\n\tE", {"stdout": "a\nb\n"}, "ok"),
    "two heredocs": ("ls; cat <<A - <<B\n1\nA\n2\nB\necho 3", {"stdout": "2\n3\n"}, "ok"),
    "heredoc in a step of many": (["cat > f <<E\n1\nE", "cat f"], {"stdout": "1\n", "files": {"f": {"text": "1\n"}}}, "ok"),
    "words with spaces": ("touch 'a b'; ls \"a b\"; printf '%s|' \"x y\" z", {"stdout": "a b\nx y|z|", "files": {"a b": {}}}, "ok"),
    "quotes in quotes": ("ls; echo 'it'\"'\"'s' \"say \\\"hi\\\"\"", {"stdout": "it's say \"hi\"\n"}, "ok"),
    "name with a newline": ("touch $'two\\nlines'; ls | wc -l", {"stdout": "2\n", "files": {"two\nlines": {"text": ""}}}, "ok"),
    "name with a quote and a dash": ("touch -- \"-it's\"", {"files": {"-it's": {}}}, "ok"),
    "function and loop": ("f() { local n=$1; echo $((n * n)); }\nfor i in 1 2 3; do\n  f $i\ndone", {"stdout": "1\n4\n9\n"}, "ok"),
    "trap exit 0 on EXIT": ("trap 'exit 0' EXIT; cp none f", None, "trap_exit"),
    "trap exit 0 on ERR": ("trap 'exit 0' ERR\ncp none f\necho never", None, "trap_exit"),
    "cleaning trap": ("t=$(mktemp); trap 'rm -f $t' EXIT; echo 1 > $t; cat $t", {"stdout": "1\n"}, "ok"),
    "failure behind a cleaning trap": ("trap 'rm -f t' EXIT; cp none t", None, "nonzero"),
    "child out of memory": ("tail /dev/zero; echo fine", {"stdout": "fine\n"}, "oom_child"),
    "out of memory": ("tail /dev/zero", None, "oom"),
    "stdout closed": ("exec >&-; touch f", {"files": {"f": {}}}, "ok"),
    "writing to a closed stdout": ("exec >&-; echo x", None, "nonzero"),
    "reader of stdin": ("cat; read line; echo \"[$line]$?\"", {"stdout": "[]1\n"}, "ok"),
    "reader that needs stdin": ("read line", None, "nonzero"),
    "question": ("touch f; rm -i f; ls f", {"stdout": "f\n", "files": {}}, "unexpected_change"),
    "no terminal": ("test -t 0 || test -t 1 || test -t 2 || echo none", {"stdout": "none\n"}, "ok"),
    "program for a terminal": ("stty size", None, "nonzero"),
    "set -e in a list": ("ls; set -e; false; echo never", None, "nonzero"),
    "set -e and a test": ("ls; set -e; if false; then :; fi; false || echo go; echo end", {"stdout": "go\nend\n"}, "ok"),
    "set -o pipefail": ("ls; set -o pipefail; false | cat", None, "nonzero"),
    "failure before the last of a pipe": ("cat none | sort", None, "stderr_complaint"),
    "failure in the middle of a list": ("cp none f; echo done > g", None, "stderr_complaint"),
    "grep finds nothing": ("grep x /dev/null", {"exit_code": 1, "stdout": ""}, "ok"),
    "last words without a newline": ("ls; printf end", {"stdout": "end"}, "ok"),
    "no UTF-8": ("ls; printf '\\377\\0\\n'", {"stdout_regex": "\\\\xff\0\n"}, "ok"),
    "stops itself": ("kill -STOP $$", None, "timeout"),
    "sleeps": ("ls; sleep 1; echo end", {"stdout": "end\n"}, "ok"),
}  # fmt: skip


def verdict_on(case: Case, sandbox: Sandbox) -> Verdict:
    plan, expect, _ = case
    steps = [plan] if isinstance(plan, str) else plan
    record: dict[str, Any] = {"instruction": "i", "output": [{"command": step} for step in steps]}
    record |= {"metadata": {"skill": "s"}} | ({} if expect is None else {"expect": expect})
    return judge_plan(record, sandbox)


@pytest.mark.parametrize("name", TRAPS)
def test_trap_gets_the_right_verdict(sandbox: Sandbox, name: str) -> None:
    verdict = verdict_on(TRAPS[name], sandbox)
    assert verdict.code == TRAPS[name][2], (verdict.findings, verdict.details)


@pytest.mark.docker
@pytest.mark.slow
def test_docker_run_falls_into_no_trap_either() -> None:
    try:
        sandbox = open_sandbox("docker-run", limits=LIMITS)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    with ThreadPoolExecutor(4) as pool:
        codes = dict(zip(TRAPS, pool.map(lambda case: verdict_on(case, sandbox).code, TRAPS.values()), strict=True))
    sandbox.close()
    assert codes == {name: code for name, (_, _, code) in TRAPS.items()}


def test_daemon_does_not_delay_the_verdict(sandbox: Sandbox) -> None:
    verdict = verdict_on(TRAPS["daemon holding stdout"], sandbox)
    assert verdict.details["wall_s"] < 2
    assert verdict.details["processes_left"] == 1
    assert [found.code for found in verdict.findings] == ["processes_left"]
