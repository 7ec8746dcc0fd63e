"""Thousands of plans through one worker: no verdict is wrong, and the worker is in the end as it was.

FRONTIER_SOAK sets how many; the default fits a few minutes on two cores.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import MIB, Limits, Outcome
from validators.sandbox.docker_ns import DockerNsSandbox
from validators.sandbox.docker_run import connect
from validators.sandbox.native import NativeSandbox
from validators.sandbox.pool import Worker, WorkerPool

pytestmark = pytest.mark.slow

# A hanging plan must be found out, but a busy machine must not make one of a plan that is only slow.
LIMITS = Limits(timeout_s=60, memory_bytes=96 * MIB, max_processes=32, disk_bytes=16 * MIB, output_bytes=MIB // 16)
NUM_PLANS = {"docker-ns": 10_000, "native-ns": 2_000}
WARM_UP = 200
"""Plans before the worker is looked at for the first time: allocators and caches have then found their size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A plan and what is known of its verdict beforehand; run at every `every`th turn."""

    job: dict[str, Any]
    is_right: Callable[[Outcome], bool]
    every: int = 1


def codes(outcome: Outcome) -> list[str]:
    return [found["code"] for found in outcome.findings]


LISTEN = """
import socket
listener = socket.socket()
listener.bind(("127.0.0.1", 8000))
listener.listen()
other = socket.socket(socket.AF_UNIX)
other.bind("\\0name")
client = socket.create_connection(("127.0.0.1", 8000))
listener.accept()[0].close()
print(client.recv(1))
"""

CASES = [
    Case(
        job={"commands": ["echo $((2 * 3))"]},
        is_right=lambda o: (o.status, o.stdout["text"], o.changes) == ("ok", "6\n", ()),
    ),
    Case(
        job={
            "commands": ["mkdir -p out", "mv a.txt out/b.txt"],
            "fixture": {"files": {"a.txt": {"text": "one\n"}}},
            "expect": {"files": {"a.txt": {"absent": True}, "out/b.txt": {"text": "one\n"}}},
        },
        is_right=lambda o: (o.status, codes(o), o.num_changes) == ("ok", [], 3),
    ),
    Case(
        job={"commands": ["echo two > a.txt"], "expect": {"files": {"a.txt": {"text": "one\n"}}}},
        is_right=lambda o: (o.status, codes(o)) == ("ok", ["wrong_file"]),
    ),
    Case(
        job={"commands": ["touch left; exit 3"]},
        is_right=lambda o: (o.status, o.exit_code, o.num_changes) == ("nonzero", 3, 1),
    ),
    Case(
        job={"commands": ["setsid nohup sleep 1000 & sleep 1000 & echo started"]},
        is_right=lambda o: (o.status, o.stdout["text"], o.processes_left) == ("ok", "started\n", 2),
        every=3,
    ),
    Case(
        job={"commands": ["yes"]},
        is_right=lambda o: (o.status, len(o.stdout["text"])) == ("output_limit", MIB // 16),
        every=5,
    ),
    Case(
        job={"commands": ["set -- {1..2000}; touch $@; ls | grep -c ."]},
        is_right=lambda o: (o.status, o.stdout["text"], o.num_changes) == ("ok", "2000\n", 2000),
        every=50,
    ),
    Case(
        job={"commands": ["head -c 17m /dev/zero > big"]},
        is_right=lambda o: o.status == "disk_limit",
        every=50,
    ),
    Case(  # two thirds of the memory, in one process
        job={"commands": ["head -c 60m /dev/zero | tail -n 1 | wc -c"]},
        is_right=lambda o: (o.status, o.stdout["text"]) == ("ok", f"{60 * MIB}\n"),
        every=50,
    ),
    Case(  # a port in TIME_WAIT, or a name, of the plan before would make the second of these fail
        job={"commands": [f"python3 -c '{LISTEN}'"]},
        is_right=lambda o: (o.status, o.stdout["text"]) == ("ok", "b''\n"),
        every=50,
    ),
]


def turns(num_plans: int) -> Iterator[Case]:
    """Gives the cases in turn, the costly ones rarely."""
    turn = 0
    while num_plans > 0:
        turn += 1
        for case in CASES:
            if turn % case.every == 0 and num_plans > 0:
                num_plans -= 1
                yield case


# Of worker $1: resident KiB, descriptors, mounts, processes (all of a container's but us).
LOOK = r"""
# The next sandbox may still be in the making: wait until it is there and the worker sleeps.
until [ "$child" ] && grep -q '^State:.S' /proc/$1/status; do read -r child < /proc/$1/task/$1/children; done
awk '/^VmRSS/ {print $2}' /proc/$1/status
ls /proc/$1/fd | wc -l
wc -l < /proc/$1/mountinfo
if [ $1 = 1 ]; then set -- /proc/[0-9]*; echo $(($# - 1)); else wc -w < /proc/$1/task/$1/children; fi
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a worker holds."""

    rss_kib: int
    num_fds: int
    num_mounts: int
    num_processes: int
    memory_bytes: int
    """0 where there is no control group."""


def look(worker: Worker) -> Look:
    """Looks at a worker from inside its container, or from the host where it has none."""
    container = worker.launch.container
    argv = ["docker", "exec", container] if container else []
    pid = "1" if container else str(worker.process.pid)
    done = subprocess.run([*argv, "bash", "-c", LOOK, "bash", pid], capture_output=True, text=True, check=True)
    rss, fds, mounts, processes = map(int, done.stdout.split())
    memory = memory_of(container) if container else 0
    return Look(rss_kib=rss, num_fds=fds, num_mounts=mounts, num_processes=processes, memory_bytes=memory)


def memory_of(container: str) -> int:
    """Gives what the control group of a container is charged with, page cache and the kernel's own included."""
    client = connect()
    try:
        return int(client.api.stats(container, stream=False)["memory_stats"]["usage"])
    finally:
        client.close()


def the_worker(pool: WorkerPool) -> Worker:
    (worker,) = pool._idle
    return worker


def open_pool(name: str) -> WorkerPool:
    try:
        open_sandbox(name).close()
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")
    if name == "docker-ns":
        return DockerNsSandbox(LIMITS, lambda _: None, max_plans=1_000_000)
    return NativeSandbox(LIMITS, max_plans=1_000_000)


@pytest.mark.parametrize("name", [pytest.param("docker-ns", marks=pytest.mark.docker), "native-ns"])
def test_worker_is_the_same_after_thousands_of_plans_and_no_verdict_was_wrong(name: str) -> None:
    num_plans = int(os.environ.get("FRONTIER_SOAK", NUM_PLANS[name]))
    pool = open_pool(name)
    wrong: list[tuple[dict[str, Any], Outcome]] = []

    def run(num: int) -> None:
        for case in turns(num):
            outcome = pool.run(case.job)
            if not case.is_right(outcome):
                wrong.append((case.job, outcome))

    try:
        run(WARM_UP)
        first, before = the_worker(pool), look(the_worker(pool))
        run(num_plans)
        assert wrong[:3] == []
        assert the_worker(pool) is first
        after = look(first)
    finally:
        pool.close()
    print(f"{name}: {num_plans} plans; before {before}; after {after}")  # noqa: T201 - shown by pytest -s
    assert after.rss_kib - before.rss_kib < 1024
    assert after.memory_bytes - before.memory_bytes < 4 * MIB
    assert (after.num_fds, after.num_mounts, after.num_processes) == (
        before.num_fds, before.num_mounts, before.num_processes
    )  # fmt: skip
