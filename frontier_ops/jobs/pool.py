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
from threading import current_thread, main_thread
from types import FrameType

from frontier_ops.jobs.job import Job
from frontier_ops.jobs.process import own_process
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
        KeyboardInterrupt: SIGINT or SIGTERM, after the workers have put their jobs back into the queue.
    """
    pool = Pool(Path(home), roles=roles, until_empty=until_empty, max_deaths=max_deaths, on_job=on_job)
    start = _history_size(pool.home)
    try:
        pool.start(num_workers)
        while pool.living:
            pool.tend(wait=True)
    except BaseException:
        pool.stop()
        raise
    return _ended(pool.home, start, pool.names)


class Pool:
    """Worker processes of one store.

    Args:
        home, roles, until_empty, max_deaths, on_job: see run_workers.
        hold: while a file of this name exists, nothing new is taken.
        not_inherited: descriptors the workers must not keep open.
    """

    def __init__(
        self,
        home: Path,
        *,
        roles: Sequence[str] = (),
        until_empty: bool = False,
        max_deaths: int = MAX_DEATHS,
        hold: Path | None = None,
        not_inherited: Sequence[int] = (),
        on_job: Callable[[Job], None] | None = None,
    ) -> None:
        self.not_inherited = tuple(not_inherited)
        self.home, self.roles, self.until_empty = home, tuple(roles), until_empty
        self.max_deaths, self.hold, self.on_job = max_deaths, hold and hold.absolute(), on_job
        self.living: set[int] = set()
        self.names: set[str] = set()

    def start(self, num_workers: int) -> None:
        """Forks the workers.

        Side effects: the loss of the terminal ends this process at once, as a kill does, unless it is run by nohup.
        """
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and current_thread() is main_thread():
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for _ in range(num_workers):
            self._start()

    def tend(self, *, wait: bool = False) -> None:
        """Replaces workers that died; those that left of their own will are let go.

        Args:
            wait: wait until one has ended.
        """
        while self.living:
            pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
            if pid == 0:
                return
            self.living.discard(pid)
            if os.waitstatus_to_exitcode(status) != 0:
                time.sleep(RESPAWN_S)
                self._start()
            if wait:
                return

    def stop(self) -> None:
        """Tells the workers to leave and waits until they have."""
        for pid in self.living:
            os.kill(pid, signal.SIGTERM)
        while self.living:
            os.waitpid(self.living.pop(), 0)

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
        for descriptor in self.not_inherited:
            os.close(descriptor)
        store = JobStore(self.home, max_deaths=self.max_deaths)
        own_process(store.root)
        worker = Worker(store, roles=self.roles, hold=self.hold, is_own_process=True, on_job=self.on_job)

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
