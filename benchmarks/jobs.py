"""What a queue costs: milliseconds per job that does nothing, and memory per worker, beside Ray and Huey in one run.

    python benchmarks/jobs.py [--quick] [--json]

Ours runs commands, the peers Python functions: our figure is taken beyond a bare `subprocess.run(["true"])`, the same
command without a queue. One worker each; submission and our worker's start included; rounds interleaved; medians.
`ratios` are the peers' milliseconds over ours, CPU of the whole process tree (the clock of a shared machine is noise).
Memory is the proportional set size (PSS) of all the processes an engine needs while idle, per worker, two workers each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.pool import run_workers
from frontier_ops.jobs.store import JobStore

GOAL_MS, GOAL_MB = 1.5, 20.0

HUEY = """
import sys
from huey import SqliteHuey
huey = SqliteHuey(filename=sys.argv[1] + '/huey.db', results=False)
@huey.task()
def nothing():
    pass
if sys.argv[2] == 'run':
    number = int(sys.argv[3])
    for _ in range(number):
        nothing()
    for _ in range(number):
        huey.execute(huey.dequeue())
else:
    huey.create_consumer(workers=2, worker_type='process', initial_delay=0.01).run()
"""
RAY = """
import os, sys, time
os.environ['RAY_AUTH_MODE'] = 'disabled'
import ray
ray.init(address='local', num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level='ERROR')
@ray.remote(num_cpus=1)
def nothing():
    return os.getpid()
pids = set(ray.get([nothing.remote() for _ in range(20)]))
print('ready', flush=True)
for line in sys.stdin:
    ray.get([nothing.remote() for _ in range(int(line))])
    print('done', flush=True)
"""


def tree(pid: int) -> list[int]:
    """Gives a process and all that descend from it."""
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        for task in Path(f"/proc/{current}/task").glob("*"):
            try:
                todo += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
    return found


def pss_mb(pid: int) -> float:
    """Gives the memory of a process tree in MB, shared pages divided among those that share them."""
    total = 0
    for process in tree(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def tree_cpu_s(pid: int) -> float:
    """Gives the CPU seconds that the living processes of a tree have used, and their ended children."""
    ticks = 0
    for process in tree(pid):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def own_cpu_s() -> float:
    """Gives this process's CPU seconds and its ended children's."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(action: Callable[[], object], cpu: Callable[[], float], number: int) -> tuple[float, float]:
    """Gives CPU and wall milliseconds per job of one call."""
    before, started = cpu(), time.perf_counter()
    action()
    return (cpu() - before) / number * 1e3, (time.perf_counter() - started) / number * 1e3


def bare(number: int) -> None:
    """Runs the command without any queue."""
    for _ in range(number):
        subprocess.run(["true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ours(number: int) -> None:
    """Queues and runs jobs that do nothing, with one worker."""
    with tempfile.TemporaryDirectory() as folder:
        store = JobStore(Path(folder))
        store.submit(JobSpec(type=JobType.REPORT, argv=("true",)) for _ in range(number))
        store.close()
        run_workers(folder, num_workers=1, until_empty=True)


def ours_mb() -> float:
    """Gives the memory per worker of `frontier jobs work --workers 2`, waiting for jobs."""
    code = "import sys; from frontier_ops.jobs.pool import run_workers; run_workers(sys.argv[1], num_workers=2)"
    with tempfile.TemporaryDirectory() as folder:
        JobStore(Path(folder)).close()
        keeper = subprocess.Popen([sys.executable, "-c", code, folder], stderr=subprocess.DEVNULL)
        return idle_mb(keeper, 3) / 2


def idle_mb(keeper: subprocess.Popen[Any], num_processes: int) -> float:
    """Waits until an engine has its processes, takes their memory, and ends it."""
    while len(tree(keeper.pid)) < num_processes and keeper.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    memory = pss_mb(keeper.pid)
    for pid in tree(keeper.pid):
        os.kill(pid, signal.SIGKILL)
    keeper.wait()
    return memory


class Huey:
    """Huey with SQLite: enqueue and execute in one process, as its worker does."""

    def __init__(self, folder: str) -> None:
        script = Path(folder) / "work.py"
        script.write_text(HUEY)
        self.run = [sys.executable, str(script), folder]
        self.start_cpu_ms = 0.0

    def work(self, number: int) -> None:
        """Runs jobs that do nothing."""
        subprocess.run([*self.run, "run", str(number)], check=True, capture_output=True)

    def mb(self) -> float:
        """Gives the memory per worker of its consumer."""
        consumer = subprocess.Popen([*self.run, "consume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return idle_mb(consumer, 4) / 2


def huey(rounds: int, number: int) -> dict[str, Any] | None:
    """Measures Huey; its process start is taken off."""
    try:
        import huey as _
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        peer = Huey(folder)
        figures = []
        for _ in range(rounds):
            start_cpu, start_wall = timed(lambda: peer.work(0), own_cpu_s, 1)
            cpu, wall = timed(lambda: peer.work(number), own_cpu_s, 1)
            figures.append(((cpu - start_cpu) / number, (wall - start_wall) / number))
        return medians(figures) | {"mb_per_worker": round(peer.mb(), 1)}


def ray(rounds: int, number: int) -> dict[str, Any] | None:
    """Measures Ray: a local cluster of two CPUs that is up already."""
    try:
        import ray as _
    except ImportError:
        return None
    driver = subprocess.Popen(
        [sys.executable, "-c", RAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    if driver.stdout.readline() != "ready\n":
        return None
    figures = []
    for _ in range(rounds):

        def work() -> None:
            driver.stdin.write(f"{number}\n")
            driver.stdin.flush()
            driver.stdout.readline()

        figures.append(timed(work, lambda: tree_cpu_s(driver.pid), number))
    memory = pss_mb(driver.pid)
    driver.stdin.close()
    driver.wait()
    return medians(figures) | {"mb_per_worker": round(memory / 2, 1)}


def medians(figures: list[tuple[float, float]]) -> dict[str, float]:
    """Gives the medians of CPU and wall milliseconds."""
    cpu, wall = zip(*figures, strict=True)
    return {"cpu_ms_per_job": round(statistics.median(cpu), 3), "wall_ms_per_job": round(statistics.median(wall), 3)}


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under 50 s")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    rounds, number = (3, 200) if options.quick else (9, 500)
    whole, spawn = [], []
    for _ in range(rounds):
        spawn.append(timed(lambda: bare(number), own_cpu_s, number))
        whole.append(timed(lambda: ours(number), own_cpu_s, number))
    mine, base = medians(whole), medians(spawn)
    overhead = mine["cpu_ms_per_job"] - base["cpu_ms_per_job"]
    memory = ours_mb()
    peers = {"huey": huey(rounds, number), "ray": ray(rounds, number)}
    result = {
        "ms_per_job": round(overhead, 3),
        "mb_per_worker": round(memory, 1),
        "ratios": {name: round(row["cpu_ms_per_job"] / overhead, 2) if row else None for name, row in peers.items()},
        "ok": overhead <= GOAL_MS and memory <= GOAL_MB,
        "with_command": mine,
        "bare_command": base,
        **peers,
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:14}{value}")


if __name__ == "__main__":
    main()
