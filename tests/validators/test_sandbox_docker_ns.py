"""The docker-ns backend: its containers are reused, replaced, bounded, closed, and gone when we are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.sandbox import confine
from validators.sandbox.backend import open_sandbox, self_test
from validators.sandbox.contract import MIB, Limits, Outcome
from validators.sandbox.docker_ns import SECCOMP, DockerNsSandbox

LIMITS = Limits(timeout_s=20, memory_bytes=96 * MIB, max_processes=32)
OPEN_FOR_THE_WORKER = {"mount", "pivot_root", "umount2", "unshare"}


def drop(_: str) -> None:
    pass


def run(sandbox: DockerNsSandbox, *commands: str, **job: Any) -> Outcome:
    return sandbox.run({"commands": list(commands), **job})


def docker(*words: str) -> list[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.split()


def containers(pid: int) -> set[str]:
    return set(docker("ps", "-q", "--filter", f"name=frontier-sandbox-{pid}-"))


def wait_until(claim: Callable[[], bool]) -> bool:
    for _ in range(1200):
        if claim():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    try:
        open_sandbox("docker-ns").close()
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")


@pytest.fixture
def others() -> set[str]:
    """Containers of other tests in this process."""
    return containers(os.getpid())


@pytest.fixture
def sandbox(others: set[str]) -> Iterator[DockerNsSandbox]:
    opened = DockerNsSandbox(LIMITS, drop, max_plans=5)
    yield opened
    opened.close()


pytestmark = pytest.mark.docker


def test_profile_denies_what_plans_are_denied_but_the_four_calls_that_make_a_sandbox() -> None:
    groups = json.loads(SECCOMP.read_text())["syscalls"]
    denied = {name for group in groups if "args" not in group for name in group["names"]}
    assert confine.DENIED.keys() - denied == OPEN_FOR_THE_WORKER
    assert {group["action"] for group in groups} == {"SCMP_ACT_ERRNO"}


RAW_CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    done = getattr(libc, name)(*args)
    print(name, "ok" if done >= 0 else os.strerror(ctypes.get_errno()))
call("getppid")
call("unshare", 0x10000000)
call("unshare", 0x20000)
call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
call("umount2", b"/proc", 2)
call("chroot", b"/tmp")
call("setns", os.open("/proc/self/ns/mnt", 0), 0)
call("ptrace", 16, os.getppid(), 0, 0)
call("sethostname", b"x", 1)
call("syscall", 56, 0x10000000 | 17, 0, 0, 0, 0)
call("syscall", 155, b"/tmp", b"/tmp")
call("syscall", 321, 0, 0, 0)
call("syscall", 425, 1, 0)
call("syscall", 435, 0, 0)
call("socket", 40, 1, 0)
call("socket", 17, 3, 0)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="call numbers of x86_64")
def test_plan_can_not_make_the_calls_that_made_its_sandbox(sandbox: DockerNsSandbox) -> None:
    outcome = run(sandbox, f"python3 - <<'E'\n{RAW_CALLS}E")
    denied = "Operation not permitted"
    answers = [line.partition(" ") for line in outcome.stdout["text"].splitlines()]
    assert [(name, words) for name, _, words in answers] == [
        ("getppid", "ok"), ("unshare", denied), ("unshare", denied), ("mount", denied), ("umount2", denied),
        ("chroot", denied), ("setns", denied), ("ptrace", denied), ("sethostname", denied), ("syscall", denied),
        ("syscall", denied), ("syscall", denied), ("syscall", denied), ("syscall", "Function not implemented"),
        ("socket", "Address family not supported by protocol"),
        ("socket", "Address family not supported by protocol"),
    ]  # fmt: skip


OUTER_CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    print(name if getattr(libc, name)(*args) >= 0 else os.strerror(ctypes.get_errno()))
call("ptrace", 0, 0, 0, 0)
call("syscall", 321, 0, 0, 0)
call("syscall", 250, 0, -3, 0)
call("syscall", 425, 1, 0)
call("syscall", 323, 1)
call("setns", os.open("/proc/self/ns/mnt", 0), 0)
call("chroot", b"/tmp")
call("socket", 40, 1, 0)
call("unshare", 0x10000000)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="call numbers of x86_64")
def test_profile_holds_for_the_worker_itself(sandbox: DockerNsSandbox, others: set[str]) -> None:
    run(sandbox, "true")
    (name,) = containers(os.getpid()) - others
    done = subprocess.run(["docker", "exec", name, "python3", "-c", OUTER_CALLS], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["Operation not permitted"] * 8 + ["unshare"]


def test_plan_sees_neither_the_container_nor_other_plans(sandbox: DockerNsSandbox) -> None:
    count = "p=(/proc/[0-9]*); echo ${#p[@]}"  # process 1 and the shell itself
    show = f"ls -A /tmp /dev/shm ~ /run /sys 2>&1; {count}; awk '$2 == \"/\" {{print $3}}' /proc/mounts"
    for _ in range(2):
        outcome = run(sandbox, f"{show}; touch ~/a /tmp/b /dev/shm/c; setsid sleep 60 &")
        empty = "/dev/shm:\n\n/home/user:\n\n/run:\n\n/tmp:\n"
        assert outcome.stdout["text"] == f"ls: cannot access '/sys': No such file or directory\n{empty}2\ntmpfs\n"
        assert (outcome.status, outcome.processes_left) == ("ok", 1)


def test_container_is_closed_and_bounded_as_asked(sandbox: DockerNsSandbox, others: set[str]) -> None:
    run(sandbox, "true")
    (name,) = containers(os.getpid()) - others
    info = json.loads("".join(subprocess.run(["docker", "inspect", name], capture_output=True, text=True).stdout))[0]
    config = info["HostConfig"]
    assert (config["NetworkMode"], config["ReadonlyRootfs"], config["CapDrop"]) == ("none", True, ["ALL"])
    assert (config["Privileged"], config["Binds"], config["LogConfig"]["Type"]) == (False, None, "none")
    assert (config["Memory"], config["MemorySwap"], config["PidsLimit"]) == (120 * MIB, 120 * MIB, 33)
    assert (config["NanoCpus"], config["AutoRemove"], info["Config"]["User"]) == (10**9, True, "1000:1000")
    assert config["SecurityOpt"][0] == "no-new-privileges"
    assert info["Config"]["Labels"]["frontier.sandbox"] == ""


def test_one_container_takes_plan_after_plan_until_it_took_enough(sandbox: DockerNsSandbox, others: set[str]) -> None:
    seen = []
    for _ in range(6):
        assert run(sandbox, "true").status == "ok"
        seen.append(containers(os.getpid()) - others)
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert seen[5].isdisjoint(seen[0]) or wait_until(lambda: seen[0].isdisjoint(containers(os.getpid())))


def test_threads_get_a_container_each_and_no_more(sandbox: DockerNsSandbox, others: set[str]) -> None:
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda n: run(sandbox, f"sleep 0.3; echo {n}"), range(9)))
    assert [outcome.stdout["text"] for outcome in outcomes] == [f"{n}\n" for n in range(9)]
    assert len(containers(os.getpid()) - others) == 3


def test_container_that_ran_out_of_memory_is_replaced(sandbox: DockerNsSandbox, others: set[str]) -> None:
    run(sandbox, "true")
    before = containers(os.getpid()) - others
    assert run(sandbox, "tail /dev/zero").status == "oom"
    assert run(sandbox, "echo well").stdout["text"] == "well\n"
    assert len(containers(os.getpid()) - others - before) == 1


def test_container_killed_while_idle_is_replaced(sandbox: DockerNsSandbox, others: set[str]) -> None:
    run(sandbox, "true")
    docker("rm", "--force", *(containers(os.getpid()) - others))
    outcome = run(sandbox, "echo well")
    assert (outcome.status, outcome.stdout["text"]) == ("ok", "well\n")


# Of the sandbox, not of the container: that one's name is python3.
KILL_PROCESS_1 = "for p in /proc/[0-9]*; do [ $(cat $p/comm) = init ] && kill -9 ${p#/proc/}; done"


@pytest.mark.parametrize("blow", [("rm", "--force"), ("exec",)], ids=["container", "process_1"])
def test_plan_whose_sandbox_was_killed_is_run_again(
    sandbox: DockerNsSandbox, others: set[str], blow: tuple[str, ...]
) -> None:
    run(sandbox, "true")
    first = containers(os.getpid()) - others
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, sandbox, "sleep 1; echo well")
        assert wait_until(lambda: "sleep" in docker("top", *first))
        script = ("bash", "-c", KILL_PROCESS_1) if blow == ("exec",) else ()
        subprocess.run(["docker", *blow, *first, *script], capture_output=True, check=False)
        outcome = running.result(timeout=60)
    assert (outcome.status, outcome.stdout["text"]) == ("ok", "well\n")
    assert first.isdisjoint(containers(os.getpid())) or wait_until(lambda: first.isdisjoint(containers(os.getpid())))


def test_plan_that_can_not_be_run_is_a_sandbox_error_after_one_retry(
    sandbox: DockerNsSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "image", "frontier-sandbox:no-such-tag")
    outcome = run(sandbox, "true")
    assert (outcome.status, outcome.failure) == ("sandbox_error", "sandbox")
    assert "no answer from the sandbox" in outcome.reason


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from concurrent.futures import ThreadPoolExecutor
from validators.sandbox.backend import open_sandbox
sandbox = open_sandbox("docker-ns")
with ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda n: sandbox.run({"commands": ["sleep 0.2"]}), range(2)))
print("ready", flush=True)
sandbox.run({"commands": ["sleep 300"]})
"""


