"""A worker: takes a job, runs its command, records how it ended, takes the next. One process, one job at a time.

The command inherits the job's lock; when its worker dies, whoever reclaims the job kills what is left of it. The
attempt number in its environment only grows, so an effect outside the files of `outputs` can be fenced by it.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from frontier_ops.jobs.attempt import Attempt
from frontier_ops.jobs.command import POLL_S, ask_to_stop, run_command, signal_group
from frontier_ops.jobs.job import Job
from frontier_ops.jobs.process import Process
from frontier_ops.jobs.store import Claim, JobStore, Taker


class Worker:
    """Runs jobs of a store.

    Args:
        store: where they are.
        roles: what it takes; empty takes all.
        hold: while a file of this name exists, nothing new is taken.
        is_own_process: the process was readied for it by `own_process`.
        on_job: called with each job it took and each that ended.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        roles: Sequence[str] = (),
        hold: Path | None = None,
        is_own_process: bool = False,
        on_job: Callable[[Job], None] | None = None,
    ) -> None:
        self.store = store
        self._is_own_process = is_own_process
        self._hold = hold
        self.roles = tuple(roles)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._taker = Taker(worker=self.name, roles=self.roles)
        self._environ = dict(os.environb)
        self.is_stopping = False
        self._on_job = on_job or _ignore

    def run(self, *, until_empty: bool = False, is_wanted: Callable[[], bool] = lambda: True) -> int:
        """Works until it is told to stop and gives the number of jobs it took.

        Args:
            until_empty: return as soon as nothing waits and nothing is held by anybody.
            is_wanted: asked between jobs; False ends the work.
        """
        taken = 0
        looked_at = 0.0
        following: Claim | None = None

        def next_for() -> Taker | None:
            return self._taker if not self.is_stopping and is_wanted() and not self._is_held() else None

        while following is not None or (not self.is_stopping and is_wanted()):
            if time.monotonic() - looked_at > POLL_S:
                self.store.reclaim()
                looked_at = time.monotonic()
            claim = following
            if claim is None and not self._is_held():
                claim = self.store.claim(self.name, roles=self.roles)
            if claim is not None:
                self._on_job(claim.job)
                attempt = Attempt(store=self.store, claim=claim, next_for=next_for)
                self._on_job(self._run(attempt))
                following = attempt.following
                taken += 1
                continue
            self.store.sync()
            if until_empty and self.store.is_empty():
                break
            time.sleep(POLL_S)
        return taken

    def _is_held(self) -> bool:
        return self._hold is not None and self._hold.exists()

    def _run(self, attempt: Attempt) -> Job:
        """Runs one claimed job to its end and records it; gives the job as it is then."""
        ended_already = attempt.begin()
        if ended_already is not None:
            return ended_already
        claim = attempt.claim
        ended = run_command(
            claim.job.spec,
            (claim.job.id, claim.job.attempt),
            folder=attempt.folder,
            logs=attempt.logs,
            environ=self._environ,
            pass_fds=(claim.job_lock,),
            is_own=self._is_own_process,
            look_after=lambda process: self._look_after(process, claim),
        )
        if self.is_stopping and ended.was_stopped and self.store.get(claim.job.id).control != "stop":
            return attempt.give_back("its worker was told to leave")
        return attempt.conclude(ended)

    def _look_after(self, process: Process, claim: Claim) -> bool:
        """Does what is asked of a running job; says whether it was to stop."""
        control = "stop" if self.is_stopping else self.store.get(claim.job.id).control
        if control == "stop":
            ask_to_stop(process)
            return True
        if control == "pause":
            signal_group(process, signal.SIGSTOP)
            self.store.note_pause(claim, is_paused=True)
        elif control == "resume":
            signal_group(process, signal.SIGCONT)
            self.store.note_pause(claim, is_paused=False)
        return False


def _ignore(job: Job) -> None:
    pass
