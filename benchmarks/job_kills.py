"""Jobs under SIGKILL: how many are lost, how many take effect twice, how soon a dead worker's job runs again.

    python benchmarks/job_kills.py [--kills N] [--peer-kills N] [--seed S] [--quick] [--json]

Ours: a queue of short commands, two worker processes and the process that keeps them; each kill hits one of the three
at a seeded random moment, and the queue goes on until it is empty. Peers, on the same kind of work (a task appends one
line to a file): Huey with SQLite, its consumer killed; Dask with two local workers, one of them killed. A job is lost
when it never ends; an effect is doubled when it is taken twice: ours is the completed event with the command's output,
the peers' is the line in the file. A peer that can't be imported is null.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.pool import run_workers
from frontier_ops.jobs.store import JobStore

GOAL_RECLAIM_S = 1.0
FOREVER = 10**9
PATIENCE_S = 300.0
"""How long Dask may take to bring all of its tasks to an end."""


def start_keeper(home: Path) -> int:
    """Forks the process that keeps two workers on the queue until it is empty; gives its process id."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            run_workers(home, num_workers=2, until_empty=True, max_deaths=FOREVER)
        finally:
            os._exit(0)
    return pid


def children(pid: int) -> list[int]:
    """Gives the child processes of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def ours(num_kills: int, seed: int) -> dict[str, Any]:
    """Kills at random moments while a queue is worked off, then counts."""
    draw = random.Random(seed)
    num_jobs = max(50, num_kills // 2)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        store = JobStore(home, max_deaths=FOREVER)
        argv = ("sh", "-c", "echo effect of $FRONTIER_JOB_ID")
        store.submit(JobSpec(type=JobType.REPORT, argv=argv) for _ in range(num_jobs))
        killed = Counter[str]()
        keeper = start_keeper(home)
        while sum(killed.values()) < num_kills:
            time.sleep(draw.uniform(0.0, 0.04))
            if os.waitpid(keeper, os.WNOHANG)[0]:
                if not store.counts()["queued"]:
                    store.submit(JobSpec(type=JobType.REPORT, argv=argv) for _ in range(50))
                    num_jobs += 50
                keeper = start_keeper(home)
                continue
            workers = children(keeper)
            target = draw.choice([*workers, keeper]) if draw.random() < 0.2 else draw.choice(workers or [keeper])
            try:
                os.kill(target, signal.SIGKILL)
            except ProcessLookupError:  # it left by itself in between
                continue
            killed["keeper" if target == keeper else "worker"] += 1
            if target == keeper:
                os.waitpid(keeper, 0)
                keeper = start_keeper(home)
        os.waitpid(keeper, 0)
        run_workers(home, num_workers=2, until_empty=True, max_deaths=FOREVER)
        events = list(store.events())
        before = [job.to_mapping() for job in store.jobs()]
        store.rebuild()
        is_whole = before == [job.to_mapping() for job in store.jobs()]
        wrong = sum(job.result != f"effect of {job.id}" for job in store.jobs())
        store.close()
    return tally(events, num_jobs) | {"kills": dict(killed), "wrong_results": wrong, "rebuilt_equal": is_whole}


def tally(events: list[dict[str, Any]], num_jobs: int) -> dict[str, Any]:
    """Counts what the history tells: jobs that never ended, that ended twice, and how long the dead were unnoticed."""
    effects = Counter(event["job"] for event in events if event["event"] == "finished")
    requeued = [event for event in events if event["event"] == "requeued"]
    waits = []
    last: dict[str, float] = {}
    for event in events:
        at = datetime.fromisoformat(event["at"]).timestamp()
        if event["event"] == "requeued":
            last[event["job"]] = at
        elif event["event"] == "claimed" and event["job"] in last:
            waits.append(at - last.pop(event["job"]))
    return {
        "num_jobs": num_jobs,
        "lost": num_jobs - len(effects),
        "doubled": sum(count - 1 for count in effects.values()),
        "reclaims": len(requeued),
        "requeue_to_claim_p99_s": round(quantile(waits, 0.99), 3) if waits else None,
    }


def quantile(values: list[float], share: float) -> float:
    """Gives a quantile by rank."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def reclaim_times(num: int, seed: int) -> list[float]:
    """Gives, for kills of a worker in the middle of a job, the seconds until another worker has that job."""
    draw = random.Random(seed)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = JobStore(home, max_deaths=FOREVER)
        keeper = start_keeper_forever(home)
        for _ in range(num):
            (job,) = store.submit([JobSpec(type=JobType.REPORT, argv=("sleep", "1000"))])
            while not (worker := store.get(job.id).worker):
                time.sleep(0.001)
            time.sleep(draw.uniform(0.0, 0.02))
            started = time.monotonic()
            os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
            while store.get(job.id).attempt < 2:
                time.sleep(0.001)
            times.append(time.monotonic() - started)
            store.request(job.id, "stop")
            while not store.get(job.id).state.is_final:
                time.sleep(0.001)
        os.kill(keeper, signal.SIGTERM)
        os.waitpid(keeper, 0)
        store.close()
    return times


