"""What a verified plan costs on each sandbox backend and beside `docker run`, `docker exec`, bubblewrap and bare bash.

    python benchmarks/sandbox.py [--quick] [--json] [--rounds N]

CPU is read from one control group that holds everything that works for a plan: this program, the `docker` commands, an
engine of its own (dockerd, containerd, shims) and the containers. That needs root; without, only what runs as our own
children is charged (native-ns, bash, bwrap) and the container rows have wall time alone, said on stderr. Rounds are
interleaved, each run's exit code and output are checked, and the numbers are medians of the rounds.
LIMIT: kernel worker threads (the end of network namespaces, write-back) are in no group, so charged to nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import BACKENDS, open_sandbox
from validators.sandbox.contract import Sandbox
from validators.sandbox.world import ENV

# Twelve processes, bash among them; may be run again in the same folder, for `docker exec` has no other.
PLAN = """mkdir -p logs out
for i in 1 2 3 4 5 6; do printf 'line %s\\n' 1 2 3 "$i" > "logs/app$i.log"; done
find logs -name '*.log' | sort > out/list.txt
tar -czf out/logs.tar.gz logs
gzip -kf logs/app1.log
wc -l < out/list.txt
tar -tzf out/logs.tar.gz | grep -c log$
cat logs/app6.log
"""
WORKLOADS = {"plan": (PLAN, "6\n6\nline 1\nline 2\nline 3\nline 6\n"), "trivial": ("echo 6", "6\n")}
BARE, DOCKER_RUN, DOCKER_EXEC, BWRAP = "bash -c", "docker run --rm --network none", "docker exec", "bwrap"
NUM_FAST = 10
SETTLE_S = 0.1
"""After a block: what an engine still does for it, it does in this time."""
START_S = 30.0

Runner = Callable[[str], tuple[int, str]]
"""Runs a script and gives (exit code, stdout)."""


class Meter(Protocol):
    """A counter of CPU seconds."""

    counts: frozenset[str] | None
    """The methods whose CPU it sees; None for all."""

    def cpu_s(self) -> float:
        """Gives the CPU seconds used so far."""
        ...


# --- Control groups ---------------------------------------------------------------------------------------------------


def hierarchies() -> dict[str, Path]:
    """Gives where each hierarchy of control groups is mounted: controllers ("" for version 2) -> folder."""
    found = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found[""] = Path(folder)
        elif kind == "cgroup":
            found |= {name: Path(folder) for name in options.split(",")}
    return found


def own_group(controller: str) -> str:
    """Gives the path of our control group in the hierarchy of a controller."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return "/"


