"""The record contract of docs/records.md on every backend: fixtures, steps, expectations, statuses."""

# ruff: noqa: E501 (one expectation a line reads better than wrapped ones)
from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import ConfigError, EnvironmentMissing, SandboxError
from validators.sandbox import confine
from validators.sandbox.backend import BACKENDS, open_sandbox, self_test
from validators.sandbox.contract import Limits, Outcome, Sandbox
from validators.sandbox.docker_run import RUNNER_MODULES
from validators.sandbox.expectations import difference, inflate
from validators.sandbox.snapshot import glob_matcher
from validators.sandbox.tools import TOOLS, advice

DOCKER_NS = pytest.param("docker-ns", marks=pytest.mark.docker)
DOCKER_RUN = pytest.param("docker-run", marks=pytest.mark.docker)


def opened(name: str) -> Iterator[Sandbox]:
    try:
        sandbox = open_sandbox(name)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", params=["native-ns", DOCKER_NS, DOCKER_RUN])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    yield from opened(request.param)


@pytest.fixture(scope="module", params=["native-ns", DOCKER_NS])
def fast_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    yield from opened(request.param)


@pytest.fixture(scope="module")
def native() -> Iterator[Sandbox]:
    yield from opened("native-ns")


def run(sandbox: Sandbox, *commands: str, **job: Any) -> Outcome:
    return sandbox.run({"commands": list(commands), **job})


def codes(outcome: Outcome) -> list[str]:
    assert outcome.status == "ok", (outcome.reason, outcome.stderr)
    return [found["code"] for found in outcome.findings]


def test_fixture_of_every_kind_is_there_before_the_plan(sandbox: Sandbox) -> None:
    fixture = {
        "files": {
            "a/text": {"text": "one\n", "mode": "600", "mtime": 1000},
            "raw": {"base64": base64.b64encode(b"\x00\xff").decode()},
            "big": {"size": 3000},
        },
        "dirs": {"closed": {"mode": "0500"}},
        "symlinks": {"links/to": "../a/text"},
        "setup": "git init -q repo && cd repo && echo x > f && git add f && git commit -qm first",
        "env": {"COLOUR": "red"},
        "hostname": "box7",
    }
    script = (
        "stat -c '%n %a %s %Y' a/text; stat -c '%n %a' closed; od -An -tx1 raw; stat -c %s big; cat links/to; "
        "echo $COLOUR $HOME $USER $LANG $TZ $(umask); hostname; pwd; git -C repo log --format='%an %ae %aI %s'"
    )
    outcome = run(sandbox, script, fixture=fixture)
    assert outcome.stdout["text"] == (
        "a/text 600 4 1000\nclosed 500\n 00 ff\n3000\none\nred /home/user user C.UTF-8 UTC 0022\nbox7\n/home/user\n"
        "user user@sandbox 2024-01-01T00:00:00+00:00 first\n"
    )
    assert outcome.changes == ()


def test_steps_share_folder_and_exported_variables_and_stop_at_the_first_failure(sandbox: Sandbox) -> None:
    outcome = run(
        sandbox, "mkdir -p 'a b' && cd 'a b' && export N='x\ny' && M=1", 'pwd; echo "$N-$M"; false', "touch never"
    )
    assert (outcome.status, outcome.exit_code, len(outcome.steps)) == ("nonzero", 1, 2)
    assert outcome.stdout["text"] == "/home/user/a b\nx\ny-\n"
    assert [change["path"] for change in outcome.changes] == ["a b"]


def test_heredocs_quotes_and_syntax_errors_are_the_shells_business(sandbox: Sandbox) -> None:
    outcome = run(sandbox, "cat <<'E'\n$a \"b\" 'c'\nE\necho 'it'\"'\"'s'", "echo (")
    assert outcome.stdout["text"] == "$a \"b\" 'c'\nit's\n"
    assert (outcome.status, outcome.exit_code) == ("nonzero", 2)


