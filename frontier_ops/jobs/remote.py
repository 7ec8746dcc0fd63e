"""Jobs on other machines: one driver claims them here and hands their commands to an engine that runs them there.

The queue keeps priority, durability, retries and warnings; the engine only runs commands, at most twice as many as it
has slots, so that a job of high priority never waits behind a long line in an engine that knows none. The driver holds
the locks: when it dies, its jobs are reclaimed and run again. Machines share the home folder under the same path.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from frontier_ops.jobs.attempt import Attempt
from frontier_ops.jobs.command import GRACE_S, Ended, stop_file
from frontier_ops.jobs.job import Job
from frontier_ops.jobs.store import JobStore

POLL_S = 0.05
IN_FLIGHT_PER_SLOT = 2


class Lost(Exception):
    """The engine lost a command: its process or its machine died. The job is run again."""


class Backend(Protocol):
    """An engine that runs commands on other machines."""

    def slots(self, role: str) -> int:
        """Gives how many commands of a worker role can run at once."""

    def submit(self, attempt: Attempt) -> Any:
        """Hands a command over and gives a handle; what an earlier attempt left running is ended first."""

    def poll(self, handle: Any) -> Ended | None:
        """Gives how a command ended, None while it has not; raises Lost when nobody will know."""

    def stop(self, handle: Any) -> None:
        """Cancels a command that did not stop when it was asked to."""

    def close(self) -> None:
        """Ends what still runs and lets go of the engine."""


class Driver:
    """Works a queue off through a backend.

    Args:
        store: the jobs.
        backend: where they run.
        roles: what is taken.
        on_job: called with each job that was taken and each that ended.
    """

    def __init__(
        self,
        store: JobStore,
        backend: Backend,
        *,
        roles: Sequence[str],
        on_job: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.store, self.backend, self.roles = store, backend, tuple(roles)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._on_job = on_job
        self._running: list[tuple[Attempt, Any]] = []
        self._asked: set[str] = set()

    def run(self, *, until_empty: bool = False) -> None:
        """Works until interrupted, or until nothing waits and nothing is held."""
        while True:
            self.store.reclaim()
            self._fill()
            self._collect()
            if until_empty and not self._running and self.store.is_empty():
                break
            time.sleep(POLL_S)
        self.store.sync()

    def stop(self) -> None:
        """Ends what runs and puts it back into the queue; what has not ended in GRACE_S is cancelled."""
        for attempt, _ in self._running:
            _stop_file(attempt).touch()
        deadline = time.monotonic() + GRACE_S
        for attempt, handle in self._running:
            while not self._has_ended(handle):
                if time.monotonic() > deadline:
                    self.backend.stop(handle)
                    break
                time.sleep(POLL_S)
            _stop_file(attempt).unlink(missing_ok=True)
            self._on_job(attempt.give_back("its driver was told to leave"))
        self._running = []
        self.store.sync()

    def _fill(self) -> None:
        for role in self.roles:
            room = IN_FLIGHT_PER_SLOT * self.backend.slots(role) - self._in_flight(role)
            while room > 0 and (claim := self.store.claim(self.name, roles=[role])) is not None:
                self._on_job(claim.job)
                attempt = Attempt(store=self.store, claim=claim)
                ended = attempt.begin()
                if ended is not None:
                    self._on_job(ended)
                    continue
                self._running.append((attempt, self.backend.submit(attempt)))
                room -= 1

    def _in_flight(self, role: str) -> int:
        return sum(attempt.claim.job.spec.role == role for attempt, _ in self._running)

    def _collect(self) -> None:
        still = []
        for attempt, handle in self._running:
            job_id = attempt.claim.job.id
            try:
                ended = self.backend.poll(handle)
            except Lost:
                if job_id in self._asked:
                    self._conclude(attempt, Ended(143))
                    continue
                # Letting go of the locks is what a dead worker does: reclaim counts the death and queues the job.
                attempt.claim.release()
                continue
            if ended is None:
                self._obey(attempt)
                still.append((attempt, handle))
                continue
            self._conclude(attempt, ended)
        self._running = still

    def _conclude(self, attempt: Attempt, ended: Ended) -> None:
        was_stopped = attempt.claim.job.id in self._asked
        self._asked.discard(attempt.claim.job.id)
        _stop_file(attempt).unlink(missing_ok=True)
        self._on_job(attempt.conclude(ended._replace(was_stopped=was_stopped)))

    def _has_ended(self, handle: Any) -> bool:
        try:
            return self.backend.poll(handle) is not None
        except Lost:
            return True

    def _obey(self, attempt: Attempt) -> None:
        """Stops a command when that is asked. LIMIT: a command on another machine can't be suspended."""
        job_id = attempt.claim.job.id
        if job_id not in self._asked and self.store.get(job_id).control == "stop":
            self._asked.add(job_id)
            _stop_file(attempt).touch()


def _stop_file(attempt: Attempt) -> Path:
    return stop_file(attempt.logs, attempt.claim.job.id, attempt.claim.job.attempt)