class GroupMeter:
    """A control group of our own: we are in it, so is all we start; containers are made below it."""

    counts = None

    def __init__(self) -> None:
        """Raises OSError when groups can't be made here."""
        mounts = hierarchies()
        self._controller = "cpuacct" if "cpuacct" in mounts else ""
        if self._controller not in mounts:
            raise OSError("no control groups are mounted")
        self._roots = set(mounts.values())
        self.name = f"/frontier-bench-{os.getpid()}"
        self._back = mounts[self._controller] / own_group(self._controller).lstrip("/") / "cgroup.procs"
        self._folder = mounts[self._controller] / self.name.lstrip("/")
        client = self._folder / "client"  # version 2 wants processes in leaves only
        client.mkdir(parents=True)
        (client / "cgroup.procs").write_text(str(os.getpid()))

    def cpu_s(self) -> float:
        """Gives the CPU seconds of the group and of all below it, ended ones too."""
        if self._controller:
            return int((self._folder / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (self._folder / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def close(self) -> None:
        """Leaves the group and removes it wherever the engine made it too."""
        self._back.write_text(str(os.getpid()))
        for root in self._roots:
            for folder, _, _ in os.walk(root / self.name.lstrip("/"), topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)


class TreeMeter:
    """Without control groups: the CPU of this process, its children, theirs, and so on, to 10 ms each."""

    counts = frozenset({"native-ns", BARE, BWRAP})

    def cpu_s(self) -> float:
        """Gives user and system seconds of the living and of the waited-for dead."""
        rows = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                rows[int(stat.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))  # ppid, ticks: proc(5)
        mine, size = {os.getpid()}, 0
        while len(mine) > size:
            size = len(mine)
            mine |= {pid for pid, (parent, _) in rows.items() if parent in mine}
        return sum(rows[pid][1] for pid in mine if pid in rows) / os.sysconf("SC_CLK_TCK")


# --- An engine of our own ---------------------------------------------------------------------------------------------


@contextmanager
def own_engine(parent_group: str) -> Iterator[None]:
    """Starts containerd and dockerd in our control group and points this process at them, as DOCKER_HOST does.

    Raises:
        EnvironmentMissing: they are not installed or do not start.
    """
    programs = [shutil.which(name) for name in ("containerd", "dockerd", "docker")]
    if None in programs:
        raise EnvironmentMissing("no Docker engine is installed", hint="apt-get install docker.io")
    home = Path(tempfile.mkdtemp(prefix="frontier-bench-"))
    socket, containerd_socket = home / "docker.sock", home / "containerd.sock"
    (home / "daemon.json").write_text("{}")
    (home / "containerd.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    containerd = ["containerd", "--config", home / "containerd.toml", "--root", home / "containerd"]
    containerd += ["--state", home / "containerd-state", "--address", containerd_socket]
    dockerd = ["dockerd", "--config-file", home / "daemon.json", "--data-root", home / "data"]
    dockerd += ["--exec-root", home / "exec", "--pidfile", home / "docker.pid", "--host", f"unix://{socket}"]
    dockerd += ["--containerd", containerd_socket, "--cgroup-parent", f"{parent_group}/containers"]
    dockerd += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge", "none", "--iptables=false"]
    before = os.environ.get("DOCKER_HOST")
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        with open(home / "log", "wb") as log:
            for argv, ready in ((containerd, containerd_socket), (dockerd, socket)):
                daemons.append(subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True))
                wait_for_socket(daemons[-1], ready, home / "log")
        os.environ["DOCKER_HOST"] = f"unix://{socket}"
        yield
    finally:
        os.environ.pop("DOCKER_HOST")
        if before is not None:
            os.environ["DOCKER_HOST"] = before
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
        unmount_below(home)
        shutil.rmtree(home, ignore_errors=True)


def wait_for_socket(daemon: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    """Waits until a daemon listens."""
    deadline = time.monotonic() + START_S
    while not socket.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            words = log.read_text(errors="replace").strip().splitlines() or ["without a word"]
            raise EnvironmentMissing(f"the engine did not start: {words[-1]}", hint="see `dockerd --debug`")
        time.sleep(0.02)


def unmount_below(folder: Path) -> None:
    """Unmounts what an engine left mounted."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)


# --- What is compared -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to run a script; `num` are run in a block: the dear ones fewer."""

    run: Runner
    num: int = NUM_FAST


def in_sandbox(sandbox: Sandbox) -> Runner:
    """Runs scripts in one of our sandboxes."""

    def run(script: str) -> tuple[int, str]:
        outcome = sandbox.run({"commands": [script]})
        if outcome.status not in ("ok", "nonzero"):
            raise SystemExit(f"{sandbox.name}: {outcome.status} {outcome.reason}")
        return outcome.exit_code, outcome.stdout["text"]

    return run


def as_command(*argv: str) -> Runner:
    """Runs scripts as the last word of a command."""

    def run(script: str) -> tuple[int, str]:
        done = subprocess.run([*argv, script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout

    return run


def bare(folder: str) -> Runner:
    """Runs scripts in bash on the host, each in a folder of its own; the folders are removed outside the measure.

    In the environment of our sandboxes, because a locale costs every process something.
    """
    number = 0
    env = ENV | {"HOME": folder}

    def run(script: str) -> tuple[int, str]:
        nonlocal number
        number += 1
        os.mkdir(f"{folder}/{number}")
        argv = ["bash", "-c", script]
        done = subprocess.run(
            argv, cwd=f"{folder}/{number}", env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout

    return run


def bwrap_argv() -> list[str]:
    """Gives a bubblewrap command that isolates about as much as our sandboxes."""
    argv = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            argv += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            argv += ["--ro-bind", f"/{name}", f"/{name}"]
    argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home", "--dir", "/home/user"]
    return [*argv, "--chdir", "/home/user", "bash", "-c"]


def open_methods(stack: ExitStack) -> dict[str, Method]:
    """Gives every method that works here; says on stderr which do not."""
    methods: dict[str, Method] = {}
    image = ""
    for name in BACKENDS:
        try:
            sandbox = open_sandbox(name)
        except EnvironmentMissing as error:
            note(f"{name} left out: {error.message}")
            continue
        stack.callback(sandbox.close)
        methods[name] = Method(run=in_sandbox(sandbox), num=1 if name == "docker-run" else NUM_FAST)
        image = str(sandbox.describe().get("image", image))
    methods[BARE] = Method(run=bare(stack.enter_context(tempfile.TemporaryDirectory(prefix="frontier-bench-"))))
    if image:
        methods[DOCKER_RUN] = Method(
            run=as_command(*DOCKER_RUN.split(), "--workdir", "/tmp", image, "bash", "-c"), num=2
        )
        start = ["docker", "run", "--detach", "--network", "none", image, "sleep", "3600"]
        container = subprocess.run(start, capture_output=True, text=True, check=True).stdout.strip()
        stack.callback(subprocess.run, ["docker", "rm", "--force", container], capture_output=True, check=False)
        argv = ("docker", "exec", "--workdir", "/tmp", container, "bash", "-c")
        methods[DOCKER_EXEC] = Method(run=as_command(*argv), num=2)
    if shutil.which("bwrap"):
        methods[BWRAP] = Method(run=as_command(*bwrap_argv()))
    else:
        note("bwrap left out: not installed")
    return methods


def note(text: str) -> None:
    """Says something to a person."""
    print(text, file=sys.stderr)


# --- Measuring --------------------------------------------------------------------------------------------------------

Table = dict[str, dict[str, float]]
"""Workload -> method -> milliseconds per run."""


def measure_block(method: Method, meter: Meter, name: str, workload: str, num: int) -> tuple[float, float]:
    """Runs a block of `num` and gives (CPU, wall) milliseconds per run.

    Raises:
        SystemExit: a run ended otherwise than it should.
    """
    script, wanted = WORKLOADS[workload]
    cpu_s, began = meter.cpu_s(), time.monotonic()
    for _ in range(num):
        got = method.run(script)
        if got != (0, wanted):
            raise SystemExit(f"{name}: the {workload} workload gave {got!r}, should be {(0, wanted)!r}")
    wall_s = time.monotonic() - began
    time.sleep(SETTLE_S)
    return 1000 * (meter.cpu_s() - cpu_s) / num, 1000 * wall_s / num


def measure(methods: dict[str, Method], meter: Meter, rounds: int) -> tuple[Table, Table]:
    """Gives (CPU, wall) milliseconds per run: medians of interleaved rounds in an order that changes."""
    blocks = [(workload, name) for workload in WORKLOADS for name in methods]
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {block: [] for block in blocks}
    order = random.Random(0)
    for number in range(rounds + 1):
        order.shuffle(blocks)
        for workload, name in blocks:
            if number:
                seen[workload, name].append(measure_block(methods[name], meter, name, workload, methods[name].num))
            else:
                measure_block(methods[name], meter, name, workload, 1)  # warms up
    cpu_ms: Table = {workload: {} for workload in WORKLOADS}
    wall_ms: Table = {workload: {} for workload in WORKLOADS}
    for (workload, name), values in seen.items():
        if meter.counts is None or name in meter.counts:
            cpu_ms[workload][name] = round(statistics.median(cpu for cpu, _ in values), 2)
        wall_ms[workload][name] = round(statistics.median(wall for _, wall in values), 2)
    return cpu_ms, wall_ms


def figures(cpu_ms: Table, wall_ms: Table) -> dict[str, Any]:
    """Gives the ratios the project promises, and all they are made from; without docker-ns those of native-ns."""
    plan, trivial = cpu_ms["plan"], cpu_ms["trivial"]
    name = next((name for name in ("docker-ns", "native-ns") if name in plan), "")
    ratios = {}
    if name:
        ratios["bare_bash"] = plan[name] / plan[BARE]
        if DOCKER_RUN in plan:
            ratios["docker_run_plan"] = plan[name] / plan[DOCKER_RUN]
            ratios["docker_run_trivial"] = trivial[name] / trivial[DOCKER_RUN]
    return {
        "backend": name,
        "ratios": {key: round(value, 4) for key, value in ratios.items()},
        "overhead_ms": round(plan[name] - plan[BARE], 2) if name else None,
        "cpu_ms": cpu_ms,
        "wall_ms": wall_ms,
    }


def table(found: dict[str, Any]) -> str:
    """Gives the figures as a Markdown table, the dearest last."""
    cpu_ms, wall_ms = found["cpu_ms"], found["wall_ms"]
    lines = [
        "| | plan: CPU ms | wall ms | trivial: CPU ms | wall ms | plan, CPU: times bare bash |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in sorted(wall_ms["plan"], key=lambda name: wall_ms["plan"][name]):
        cells = []
        for workload in WORKLOADS:
            cpu = cpu_ms[workload].get(name)
            cells += ["-" if cpu is None else f"{cpu:.1f}", f"{wall_ms[workload][name]:.1f}"]
        times = f"{cpu_ms['plan'][name] / cpu_ms['plan'][BARE]:.2f}" if name in cpu_ms["plan"] else "-"
        lines.append(f"| `{name}` | {' | '.join([*cells, times])} |")
    lines += [""] + [f"{key}: {value}" for key, value in found["ratios"].items()]
    return "\n".join([*lines, f"overhead_ms: {found['overhead_ms']}"])


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds, under a minute")
    parser.add_argument("--rounds", type=int, default=0, help="default: 10")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the engine must not outlive us
    with ExitStack() as stack:
        meter: Meter
        try:
            meter = group = GroupMeter()
            stack.callback(group.close)
            stack.enter_context(own_engine(group.name))
        except (OSError, EnvironmentMissing) as error:
            note(f"CPU of containers can't be measured: {error}")
            meter = TreeMeter()
        methods = open_methods(stack)
        found = figures(*measure(methods, meter, options.rounds or (3 if options.quick else 10)))
    print(json.dumps(found) if options.json else table(found))


if __name__ == "__main__":
    main()