def start_keeper_forever(home: Path) -> int:
    """Forks a keeper that does not end with the queue."""
    pid = os.fork()
    if pid == 0:
        os.setsid()

        def leave(*_: object) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, leave)
        try:
            run_workers(home, num_workers=2, max_deaths=FOREVER)
        except KeyboardInterrupt:
            pass
        finally:
            os._exit(0)
    return pid


HUEY = """
import sys, time
from huey import SqliteHuey
huey = SqliteHuey(filename=sys.argv[1] + '/huey.db')
@huey.task()
def effect(number):
    time.sleep(0.005)
    with open(sys.argv[1] + '/effects', 'a') as file:
        file.write(f'{number}\\n')
if sys.argv[2] == 'submit':
    for number in range(int(sys.argv[3])):
        effect(number)
else:
    consumer = huey.create_consumer(workers=2, worker_type='process', initial_delay=0.01, backoff=1.0, max_delay=0.02)
    consumer.run()
"""


def huey(num_kills: int, seed: int) -> dict[str, Any] | None:
    """The same with Huey: the whole consumer is killed and started again."""
    try:
        import huey as _  # noqa: F401
    except ImportError:
        return None
    draw = random.Random(seed)
    num_jobs = max(200, num_kills * 40)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "work.py"
        script.write_text(HUEY)
        run = [sys.executable, str(script), folder]
        subprocess.run([*run, "submit", str(num_jobs)], check=True, capture_output=True)
        effects = Path(folder) / "effects"
        effects.touch()
        for kill in range(num_kills + 1):
            seen = count_lines(effects)
            consumer = subprocess.Popen(
                [*run, "consume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            if kill == num_kills:
                while is_waiting(Path(folder) / "huey.db"):
                    settle(effects, until=count_lines(effects) + 1)
                settle(effects, until=FOREVER, patience_s=2.0)  # what is in its workers' hands
            else:
                settle(effects, until=seen + draw.randint(5, 30))
            os.killpg(consumer.pid, signal.SIGKILL)
            consumer.wait()
        lines = Counter(effects.read_text().split())
    return peer_tally(lines, num_jobs, num_kills)


def is_waiting(queue: Path) -> bool:
    """Says whether tasks wait in Huey's queue."""
    with closing(sqlite3.connect(queue)) as db:
        return bool(db.execute("SELECT count(*) FROM task").fetchone()[0])


def dask(num_kills: int, seed: int) -> dict[str, Any] | None:
    """The same with Dask: one of two worker processes is killed; the nanny starts another."""
    try:
        from distributed import Client, LocalCluster, wait
    except ImportError:
        return None
    draw = random.Random(seed)
    num_jobs = max(200, num_kills * 40)
    with tempfile.TemporaryDirectory() as folder:
        effects = Path(folder) / "effects"
        effects.touch()

        def effect(number: int) -> int:
            time.sleep(0.005)
            with open(effects, "a") as file:
                file.write(f"{number}\n")
            return number

        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
            Client(cluster) as client,
        ):
            futures = client.map(effect, range(num_jobs), pure=False, retries=100)
            for _ in range(num_kills):
                settle(effects, until=count_lines(effects) + draw.randint(5, 30))
                living = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
                if living:
                    os.kill(draw.choice(living), signal.SIGKILL)
            with suppress(TimeoutError):
                wait(futures, timeout=PATIENCE_S)
            del futures
        lines = Counter(effects.read_text().split())
    return peer_tally(lines, num_jobs, num_kills)


def settle(effects: Path, *, until: int, patience_s: float = 5.0) -> None:
    """Waits until a file has so many lines, or has not grown for a while."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < patience_s:
        lines = count_lines(effects)
        if lines >= until:
            return
        if lines != seen:
            seen, since = lines, time.monotonic()
        time.sleep(0.002)


def count_lines(path: Path) -> int:
    """Gives the number of lines of a file."""
    return path.read_bytes().count(b"\n")


def peer_tally(lines: Counter[str], num_jobs: int, num_kills: int) -> dict[str, Any]:
    """Counts a peer's lost and doubled effects."""
    doubled = sum(count - 1 for count in lines.values())
    return {"num_jobs": num_jobs, "kills": num_kills, "lost": num_jobs - len(lines), "doubled": doubled}


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10_000, help="SIGKILLs on our queue")
    parser.add_argument("--peer-kills", type=int, default=20, help="SIGKILLs on each peer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="200 kills, 3 a peer, under 50 s")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    kills, peer_kills = (200, 3) if options.quick else (options.kills, options.peer_kills)
    result = ours(kills, options.seed)
    times = reclaim_times(20 if options.quick else 200, options.seed)
    result |= {"reclaim_median_s": round(statistics.median(times), 4), "reclaim_p99_s": round(quantile(times, 0.99), 4)}
    peers = {"huey": huey(peer_kills, options.seed), "dask": dask(peer_kills, options.seed)}
    ok = (
        result["lost"] == result["doubled"] == result["wrong_results"] == 0 and result["reclaim_p99_s"] < GOAL_RECLAIM_S
    )
    if options.json:
        print(json.dumps({"ok": ok, "frontier": result, **peers}))
        return
    for name, row in {"frontier": result, **peers}.items():
        print(f"{name:10}{row}")


if __name__ == "__main__":
    main()