def test_killed_client_leaves_no_container_idle_or_busy() -> None:
    root = str(Path(__file__).parents[2])
    client = subprocess.Popen([sys.executable, "-c", CLIENT, root], stdout=subprocess.PIPE)
    assert client.stdout is not None
    with client.stdout:
        assert client.stdout.readline() == b"ready\n"
        assert len(containers(client.pid)) == 2
        client.send_signal(signal.SIGKILL)
        client.wait()
    every = ("ps", "-aq", "--filter", f"name=frontier-sandbox-{client.pid}-")
    assert wait_until(lambda: docker(*every) == [])


def test_close_ends_idle_and_busy_containers(others: set[str]) -> None:
    sandbox = DockerNsSandbox(LIMITS, drop)
    assert self_test(sandbox) == []
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(run, sandbox, "sleep 60")
        assert wait_until(lambda: not sandbox._idle)
        assert run(sandbox, "true").status == "ok"
        sandbox.close()
        assert running.result(timeout=20).failure == "closed"
    assert wait_until(lambda: containers(os.getpid()) <= others)
    assert run(sandbox, "true").failure == "closed"


def test_description_says_what_a_reader_of_the_verdict_needs(sandbox: DockerNsSandbox) -> None:
    described = sandbox.describe()
    assert described["backend"] == "docker-ns"
    assert described["image"].startswith("frontier-sandbox:")
    assert described["seccomp"] == "docker_ns_seccomp.json for the worker, confine.py for plans"
    assert described["limits"]["memory_bytes"] == 96 * MIB
    assert json.loads(json.dumps(described)) == described


def test_many_plans_leave_the_worker_as_it_was(sandbox: DockerNsSandbox) -> None:
    roomy = DockerNsSandbox(LIMITS, drop)

    def size() -> tuple[int, int]:
        """Resident memory of the worker in KiB, its open descriptors; seen from inside its container."""
        (name,) = containers(os.getpid()) - before
        script = "awk '/^VmRSS/ {print $2}' /proc/1/status; ls /proc/1/fd | wc -l; ls -d /proc/[0-9]* | wc -l"
        memory, num_fds, _ = docker("exec", name, "bash", "-c", script)
        return int(memory), int(num_fds)

    before = containers(os.getpid())
    try:
        run(roomy, "true")
        memory, num_fds = size()
        for _ in range(60):
            assert run(roomy, "echo x > f; mkdir -p a/b").num_changes == 3
        later, num_fds_later = size()
        assert num_fds_later == num_fds
        assert later - memory < 512
    finally:
        roomy.close()
