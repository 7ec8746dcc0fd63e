"""`kill -9` of `frontier synth verify` at any moment: nothing of it is left, and the same command goes on.

FRONTIER_KILLS=100 for the long run. This process makes itself the one that orphans are handed to, so that whatever a
killed run leaves behind, however deep, is found among our own descendants.
"""

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frontier_core.errors import EnvironmentMissing

FRONTIER = Path(sys.executable).parent / "frontier"
KILLS = int(os.environ.get("FRONTIER_KILLS", "20"))
NUM_PLANS = 24
WORKERS = 2
GONE_WITHIN_S = 20.0
PR_SET_CHILD_SUBREAPER = 36

pytestmark = pytest.mark.slow


@pytest.fixture
def orphanage():
    """Orphans of our children become our children for as long as the test runs."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def plans():
    """Quick ones, slow ones, one that leaves a process, a wrong one, one that ignores signals, one past its time."""
    kinds = [
        "echo {n} | tee out{n}",
        "sleep 0.1; seq {n} > out{n}; wc -l < out{n}",
        "mkdir -p d{n}/e && tar -cf d{n}/e/a.tar /etc/hostname 2>err; ls d{n}",
        "setsid sleep 60 & echo {n} | tee out{n}",
        "exit 3",
        "trap '' TERM INT HUP; for i in 1 2 3 4; do sleep 0.05; done; echo {n} > out{n}; cat out{n}",
    ]
    for number in range(NUM_PLANS):
        command = kinds[number % len(kinds)].format(n=number)
        yield {
            "instruction": f"do {number}",
            "output": [{"command": command}],
            "expect": {"allow_other_changes": True, "stdout_regex": r"(?s).*"},
            "metadata": {"skill": "shell_test", "domain": "test"},
        }


def start(folder, backend, output):
    command = [FRONTIER, "synth", "verify", "in.jsonl", "-o", output, "--sandbox", backend, "--workers", str(WORKERS)]
    return subprocess.Popen(
        [*command, "--json", "--max-rejects", "100%"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def run(folder, backend, output):
    """Runs to the end; gives the summary."""
    process = start(folder, backend, output)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out)


def parents():
    """pid -> (parent, state, command) of every process."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            name, _, rest = text.partition("(")[2].rpartition(")")
            found[int(entry.name)] = (int(rest.split()[1]), rest.split()[0], name)
    return found


def descendants(known):
    """Living processes below us that `known` has not; orphans handed to us that ended are waited for."""
    table = parents()
    below, todo = {}, [os.getpid()]
    while todo:
        parent = todo.pop()
        for pid, (its_parent, state, name) in table.items():
            if its_parent == parent and pid not in known:
                if state == "Z":
                    if parent == os.getpid():
                        os.waitpid(pid, os.WNOHANG)
                    continue
                below[pid] = name
                todo.append(pid)
    return below


def containers(pid):
    command = ["docker", "ps", "-a", "--no-trunc", "--filter", f"name=frontier-sandbox-{pid}-"]
    command += ["--format", "{{.ID}} {{.Names}} {{.Status}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def mounts():
    return set(Path("/proc/self/mountinfo").read_text().splitlines())


def left_behind(pid, known, backend):
    left = [f"process {name} {number}" for number, name in descendants(known).items()]
    if backend.startswith("docker"):
        left += [f"container {line}" for line in containers(pid)]
    return left


def time_until_gone(pid, known, backend):
    """Gives the seconds after which nothing of the run was left; fails when something stays."""
    began = time.monotonic()
    while left := left_behind(pid, known, backend):
        assert time.monotonic() - began < GONE_WITHIN_S, left
        time.sleep(0.02)
    return time.monotonic() - began


def wait_for_verdicts(journal, count, process):
    """Returns when so many verdicts are in the journal, or the run is over."""
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)


def require(backend):
    from validators.sandbox.backend import open_sandbox

    try:
        open_sandbox(backend).close()
    except EnvironmentMissing as error:
        pytest.skip(f"{error.message} ({error.hint})")


@pytest.mark.parametrize("backend", [pytest.param("docker-ns", marks=pytest.mark.docker), "native-ns"])
def test_a_killed_run_leaves_nothing_and_is_taken_up_without_loss(backend, tmp_path, orphanage):
    require(backend)
    rng = random.Random(f"{backend}/7")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(plan) + "\n" for plan in plans()))
    began = time.monotonic()
    whole = run(tmp_path, backend, "whole.jsonl")
    usual_s = time.monotonic() - began
    wanted = {name: (tmp_path / f"whole{name}").read_bytes() for name in (".jsonl", ".rejects.jsonl")}
    assert (whole["accepted"], whole["rejected"]) == (20, 4)
    known, mounts_before = set(parents()), mounts()
    gone_s, kept, never_killed = [], [], 0
    for number in range(KILLS):
        output = f"out{number}.jsonl"
        journal = tmp_path / f"{output}.journal"
        process = start(tmp_path, backend, output)
        if number % 2:  # every other time among the plans, else anywhere: most of a short run is its start
            wait_for_verdicts(journal, rng.randrange(1, NUM_PLANS), process)
        time.sleep(rng.uniform(0, 0.1 if number % 2 else usual_s))
        process.send_signal(signal.SIGKILL)
        never_killed += process.wait(30) == 0
        process.stdout.close()
        gone_s.append(time_until_gone(process.pid, known, backend))
        num_kept = journal.read_bytes().count(b"\n") if journal.exists() else 0
        was_done = (tmp_path / f"{output}.meta.json").exists() and not journal.exists()
        again = run(tmp_path, backend, output)
        assert {end: (tmp_path / f"out{number}{end}").read_bytes() for end in wanted} == wanted, f"kill {number}"
        assert again["num_remembered"] == num_kept
        if not was_done:
            assert again["num_run"] + num_kept == NUM_PLANS  # what was under way when it struck is all that ran twice
        kept.append(num_kept)
        leftovers = [path.name for path in tmp_path.iterdir() if path.name.endswith((".tmp", ".journal"))]
        assert leftovers == [], f"kill {number}"
    assert not {line for line in mounts() - mounts_before if "docker" not in line}
    sys.stdout.write(
        f"{backend}: {KILLS} kills ({never_killed} came too late), gone after {sorted(gone_s)[len(gone_s) // 2]:.2f} s "
        f"(worst {max(gone_s):.2f} s), verdicts taken over {sum(kept)} of {KILLS * NUM_PLANS}\n"
    )