def test_difference_names_every_change_and_nothing_else(sandbox: Sandbox) -> None:
    fixture = {"files": {"same": {"text": "s"}, "gone": {"text": "g"}, "mode": {"text": "m"}, "text": {"text": "t"}}}
    script = "touch same; rm gone; chmod 700 mode; echo more >> text; mkdir new; ln -s same new/link"
    outcome = run(sandbox, script, fixture=fixture)
    assert [(c["path"], c["change"], c["kind"], c["mode"], c["size"], c["target"]) for c in outcome.changes] == [
        ("gone", "removed", "file", "0644", 1, ""),
        ("mode", "changed", "file", "0700", 1, ""),
        ("new", "added", "dir", "0755", 0, ""),
        ("new/link", "added", "symlink", "0777", 0, "same"),
        ("text", "changed", "file", "0644", 6, ""),
    ]


EXPECTATIONS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "text": ("echo a > f", {"files": {"f": {"text": "a\n"}}}, []),
    "text_wrong": ("echo b > f", {"files": {"f": {"text": "a\n"}}}, ["wrong_file"]),
    "text_missing": ("true", {"files": {"f": {"text": "a\n"}}}, ["missing_file"]),
    "sha256": (
        "printf abc > f",
        {"files": {"f": {"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}},
        [],
    ),
    "sha256_wrong": ("printf abd > f", {"files": {"f": {"sha256": "ba7816bf" + "0" * 56}}}, ["wrong_file"]),
    "gzip": ("echo a | gzip > f.gz", {"files": {"f.gz": {"gzip": "a\n"}}}, []),
    "gzip_wrong": ("echo b | gzip > f.gz", {"files": {"f.gz": {"gzip": "a\n"}}}, ["wrong_file"]),
    "gzip_that_is_none": ("echo a > f.gz", {"files": {"f.gz": {"gzip": "a\n"}}}, ["wrong_file"]),
    "tar": (
        "mkdir d; echo 1 > d/x; echo 2 > d/y; tar -czf a.tgz d; rm -r d",
        {"files": {"a.tgz": {"tar": {"d/x": "1\n", "d/y": None}}}},
        [],
    ),
    "tar_dot": ("mkdir d; echo 1 > d/x; tar -C d -cf a.tar .; rm -r d", {"files": {"a.tar": {"tar": {"x": "1\n"}}}}, []),
    "tar_lacks": ("echo 1 > x; tar -cf a.tar x; rm x", {"files": {"a.tar": {"tar": {"x": "1\n", "y": None}}}}, ["wrong_file"]),
    "tar_has_more": ("echo 1 > x; cp x y; tar -cf a.tar x y; rm x y", {"files": {"a.tar": {"tar": {"x": None}}}}, ["wrong_file"]),
    "tar_wrong_text": ("echo 2 > x; tar -cf a.tar x; rm x", {"files": {"a.tar": {"tar": {"x": "1\n"}}}}, ["wrong_file"]),
    "tar_cut_off": ("echo 1 > x; tar -czf - x | head -c 60 > a.tgz; rm x", {"files": {"a.tgz": {"tar": {"x": None}}}}, ["wrong_file"]),
    "symlink": ("ln -s to l", {"files": {"l": {"symlink": "to"}}}, []),
    "symlink_wrong": ("ln -s from l", {"files": {"l": {"symlink": "to"}}}, ["wrong_file"]),
    "dir": ("mkdir -p a/b", {"files": {"a/b": {"dir": True}}}, []),
    "dir_is_file": ("touch a", {"files": {"a": {"dir": True}}}, ["wrong_file"]),
    "absent": ("rm old", {"files": {"old": {"absent": True}}}, []),
    "absent_folder_with_all_in_it": ("rm -r tree", {"files": {"tree": {"absent": True}}}, []),
    "absent_still_there": ("true", {"files": {"old": {"absent": True}}}, ["wrong_file"]),
    "mode": ("chmod 750 old", {"files": {"old": {"mode": "0750"}}}, []),
    "mode_wrong": ("chmod 755 old", {"files": {"old": {"mode": "750"}}}, ["wrong_mode"]),
    "fact": ("uname -m > f", {"files": {"f": {"fact": "uname.machine"}}}, []),
    "fact_template": ("echo cpus=$(nproc) > f", {"files": {"f": {"fact": "cpu_count", "template": "cpus={}\n"}}}, []),
    "fact_wrong": ("echo 0 > f", {"files": {"f": {"fact": "cpu_count"}}}, ["wrong_file"]),
    "stdout": ("echo a; echo b >&2", {"stdout": "a\n"}, []),
    "stdout_wrong": ("echo b", {"stdout": "a\n"}, ["wrong_stdout"]),
    "stdout_regex": ("echo abc", {"stdout_regex": "a.*\n"}, []),
    "stdout_regex_wants_the_whole": ("echo abc", {"stdout_regex": "a"}, ["wrong_stdout"]),
    "stdout_fact": ("hostname", {"stdout_fact": "hostname"}, []),
    "stdout_fact_wrong": ("echo x", {"stdout_fact": "page_size"}, ["wrong_stdout"]),
    "exit_code": ("exit 3", {"exit_code": 3}, []),
    "exit_code_wrong": ("exit 0", {"exit_code": 3}, ["wrong_exit_code"]),
    "unexpected": ("touch extra", {}, ["unexpected_change"]),
    "unexpected_removal": ("rm old", {}, ["unexpected_change"]),
    "unexpected_mode": ("chmod 600 old", {}, ["unexpected_change"]),
    "ignored": ("mkdir -p r/.git/x; touch r/.git/x/y", {"files": {"r": {"dir": True}}, "ignore": ["r/.git/**"]}, []),
    "other_changes_allowed": ("touch extra", {"allow_other_changes": True}, []),
    "tmp_is_free": ("touch /tmp/x", {}, []),
    "contains": ("printf 'a b\\nc\\n' > f", {"files": {"f": {"contains": ["a b", "c"]}}}, []),
    "contains_not": ("echo a > f", {"files": {"f": {"contains": "b"}}}, ["wrong_file"]),
    "regex": ("printf 'x\\nn=12\\n' > f", {"files": {"f": {"regex": "^n=[0-9]+$"}}}, []),
    "regex_not": ("echo n=x > f", {"files": {"f": {"regex": "^n=[0-9]+$"}}}, ["wrong_file"]),
    "regex_of_no_file": ("mkdir f", {"files": {"f": {"regex": "x"}}}, ["wrong_file"]),
    "size": ("printf 12345 > f", {"files": {"f": {"min_size": 5, "max_size": 5}}}, []),
    "size_too_small": ("printf 1234 > f", {"files": {"f": {"min_size": 5}}}, ["wrong_file"]),
    "size_too_large": ("printf 1234 > f", {"files": {"f": {"max_size": 3}}}, ["wrong_file"]),
    "count": ("mkdir d; touch d/a.gz d/b.gz d/c", {"counts": {"d/*.gz": 2, "**/c": {"min": 1}}, "ignore": ["d/**"]}, []),
    "count_wrong": ("touch a.gz", {"counts": {"*.gz": {"min": 2, "max": 3}}}, ["wrong_count"]),
    "count_of_none": ("rm old", {"counts": {"ol*": 0}}, []),
    "must_change": ("echo x >> old; mkdir out; touch out/x", {"must_change": ["old", "out/**"]}, []),
    "must_change_does_not": ("true", {"must_change": ["old"]}, ["missing_change"]),
    "must_not_change": ("touch new", {"must_not_change": ["old", "tree/**"], "allow_other_changes": True}, []),
    "must_not_change_does": ("rm -r tree", {"must_not_change": ["tree/**"], "allow_other_changes": True}, ["unexpected_change"]),
    "stderr_regex": ("echo warned >&2", {"stderr_regex": "warn.*\n"}, []),
    "stderr_regex_wants_the_whole": ("echo warned >&2", {"stderr_regex": "warn"}, ["wrong_stderr"]),
    "check": ("echo a > f", {"files": {"f": {}}, "checks": [{"command": "cat f", "stdout": "a\n"}]}, []),
    "check_exit_code": ("true", {"checks": [{"command": "test -e f", "exit_code": 1}]}, []),
    "check_fails": ("true", {"checks": [{"command": "test -e f"}]}, ["check_failed"]),
    "check_says_other": ("true", {"checks": [{"command": "echo b", "stdout_regex": "a\n"}]}, ["check_failed"]),
    "check_sees_no_plan_variables": ("export A=1", {"checks": [{"command": "echo $A", "stdout": "\n"}]}, []),
    "process_gone": ("kill $(cat pid)", {"processes": {"web": "gone"}}, []),
    "process_running": ("true", {"processes": {"web": "running"}}, []),
    "process_not_gone": ("true", {"processes": {"web": "gone"}}, ["wrong_process"]),
    "process_not_running": ("kill $(cat pid)", {"processes": {"web": "running"}}, ["wrong_process"]),
    "process_waited_for": ("p=$(cat pid); kill $p; while kill -0 $p; do :; done", {"processes": {"web": "gone"}}, []),
    "service": ("exec 3<>/dev/tcp/127.0.0.1/8099; printf 'GET /v HTTP/1.0\\r\\n\\r\\n' >&3; tail -1 <&3", {"stdout": "7\n"}, []),
}  # fmt: skip


def findings_of(sandbox: Sandbox, name: str) -> list[str]:
    command, expect, _ = EXPECTATIONS[name]
    fixture: dict[str, Any] = {"files": {"old": {"text": "o\n"}, "tree/sub/f": {"text": "t\n"}}}
    if name.startswith("process"):
        fixture |= {"processes": [{"name": "web", "argv": ["sleep", "500"], "pid_file": "pid"}]}
    if name == "service":
        fixture |= {"services": [{"port": 8099, "pages": {"/v": "7\n"}}]}
    return codes(run(sandbox, command, fixture=fixture, expect=expect))


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_expectation(fast_sandbox: Sandbox, name: str) -> None:
    assert findings_of(fast_sandbox, name) == EXPECTATIONS[name][2]


@pytest.mark.docker
@pytest.mark.slow
def test_docker_run_agrees_on_every_expectation() -> None:
    try:
        sandbox = open_sandbox("docker-run")
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(EXPECTATIONS, pool.map(lambda name: findings_of(sandbox, name), EXPECTATIONS), strict=True))
    assert found == {name: wanted for name, (_, _, wanted) in EXPECTATIONS.items()}


def test_findings_say_where_and_what(sandbox: Sandbox) -> None:
    expect = {"files": {"a~b/c": {"text": "one\ntwo\n"}}}
    outcome = run(sandbox, "mkdir 'a~b'; printf 'one\\n2\\n' > 'a~b/c'", expect=expect)
    assert outcome.findings == (
        {
            "code": "wrong_file",
            "message": "a~b/c: line 2 is '2', should be 'two'",
            "pointer": "/expect/files/a~0b~1c",
            "remedy": "",
        },
    )


def test_bad_fixture_is_the_sandboxs_failure_not_the_plans(sandbox: Sandbox) -> None:
    for fixture in (
        {"setup": "echo broken >&2; exit 4"},
        {"files": {"../out": {"text": "x"}}},
        {"processes": [{"name": "p", "argv": ["/no/such"]}]},
        {"setup": "cd /no/such\ntrue"},
        {"files": {"f": {"base64": "?"}}},
    ):
        outcome = run(sandbox, "true", fixture=fixture)
        assert (outcome.status, outcome.failure) == ("sandbox_error", "bad_fixture")
    assert "setup ended with 4: broken" in run(sandbox, "true", fixture={"setup": "echo broken >&2; exit 4"}).reason


def test_bad_expectation_is_not_a_rejection(sandbox: Sandbox) -> None:
    for expect in (
        {"stdout_regex": "("},
        {"files": {"f": {"regex": "["}}},
        {"checks": [{"command": ":", "stdout_regex": "*"}]},
    ):
        outcome = run(sandbox, "touch f", expect=expect | {"ignore": ["f"]})
        assert (outcome.status, outcome.failure) == ("sandbox_error", "bad_expect")


def test_pattern_that_never_ends_is_a_bad_expectation(native: Sandbox) -> None:
    endless = "(a+)+b"
    for expect in (
        {"stdout_regex": endless},
        {"files": {"f": {"regex": endless}}},
        {"checks": [{"command": "cat f", "stdout_regex": endless}], "ignore": ["f"]},
    ):
        outcome = run(native, "printf '%050d' 0 | tr 0 a | tee f", expect={"ignore": ["f"]} | expect)
        assert (outcome.status, outcome.failure) == ("sandbox_error", "bad_expect")
        assert "not decided within 2 s" in outcome.reason


def test_unknown_fact_is_a_bad_expectation_even_when_its_error_text_is_printed(sandbox: Sandbox) -> None:
    for expect in ({"stdout_fact": "hostnam"}, {"files": {"f": {"fact": "hostnam"}}}):
        outcome = run(sandbox, "echo no fact hostnam; touch f", expect=expect | {"ignore": ["f"]})
        assert (outcome.status, outcome.failure) == ("sandbox_error", "bad_expect")


def test_missing_tool_is_named_with_its_package(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOOLS, "no-such-tool", "some-package")
    for outcome in (run(sandbox, "true", tools=["no-such-tool"]), run(sandbox, "no-such-tool --now")):
        assert (outcome.status, outcome.failure) == ("sandbox_error", "missing_tool")
        assert outcome.reason == "the sandbox lacks no-such-tool (apt-get install some-package)"
    assert run(sandbox, "unheard-of").status == "nonzero"


def test_many_threads_get_a_world_each(sandbox: Sandbox) -> None:
    def one(number: int) -> str:
        expect = {"files": {"n": {"text": f"{number}\n"}}}
        return ",".join(codes(run(sandbox, f"sleep 0.1; ls; echo {number} > n", expect=expect | {"stdout": ""})))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(8))) == [""] * 8


