"""The same verdicts from Ray actors as from here, and nothing lost when one dies. With a real Ray of this machine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from frontier_core.errors import EnvironmentMissing, ServiceUnavailable
from frontier_ops.engines import Judging

pytestmark = pytest.mark.slow
NUM_PLANS = 200

# In a process of its own: Ray leaves threads, signal handlers and settings behind that no other test should meet.
PROGRAM = """
import json, os, signal, sys
from frontier_ops.engines import Judging
from frontier_ops.stage_files import Target
from frontier_ops.stage_verify import Engines, verify
from validators.sandbox.contract import Limits

def actors():
    "Actors among our descendants, by their title."
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
            parents[int(name)] = int(stat[1]), open(f"/proc/{name}/cmdline").read()
        except OSError:
            pass
    def is_ours(pid):
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid][0]))
    return [pid for pid, (_, title) in parents.items() if title.startswith("ray::_Worker") and is_ours(pid)]

killed, notes = [], []
def strike(count, _codes):
    if KILL and count >= 40 * (len(killed) + 1) and len(killed) < KILL:
        pid = actors()[0]
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

KILL = int(sys.argv[2])
result = verify(
    "in.jsonl", Target(output=f"{sys.argv[1]}.jsonl"),
    judging=Judging(sandbox="native-ns", limits=Limits(timeout_s=20)),
    engines=Engines(name=sys.argv[1].split("-")[0], workers=2), verdicts=f"{sys.argv[1]}.verdicts.jsonl",
    on_note=notes.append, on_progress=strike,
)
import ray
print(json.dumps({"report": result.report, "killed": len(killed), "notes": notes, "is_up": ray.is_initialized()}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with 200 plans in it, a quarter of them wrong."""
    pytest.importorskip("ray")
    from validators.sandbox.backend import open_sandbox

    try:
        open_sandbox("native-ns").close()
    except EnvironmentMissing as error:
        pytest.skip(error.message)
    folder = tmp_path_factory.mktemp("ray")
    kinds = [
        ("echo {n} | tee out{n}", {"stdout": "{n}\n", "files": {"out{n}": {"text": "{n}\n"}}}),
        ("mkdir -p a/{n}; echo {n} > a/{n}/x; cat missing{n}", {"exit_code": 0}),
        ("printf '%s\\n' {n} > out; wc -l out", {"stdout": "1 out\n", "allow_other_changes": True}),
        ("seq {n} | sort -rn > sorted; head -1 sorted", {"stdout": "{n}\n", "files": {"sorted": {}}}),
    ]
    with (folder / "in.jsonl").open("w") as file:
        for number in range(1, NUM_PLANS + 1):
            command, expect = kinds[number % 4]
            record = {
                "instruction": f"do {number}",
                "output": [{"command": command.format(n=number)}],
                "expect": json.loads(json.dumps(expect).replace("{n}", str(number))),
                "metadata": {"skill": "shell_test", "domain": "test"},
            }
            file.write(json.dumps(record) + "\n")
    return folder


def run(folder: Path, name: str, kills: int = 0):
    command = [sys.executable, "-c", PROGRAM, name, str(kills)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])  # Ray itself may have printed before


def verdicts(folder: Path, name: str):
    """Every line's verdict, without what a clock or a memory gauge said."""
    found = []
    for line in (folder / f"{name}.verdicts.jsonl").read_text().splitlines():
        verdict = json.loads(line)
        for key in ("wall_s", "cpu_s", "max_rss_bytes"):
            verdict.pop(key, None)
        for step in verdict.get("steps", []):
            step.pop("wall_s", None)
        found.append(verdict)
    return found


@pytest.fixture(scope="module")
def local(folder):
    told = run(folder, "local")
    assert told["report"]["num_run"] == NUM_PLANS
    assert 0 < told["report"]["rejected"] < NUM_PLANS
    return verdicts(folder, "local")


def test_ray_gives_the_verdicts_and_bytes_of_the_local_engine(folder, local):
    told = run(folder, "ray")
    assert verdicts(folder, "ray") == local
    assert (folder / "ray.jsonl").read_bytes() == (folder / "local.jsonl").read_bytes()
    assert (folder / "ray.rejects.jsonl").read_bytes() == (folder / "local.rejects.jsonl").read_bytes()
    assert told["is_up"] is False
    assert told["notes"] == ["sandbox: native-ns, on Ray"]


def test_actors_that_are_killed_are_replaced_and_lose_nothing(folder, local):
    told = run(folder, "ray-killed", kills=2)
    assert told["killed"] == 2
    assert sum("an actor died and is replaced" in note for note in told["notes"]) >= 1
    assert told["report"]["not_judged"] == 0
    assert verdicts(folder, "ray-killed") == local
    assert (folder / "ray-killed.jsonl").read_bytes() == (folder / "local.jsonl").read_bytes()


def test_an_address_where_nothing_listens_is_said_at_once():
    pytest.importorskip("ray")
    from frontier_ops.ray_engine import RayEngine

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    engine = RayEngine(Judging(), workers=1, address=address)
    with pytest.raises(ServiceUnavailable, match=f"^ray at {address}: .*refused"):
        engine.start()
    engine.close()
