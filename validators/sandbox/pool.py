"""Sandboxes whose process outlives a plan: a few workers, each taking one plan after the other.

A worker makes a fresh world for each plan (namespaces.py), so that nothing but its own trusted loop is shared. One that
ran out of memory or did not answer as it should is thrown away; so is one that took `max_plans`.
"""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any

from validators.sandbox.channel import NOT_WORTH_RETRYING, Launch, ProcessSandbox
from validators.sandbox.contract import Json

CLOSE_S = 5.0
MAX_PLANS = 2000
"""A worker is replaced after so many plans, lest whatever the kernel keeps for it adds up."""


@dataclass(slots=True)
class Worker:
    """A running process and how many plans it has taken."""

    process: subprocess.Popen[bytes]
    launch: Launch
    num_plans: int = 0


class WorkerPool(ProcessSandbox):
    """Workers that take plans one at a time; as many as threads ask at once, started when first needed.

    Args:
        arguments: those of the backend.
        max_plans: after so many a worker is replaced.
    """

    def __init__(self, *arguments: Any, max_plans: int = MAX_PLANS) -> None:
        super().__init__(*arguments)
        self._max_plans = max_plans
        self._idle: list[Worker] = []
        self._ending: dict[int, threading.Thread] = {}

    def answer(self, job: Json, *, is_retry: bool) -> Json:
        """Gives a worker's answer to a job; a retry gets one that has seen nothing yet."""
        worker = self._take(is_fresh=is_retry)
        is_sound = False
        try:
            answer = self.ask(worker.process, job)
            status, failure = answer.get("status"), answer.get("failure")
            is_sound = not answer.get("oom_kills") and (status != "sandbox_error" or failure in NOT_WORTH_RETRYING)
            is_sound = is_sound and status != "oom"
            return answer
        finally:
            worker.num_plans += 1
            self._put_back(worker, is_sound=is_sound and worker.num_plans < self._max_plans)

    def _take(self, *, is_fresh: bool) -> Worker:
        while not is_fresh:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            if worker.process.poll() is None:
                return worker
            self._retire(worker)  # someone ended it while it was idle
        launch = self.launch({})
        return Worker(self.start(launch), launch)

    def _put_back(self, worker: Worker, *, is_sound: bool) -> None:
        with self._lock:
            is_kept = is_sound and not self._is_closed
            if is_kept:
                self._idle.append(worker)
            is_closed = self._is_closed
        if is_closed:
            self.finish(worker.process, worker.launch)  # close() does not wait for us, but our caller does
        elif not is_kept:
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        """Ends a worker in a thread of its own: an engine can take many seconds to see the end of a container."""
        thread = threading.Thread(target=self.finish, args=(worker.process, worker.launch), name="retire", daemon=True)
        with self._lock:
            self._ending = {pid: other for pid, other in self._ending.items() if other.is_alive()}
            self._ending[worker.process.pid] = thread
            thread.start()

    def close(self) -> None:
        """Ends every plan that still runs, and every worker; run() then answers sandbox_error."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            quiet = {worker.process.pid for worker in idle} | self._ending.keys()
            busy = [pair for pid, pair in self._running.items() if pid not in quiet]
        for worker in idle:
            self._retire(worker)
        for process, launch in busy:
            self.kill(process, launch)
        with self._lock:
            ending = dict(self._ending)
        deadline = time.monotonic() + CLOSE_S
        for thread in ending.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            late = [pair for pid, pair in self._running.items() if pid in ending]
        for process, launch in late:  # its worker has ended with its input; the engine removes it without our command
            ProcessSandbox.kill(self, process, launch)
        for thread in ending.values():
            thread.join(CLOSE_S)
