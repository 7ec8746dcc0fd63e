"""The local executor: worker processes on this machine, each replaced when it dies.

Workers are forked, so they share their code's memory; each leads its own session and holds its own jobs, so killing
this process loses none: they end their job, record it and leave, since nobody wants them any more.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from frontier_ops.jobs.job import Job
from frontier_ops.jobs.store import MAX_DEATHS, JobStore
from frontier_ops.jobs.worker import Worker

RESPAWN_S = 0.05
"""Pause before a dead worker is replaced, so that one that can't start does not spin."""


def run_workers(
    home: str | Path,
    *,
    roles: Sequence[str] = (),
    num_workers: int = 1,
    until_empty: bool = False,
    max_deaths: int = MAX_DEATHS,
    on_job: Callable[[Job], None] | None = None,
) -> Counter[str]:
    """Runs workers until they are told to stop, or until the queue is empty.

    Args:
        home: the store's folder.
        roles: what the workers take; empty takes all.
        num_workers: how many processes, each with one job at a time.
        until_empty: end when nothing waits and nothing is held.
        max_deaths: attempts that may end with their worker before the job fails.
        on_job: called, in the worker's process, with each job it took and each that ended.
    Returns:
        How many jobs these workers ended in each final state.
    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM, after the workers have ended their jobs as stopped.
    """
    pool = _Pool(Path(home), tuple(roles), until_empty, max_deaths, on_job)
    start = _history_size(pool.home)
    try:
        pool.run(num_workers)
    except BaseException:
        pool.stop()
        raise
    return _ended(pool.home, start, pool.names)


class _Pool:
    def __init__(
        self,
        home: Path,
        roles: tuple[str, ...],
        until_empty: bool,
        max_deaths: int,
        on_job: Callable[[Job], None] | None,
    ) -> None:
        self.home, self.roles, self.until_empty = home, roles, until_empty
        self.max_deaths, self.on_job = max_deaths, on_job
        self.living: set[int] = set()
        self.names: set[str] = set()

    def run(self, num_workers: int) -> None:
        for _ in range(num_workers):
            self._start()
        while self.living:
            pid, status = os.wait()
            self.living.discard(pid)
            if os.waitstatus_to_exitcode(status) != 0:
                time.sleep(RESPAWN_S)
                self._start()

    def stop(self) -> None:
        for pid in self.living:
            os.kill(pid, signal.SIGTERM)
        for pid in self.living:
            os.waitpid(pid, 0)

    def _start(self) -> None:
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                self._work(parent)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        self.living.add(pid)
        self.names.add(f"{os.uname().nodename}:{pid}")

    def _work(self, parent: int) -> None:
        os.setsid()
        store = JobStore(self.home, max_deaths=self.max_deaths)
        worker = Worker(store, roles=self.roles, on_job=self.on_job)

        def leave(_number: int, _frame: FrameType | None) -> None:
            worker.is_stopping = True

        signal.signal(signal.SIGTERM, leave)
        signal.signal(signal.SIGINT, leave)
        worker.run(until_empty=self.until_empty, is_wanted=lambda: os.getppid() == parent)
        store.close()


def _history_size(home: Path) -> int:
    store = JobStore(home)
    try:
        return store.history_size()
    finally:
        store.close()


def _ended(home: Path, start: int, names: set[str]) -> Counter[str]:
    store = JobStore(home)
    mine: set[tuple[str, int]] = set()
    ended: Counter[str] = Counter()
    for event in store.events(start=start):
        if event["event"] == "claimed" and event["worker"] in names:
            mine.add((event["job"], event["attempt"]))
        elif event["event"] == "finished" and (event["job"], event["attempt"]) in mine:
            ended[event["state"]] += 1
    store.close()
    return ended
