"""The daemon: keeps workers on the queue, and the queue fed with the next step of the loop.

One a home folder, by a kernel lock. It runs nothing itself: steps are jobs, workers are processes of their own, so
killing the daemon stops no training; the next daemon finds the job held by a living worker and waits for it. All it
knows is in files (rounds/, the job history), so it can die anywhere. `tick` is one look at the world.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import write_bytes
from frontier_ops.daemon import control
from frontier_ops.daemon.inbox import datasets, why_not_yet
from frontier_ops.daemon.rounds import ROUNDS, Round, folder_of, open_round, read_round, steps
from frontier_ops.daemon.settings import DaemonSettings
from frontier_ops.jobs.job import Job, State
from frontier_ops.jobs.pool import Pool
from frontier_ops.jobs.store import JobStore, now

TICK_S = 0.5
GIVEN_UP = "given_up.json"
DONE = "done.json"


class Daemon:
    """One unattended loop.

    Args:
        home: its folder.
        settings: what it is told.
        on_note: called with remarks for the operator.
    Raises:
        EnvironmentMissing: another daemon holds the folder; the message names its process.
    """

    def __init__(self, home: Path, settings: DaemonSettings, *, on_note: Callable[[str], None]) -> None:
        self.home, self.settings = home, settings
        self._note = on_note
        self._lock = control.hold(home)
        self.store = JobStore(home)
        self.pool = Pool(home, hold=home / control.PAUSE, not_inherited=[self._lock])
        self._idle_since = time.monotonic()
        self._waiting_for: dict[Path, str] = {}
        self._steps: dict[str, Job] = {}
        self._seen = 0
        self._paused = False

    def run(self, *, until_idle: bool = False) -> None:
        """Works until SIGTERM or SIGINT, or until the control folder says stop.

        Args:
            until_idle: end when there is nothing to do any more: an empty inbox and no round to generate.
        """
        (self.home / control.STOP).unlink(missing_ok=True)
        self.pool.start(self.settings.workers)
        try:
            while not (self.home / control.STOP).exists():
                self.pool.tend()
                did_something = self.tick()
                if until_idle and not did_something and self.store.is_empty():
                    break
                time.sleep(TICK_S)
        finally:
            self.pool.stop()
            self._say("stopped")
            (self.home / control.STOP).unlink(missing_ok=True)
            self.store.close()
            os.close(self._lock)

    def tick(self) -> bool:
        """Does what is to be done now; says whether a round is under way or has just begun."""
        self._obey_pause()
        if self._paused:
            self._say("paused")
            return True
        this = self._current()
        if this is not None and self._advance(this):
            self._say("processing", this)
            return True
        if this is not None:
            self._idle_since = time.monotonic()
        begun = self._begin(this.number + 1 if this else self._next_number())
        self._say("processing" if begun else "idle", begun)
        return begun is not None

    def _obey_pause(self) -> None:
        is_paused = (self.home / control.PAUSE).exists()
        if is_paused != self._paused:
            self._paused = is_paused
            wanted, verb = (State.PROCESSING, "pause") if is_paused else (State.PAUSED, "resume")
            for job in self.store.jobs(states=[wanted]):
                self.store.request(job.id, verb)
            self._note("paused" if is_paused else "going on")

    def _advance(self, this: Round) -> bool:
        """Queues the round's next step where none is under way; says whether the round goes on."""
        for name, spec in steps(this, self.settings, self.home):
            job = self._job_of(this.number, name)
            if job is None:
                (job,) = self.store.submit([spec])
                self._remember(job)
                self._note(f"round {this.number}: {name} is {job.id}")
                return True
            if not job.state.is_final:
                return True
            if job.state in (State.FAILED, State.STOPPED) or job.reason == "cancelled":
                self._give_up(this, name, job)
                return False
        write_bytes(self.home / this.folder / DONE, orjson.dumps({"at": now()}) + b"\n")
        self._note(f"round {this.number} is done")
        return False

    def _job_of(self, number: int, step: str) -> Job | None:
        """Gives the job of a round's step; jobs are looked up once and then followed."""
        for job in self.store.jobs(since=self._seen):
            self._seen = job.number
            self._remember(job)
        known = self._steps.get(f"{number}/{step}")
        return self.store.get(known.id) if known else None

    def _remember(self, job: Job) -> None:
        if "round" in job.spec.payload:
            self._steps[f"{job.spec.payload['round']}/{job.spec.payload['step']}"] = job

    def _give_up(self, this: Round, name: str, job: Job) -> None:
        reason = {"at": now(), "step": name, "job": job.id, "state": job.state, "reason": job.reason}
        write_bytes(self.home / this.folder / GIVEN_UP, orjson.dumps(reason) + b"\n")
        self._note(f"round {this.number} is given up: {name} ({job.id}) {job.state}: {job.reason}")

    def _current(self) -> Round | None:
        """Gives the round that has begun and has not ended, None when there is none."""
        number = self._next_number() - 1
        ended = any((self.home / folder_of(number) / mark).exists() for mark in (DONE, GIVEN_UP))
        return None if number < 1 or ended else read_round(self.home, number)

    def _next_number(self) -> int:
        begun = [int(path.parent.name) for path in (self.home / ROUNDS).glob("[0-9]*/source.json")]
        return max(begun, default=0) + 1

    def _begin(self, number: int) -> Round | None:
        earlier = [old for old in range(1, number) if (self.home / folder_of(old) / DONE).exists()]
        model = f"{folder_of(earlier[-1])}/run" if earlier else self.settings.model
        for path in datasets(self.home):
            reason = why_not_yet(path, self.settings.settle_s)
            if not reason:
                self._note(f"round {number}: takes {path.relative_to(self.home)}")
                return open_round(self.home, number, model=model, earlier=earlier, dataset=path)
            if self._waiting_for.get(path) != reason:
                self._waiting_for[path] = reason
                self._note(f"{path.relative_to(self.home)}: not taken yet, {reason}")
        auto = self.settings.auto_generate
        is_due = time.monotonic() - self._idle_since >= auto.cooldown_s or number == 1
        if not auto.enabled or not is_due or (auto.max_rounds and number > auto.max_rounds):
            return None
        self._note(f"round {number}: generates {auto.count} records")
        return open_round(self.home, number, model=model, earlier=earlier, dataset=None)

    def _say(self, state: str, this: Round | None = None) -> None:
        """Writes control/state.json, when it says something new."""
        status: dict[str, Any] = {"state": state, "pid": os.getpid(), "round": this.number if this else None}
        path = self.home / control.STATE
        if control.read_state(self.home) | {"since": ""} != status | {"since": ""}:
            write_bytes(path, orjson.dumps(status | {"since": now()}) + b"\n")