def test_closed_sandbox_stops_what_runs_and_refuses_more(sandbox: Sandbox) -> None:
    other = open_sandbox(sandbox.name)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, other, "sleep 60")
        assert wait_until(lambda: bool(getattr(other, "_running", None)))
        other.close()
        assert running.result(timeout=20).status == "sandbox_error"
    assert run(other, "true").reason == "the sandbox was closed"


@pytest.mark.docker
def test_container_closed_while_being_made_is_removed() -> None:
    try:
        sandbox = open_sandbox("docker-run")
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    mine = ["docker", "ps", "-a", "-q", "--filter", f"name=frontier-sandbox-{os.getpid()}-"]
    others = set(subprocess.run(mine, capture_output=True, check=True).stdout.split())
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(run, sandbox, "sleep 60") for _ in range(2)]
        assert wait_until(lambda: len(getattr(sandbox, "_running", ())) == 2)
        sandbox.close()
        assert [future.result(timeout=60).failure for future in running] == ["closed", "closed"]
    assert wait_until(lambda: set(subprocess.run(mine, capture_output=True, check=True).stdout.split()) <= others)


def test_self_test_passes_and_description_is_plain_json(sandbox: Sandbox) -> None:
    assert self_test(sandbox) == []
    described = sandbox.describe()
    assert described["backend"] == sandbox.name
    assert described["limits"]["max_processes"] == 128


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from validators.sandbox.backend import open_sandbox
sandbox = open_sandbox(sys.argv[2])
print("ready", flush=True)
sandbox.run({"commands": ["exec -a left-over-%s sleep 300" % sys.argv[3]], "limits": {}})
"""


def test_killed_parent_leaves_nothing_running(sandbox: Sandbox) -> None:
    mark = f"{os.getpid()}-{sandbox.name}"
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen([sys.executable, "-c", PARENT, root, sandbox.name, mark], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"ready\n"
        assert wait_until(lambda: count_processes(f"left-over-{mark}") == 1)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: count_processes(f"left-over-{mark}") == 0)


def wait_until(claim: Any, tries: int = 400) -> bool:
    import time

    for _ in range(tries):
        if claim():
            return True
        time.sleep(0.025)
    return False


def count_processes(word: str) -> int:
    found = 0
    for folder in Path("/proc").iterdir():
        try:
            found += folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(word.encode())
        except OSError:
            continue
    return found


def test_works_as_an_ordinary_user(native: Sandbox) -> None:
    if os.geteuid() != 0:
        pytest.skip("already runs as an ordinary user")
    python = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)), None)
    if python is None:
        pytest.skip("no python3 that other users can run")
    program = Path(__file__).parents[2] / "validators/sandbox"
    bundle = "import sys, os; os.setgroups([]); os.setgid(65533); os.setuid(65533)\n"
    sources = {name: (program / f"{name}.py").read_text() for name in RUNNER_MODULES}
    bundle += "import types\nfor n in ('validators', 'validators.sandbox'):\n  sys.modules[n] = types.ModuleType(n)\n"
    bundle += "  sys.modules[n].__path__ = []\n"
    for name, text in sources.items():
        bundle += f"m = sys.modules['validators.sandbox.{name}'] = types.ModuleType('{name}')\n"
        bundle += f"sys.modules['validators.sandbox'].{name} = m\nexec({text!r}, m.__dict__)\n"
    bundle += f"__file__ = '/x'\nexec({(program / 'namespaces.py').read_text()!r})\n"
    limits = native.runner_limits() | {  # type: ignore[attr-defined]
        "timeout_s": 5, "memory_bytes": 1 << 28, "max_processes": 32, "disk_bytes": 1 << 24, "output_bytes": 1 << 16,
    }  # fmt: skip
    job = {"commands": ["id -u"], "fixture": {}, "expect": {}, "tools": [], "known_tools": [], "limits": limits}
    import json

    with subprocess.Popen([python, "-I", "-S", "-c", bundle], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(job).encode() + b"\n")
        child.stdin.flush()
        answer = json.loads(child.stdout.readline())
    assert answer["stdout"]["text"] == "1000\n", answer


def test_limits_refuse_what_nothing_could_run_under() -> None:
    with pytest.raises(ConfigError, match="the memory limit"):
        Limits(memory_bytes=1)


def test_unknown_backend_is_a_config_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        open_sandbox("docker-rum")
    assert "docker-run" in caught.value.hint


def test_no_backend_at_all_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *_: object) -> Sandbox:
        tool = name.partition("-")[0]
        raise EnvironmentMissing(f"{tool} is not here", hint=f"install {tool}")

    monkeypatch.setattr("validators.sandbox.backend._open_one", refuse)
    with pytest.raises(EnvironmentMissing) as caught:
        open_sandbox()
    assert caught.value.message == "no sandbox to run plans in: docker is not here; native is not here"
    assert caught.value.hint == "install docker; or: install native"


@pytest.mark.parametrize(
    ("broken", "chosen", "notes"),
    [
        ({}, "docker-ns", []),
        ({"docker-ns": "no user namespaces"}, "docker-run", ["docker-ns passed over: no user namespaces"]),
        ({"docker-ns": "no engine", "docker-run": "no engine"}, "native-ns",
         ["docker-ns and docker-run passed over: no engine"]),
        ({"docker-ns": "no user namespaces", "docker-run": "no engine"}, "native-ns",
         ["docker-ns passed over: no user namespaces", "docker-run passed over: no engine"]),
    ],
)  # fmt: skip
def test_auto_takes_the_first_that_works_and_says_why_not_the_others(
    monkeypatch: pytest.MonkeyPatch, broken: dict[str, str], chosen: str, notes: list[str]
) -> None:
    def choose(name: str, *_: object) -> str:
        if name in broken:
            raise EnvironmentMissing(broken[name])
        return name

    monkeypatch.setattr("validators.sandbox.backend._open_one", choose)
    heard: list[str] = []
    assert open_sandbox(on_note=heard.append) == chosen
    assert heard == notes


def test_sandbox_that_lets_something_through_fails_the_self_test() -> None:
    class Leaky:
        name = "leaky"

        def run(self, job: dict[str, Any]) -> Outcome:
            text = "uid=0\nhomes=user\nroot_home=yes\n"
            return Outcome(status="ok", backend="leaky", stdout={"text": text}, processes_left=1)

    failures = self_test(Leaky())  # type: ignore[arg-type]
    assert failures[:2] == ["probe uid says '0'", "probe root_home says 'yes'"]


def test_answer_in_another_form_is_a_sandbox_error() -> None:
    with pytest.raises(SandboxError, match="unknown form"):
        Outcome.from_json({"status": "ok", "verdict": "fine"}, "x")
    with pytest.raises(SandboxError, match="unknown status"):
        Outcome.from_json({"status": "splendid"}, "x")


def test_backends_are_tried_strongest_first() -> None:
    assert BACKENDS == ("docker-ns", "docker-run", "native-ns")


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (b"a\n", b"a\n", ""),
        (b"a\n", b"a", "lacks the last newline"),
        (b"a", b"a\n", "ends in one newline too many"),
        (b"a\nb\n", b"a\n", "line 2 is '', should be 'b'"),
        (b"a\n", b"a\nb\n", "line 2 is 'b', should be ''"),
        (b"a", b"\xff", "line 1 is '\\\\xff', should be 'a'"),
    ],
)
def test_difference_is_told_in_words(expected: bytes, found: bytes, words: str) -> None:
    assert difference(expected, found) == words


@pytest.mark.parametrize(
    ("glob", "path", "is_match"),
    [
        ("repo/.git/**", "repo/.git/a/b", True),
        ("repo/.git/**", "repo/.git", True),
        ("repo/.git/**", "repo/.gitignore", False),
        ("*.log", "a.log", True),
        ("*.log", "d/a.log", False),
        ("**/*.log", "d/e/a.log", True),
        ("**/*.log", "a.log", True),
        ("a?c", "abc", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-b-b-", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/y/c", False),
        ("**", "a/b", True),
        ("a/*", "a", False),
        ("*", "", True),
        ("[a]", "[a]", True),
        ("a.c", "abc", False),
    ],
)
def test_globs_know_folders(glob: str, path: str, is_match: bool) -> None:
    assert glob_matcher([glob])(path) is is_match


@given(st.text("ab/", max_size=8), st.lists(st.sampled_from(["a", "b", "/", "*", "?", "**/"]), max_size=6))
def test_glob_matches_what_its_pattern_says(path: str, parts: list[str]) -> None:
    glob = re.sub(r"\*{3,}", "**", "".join(parts))
    if re.search(r"[^/]\*\*|\*\*[^/]", glob):
        return  # `**` is a folder's whole name or nothing
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(words.get(part, part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob.removesuffix("/**")))
    pattern += "(?:/.*)?" if glob.endswith("/**") else ""
    assert glob_matcher([glob])(path) is (re.fullmatch(pattern, path) is not None)


def test_glob_that_would_take_a_pattern_for_ever_is_decided_at_once() -> None:
    assert not glob_matcher(["**/" * 30 + "*a" * 40 + "b"])("/".join(["a" * 200] * 20))


def test_unpacking_stops_at_the_cap() -> None:
    import gzip

    bomb = gzip.compress(bytes(10_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        inflate(bomb, 1_000_000)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_jumps_stay_inside_the_program(machine: str) -> None:
    import struct

    program = confine.filter_program(machine)
    steps = [struct.unpack("HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    assert 80 < len(steps) < 256
    for position, (code, if_true, if_false, _) in enumerate(steps):
        if code & 7 == 5:
            assert position + 1 + max(if_true, if_false) < len(steps)
    assert steps[-1] == (6, 0, 0, confine.ALLOW)
    assert confine.filter_program("riscv64") == b""


def test_advice_names_each_package_once() -> None:
    assert advice("gzip zcat jq") == "apt-get install gzip jq"


def test_self_test_has_a_time_limit_of_its_own() -> None:
    try:
        strict = open_sandbox("native-ns", limits=Limits(timeout_s=0.1))
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    try:
        assert run(strict, "sleep 1").status == "timeout"
        assert run(strict, "sleep 0.3", timeout_s=20.0).status == "ok"
    finally:
        strict.close()


@pytest.mark.parametrize(
    ("limit", "message", "hint"),
    [
        ({"timeout_s": float("nan")}, "the time limit of nan s is out of range", "0.1 to 86,400 s"),
        ({"timeout_s": float("inf")}, "the time limit of inf s is out of range", "0.1 to 86,400 s"),
        ({"memory_bytes": 16 << 20}, "the memory limit of 16 MiB is out of range", "32 to 1,048,576 MiB"),
        ({"max_processes": 4}, "the process limit of 4 is out of range", "8 to 30,000"),
        ({"disk_bytes": 1 << 50}, "the disk limit of 1,073,741,824 MiB is out of range", "1 to 65,536 MiB"),
    ],
)
def test_limit_out_of_range_says_which_and_the_range(limit: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(**limit)
    assert (caught.value.message, caught.value.hint) == (message, hint)
