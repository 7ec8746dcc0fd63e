"""One queue on a Ray cluster of two nodes while a worker, a node and the driver are killed: what is lost, done twice?

    python benchmarks/ray_kills.py [--jobs N] [--job-s S] [--quick] [--json]

The cluster is one of `ray.cluster_utils`: a head without roles and two nodes that take `data_forge`, on this machine.
The driver is `frontier jobs work --executor ray`. SIGKILL hits, one after another as jobs end: the Ray process that
runs a job, the raylet of that job's node (its workers leave with it), and the driver, after which the next driver is
started. A job is lost when it never ends; an effect is doubled when its end is recorded twice; an attempt ran on when
it wrote its line after the next attempt at the same job had begun.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore

ROLE = "data_forge"
OBJECT_STORE_BYTES = 80 << 20
FAST_HEALTH = {
    "health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4,
}  # fmt: skip
SCRIPT = (
    "echo begin $0.$FRONTIER_JOB_ATTEMPT >> ran; sleep {seconds}; echo end $0.$FRONTIER_JOB_ATTEMPT >> ran; echo $0"
)


class Cluster:
    """A head without roles and two nodes; one can be killed and another added."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as RayCluster

        self._options = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
        head = {"num_cpus": 0, "_system_config": FAST_HEALTH, **self._options}
        self._cluster = RayCluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self.nodes = [self.add_node() for _ in range(2)]

    def add_node(self) -> Any:
        """Starts a node that takes two jobs at a time."""
        return self._cluster.add_node(num_cpus=1, resources={ROLE: 2.0}, **self._options)

    def raylet_above(self, pid: int) -> int:
        """Gives the raylet, one of the two nodes', that a process descends from."""
        raylets = {process.process.pid for node in self.nodes for process in node.all_processes["raylet"]}
        while pid not in raylets:
            pid = parent_of(pid)
        return pid

    def close(self) -> None:
        """Ends what still runs."""
        self._cluster.shutdown()


def parent_of(pid: int) -> int:
    """Gives the process that started another one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def running_commands(home: Path) -> Iterator[int]:
    """Yields the processes that run jobs of a store: those whose parent is a process of Ray's."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if (
                b"FRONTIER_JOB_ID=" in Path(f"/proc/{name}/environ").read_bytes()
                and os.readlink(f"/proc/{name}/cwd") == str(home)
                and Path(f"/proc/{parent_of(int(name))}/cmdline").read_bytes().startswith(b"ray::")
            ):
                yield int(name)
        except OSError:
            continue


def start_driver(home: Path, address: str) -> subprocess.Popen[bytes]:
    """Starts `frontier jobs work` over the cluster."""
    argv = ["jobs", "work", "--home", str(home), "--executor", "ray", "--ray-address", address, "--until-empty"]
    return subprocess.Popen([sys.executable, "-m", "frontier_cli.main", *argv], stderr=subprocess.DEVNULL)


def strike(what: str, home: Path, cluster: Cluster, driver: subprocess.Popen[bytes]) -> bool:
    """Kills a "worker", a "node" or the "driver"; says whether there was one."""
    if what == "driver":
        driver.kill()
        driver.wait()
        return True
    for command in running_commands(home):
        try:
            worker = parent_of(command)
            os.kill(worker if what == "worker" else cluster.raylet_above(worker), signal.SIGKILL)
        except (OSError, ValueError):
            continue
        return True
    return False


def work_off(home: Path, cluster: Cluster, num_jobs: int, strikes: list[str]) -> dict[str, float]:
    """Works the queue off and kills on the way, spread over it; gives the seconds from each kill to the next end."""
    store = JobStore(home)
    driver = start_driver(home, cluster.address)
    waits: dict[str, float] = {}
    struck: tuple[str, float, int] | None = None
    while True:
        num_ended = sum(store.counts()[state] for state in ("completed", "failed"))
        if struck and num_ended > struck[2]:
            waits[struck[0]], struck = round(time.monotonic() - struck[1], 2), None
        is_due = len(waits) < len(strikes) and num_ended >= num_jobs * (len(waits) + 1) // (len(strikes) + 2)
        if struck is None and is_due:
            what = strikes[len(waits)]
            if strike(what, home, cluster, driver):
                struck = (what, time.monotonic(), num_ended)
        if driver.poll() is not None:
            if num_ended == num_jobs:
                break
            driver = start_driver(home, cluster.address)
        time.sleep(0.02)
    store.close()
    return waits


def ran_on(home: Path) -> int:
    """Counts attempts that wrote their end after a later attempt at the same job had begun."""
    begun: Counter[str] = Counter()
    late = 0
    for line in (home / "ran").read_text().splitlines():
        what, _, name = line.partition(" ")
        job, _, attempt = name.rpartition(".")
        if what == "begin":
            begun[job] = max(begun[job], int(attempt))
        else:
            late += int(attempt) < begun[job]
    return late


def measure(num_jobs: int, job_s: float) -> dict[str, Any]:
    """Runs it all once."""
    strikes = ["worker", "node", "driver"]
    started = time.monotonic()
    cluster = Cluster()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            home = Path(folder).resolve()
            store = JobStore(home)
            names = [f"effect-{number}" for number in range(num_jobs)]
            script = SCRIPT.format(seconds=job_s)
            store.submit(JobSpec(type=JobType.DATA_GEN, argv=("sh", "-c", script, name)) for name in names)
            waits = work_off(home, cluster, num_jobs, strikes)
            events = list(store.events())
            effects = Counter(event["job"] for event in events if event["event"] == "finished")
            wrong = sum(job.result != name for job, name in zip(store.jobs(), names, strict=True))
            result = {
                "num_jobs": num_jobs,
                "kills": {what: int(what in waits) for what in strikes},
                "lost": num_jobs - len(effects),
                "doubled": effects.total() - len(effects),
                "wrong_results": wrong,
                "ran_on": ran_on(home),
                "requeued": sum(event["event"] == "requeued" for event in events),
                "next_end_after_s": waits,
            }
            store.close()
    finally:
        cluster.close()
    is_whole = not (result["lost"] or result["doubled"] or wrong) and len(waits) == len(strikes)
    return result | {"ok": is_whole, "wall_s": round(time.monotonic() - started, 1)}


def main() -> int:
    """Kills, counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=60, metavar="N", help="jobs in the queue")
    parser.add_argument("--job-s", type=float, default=0.5, metavar="S", help="seconds that each takes")
    parser.add_argument("--quick", action="store_true", help="20 jobs of 0.2 s")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if importlib.util.find_spec("ray") is None:
        print("ray is not installed", file=sys.stderr)
        return 3
    result = measure(20 if options.quick else options.jobs, 0.2 if options.quick else options.job_s)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:18}{value}")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
