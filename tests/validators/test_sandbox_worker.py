"""Backends whose worker outlives a plan: time limits are kept, nothing passes from plan to plan, all ends with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import open_sandbox
from validators.sandbox.contract import MIB, Limits, Outcome, Sandbox

LIMIT_S = 0.5
PROMPT_S = 0.2
FLOOD_BYTES = 16 * MIB
BACKENDS = ["native-ns", pytest.param("docker-ns", marks=pytest.mark.docker)]


def opened(name: str, limits: Limits) -> Sandbox:
    try:
        return open_sandbox(name, limits=limits)
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")


@pytest.fixture(scope="module", params=BACKENDS)
def hasty(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox that gives plans half a second."""
    sandbox = opened(request.param, Limits(timeout_s=LIMIT_S))
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    sandbox = opened(request.param, Limits(output_bytes=FLOOD_BYTES))
    yield sandbox
    sandbox.close()


def run(sandbox: Sandbox, *commands: str, **job: Any) -> Outcome:
    return sandbox.run({"commands": list(commands), **job})


def quickest(act: Callable[[], Outcome], *, enough_s: float = 0.0) -> tuple[Outcome, float]:
    """Gives the outcome and the seconds of the quickest of three, or of ten where none was quick enough.

    The claim is about us, not about a busy machine.
    """
    found = []
    for number in range(10):
        began = time.monotonic()
        outcome = act()
        found.append((time.monotonic() - began, outcome))
        if found[-1][0] < enough_s or (number == 2 and not enough_s):
            break
    took, outcome = min(found, key=lambda pair: pair[0])
    return outcome, took


def busy() -> float:
    """Gives how many processes want each processor, at least 1: what takes a moment takes so many then."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


STUBBORN = {
    "sleeps": "sleep 100",
    "ignores_signals": "trap '' TERM INT HUP; while :; do :; done",
    "stopped_itself": "kill -STOP $$",
    "many_children": "for i in {1..100}; do sleep 100 & done; trap '' TERM; wait",
    "fork_bomb": ":(){ :|:& };:; sleep 100",
    "full_pipes": "(setsid yes | sleep 100) & yes | sleep 100",
    "silent_daemon": "setsid nohup bash -c 'trap \"\" TERM; while :; do :; done' & sleep 100",
}


@pytest.mark.parametrize("name", STUBBORN)
def test_time_limit_is_kept_within_a_fifth_of_a_second(hasty: Sandbox, name: str) -> None:
    _, usual_s = quickest(lambda: run(hasty, "true"))
    outcome, took = quickest(lambda: run(hasty, STUBBORN[name]), enough_s=LIMIT_S + PROMPT_S)
    assert outcome.status == "timeout"
    assert LIMIT_S <= outcome.wall_s < LIMIT_S + PROMPT_S * busy()
    assert took < LIMIT_S + PROMPT_S * busy() + usual_s


def test_flood_of_16_mib_is_decided_at_once(sandbox: Sandbox) -> None:
    outcome, _ = quickest(lambda: run(sandbox, "cat /dev/zero"), enough_s=PROMPT_S)
    assert outcome.status == "output_limit"
    assert outcome.stdout["text"] == "\0" * FLOOD_BYTES
    assert outcome.wall_s < 2 * PROMPT_S * busy()  # half of that unless others are at work too


LISTEN = """
import socket
listener = socket.socket()
listener.bind(("127.0.0.1", 8000))  # without SO_REUSEADDR: a connection in TIME_WAIT would be in the way
listener.listen()
name = socket.socket(socket.AF_UNIX)
name.bind("\\0name")
client = socket.create_connection(("127.0.0.1", 8000))
listener.accept()[0].close()
client.recv(1)
print("listened")
"""


def test_ports_names_and_counters_of_a_plan_are_not_there_for_the_next(sandbox: Sandbox) -> None:
    for _ in range(2):
        outcome = run(
            sandbox,
            "awk '$1 == \"lo:\" {print $2, $10}' /proc/net/dev; wc -l < /proc/net/unix; wc -l < /proc/net/tcp",
            f"python3 -c '{LISTEN}'; setsid sleep 60 &",
        )
        assert outcome.stdout["text"] == "0 0\n1\n1\nlistened\n", outcome.stderr


def test_shared_memory_message_queues_and_host_name_of_a_plan_are_its_own(sandbox: Sandbox) -> None:
    script = "hostname; cat /etc/hostname; tail -n 1 /etc/hosts; ls /dev/shm; ipcs -q | grep -c 0x; touch /dev/shm/a"
    other = run(sandbox, script, fixture={"hostname": "box7"})
    usual = run(sandbox, script)
    assert other.stdout["text"] == "box7\nbox7\n127.0.1.1\tbox7\n0\n"
    assert usual.stdout["text"] == "sandbox\nsandbox\n127.0.1.1\tsandbox\n0\n"


def test_what_all_plans_share_can_not_be_written(sandbox: Sandbox) -> None:
    targets = "/x /etc/hosts /etc/hostname /etc/x /usr/x /dev/x /home/x /run/x /var/x /proc/sys/kernel/hostname"
    outcome = run(
        sandbox, f"for f in {targets}; do (echo x >> $f) 2>/dev/null && echo wrote $f; done; echo done",
        fixture={"hostname": "box7"},
    )  # fmt: skip
    assert outcome.stdout["text"] == "done\n"


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from validators.sandbox.backend import open_sandbox
sandbox = open_sandbox(sys.argv[2])
print("ready", flush=True)
sandbox.run({"commands": [sys.argv[3]]})
"""


def processes(word: str) -> list[str]:
    """Gives the ids of processes with an argument `word`."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(folder.name)
        except OSError:
            continue
    return found


def wait_until(claim: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("backend", BACKENDS)
def test_running_plan_ends_soon_after_its_client_was_killed(backend: str) -> None:
    opened(backend, Limits()).close()
    mark = f"1000.{os.getpid()}"
    plan = f"trap '' TERM INT HUP PIPE; (setsid sleep {mark} &); while :; do sleep {mark}; done"
    argv = [sys.executable, "-c", CLIENT, str(Path(__file__).parents[2]), backend, plan]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        assert wait_until(lambda: len(processes(mark)) == 2, 30)
        client.send_signal(signal.SIGKILL)
        client.wait()
        assert wait_until(lambda: processes(mark) == [], 3)
