"""The job store: SQLite as an index over the history, so that a claim costs a fraction of a millisecond.

Every change is one turn: catch up with the history, decide, append the events, bring the index up to them. A process
that dies anywhere in a turn leaves either no whole line (nothing happened) or a line that the next turn catches up
with (it happened); the index is never ahead of what it can be rebuilt from, except after a power loss that took the
end of the history, and then it is rebuilt. Who lives is liveness.py's business, what a change means job.py's.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import EnvironmentMissing, UsageError
from frontier_ops.jobs.history import History
from frontier_ops.jobs.job import PRIORITIES, Event, Job, JobSpec, State, advance
from frontier_ops.jobs.liveness import WORKER, LockFile
from frontier_ops.jobs.stragglers import kill_processes

DATABASE, LOCKS, HISTORY = "vault/jobs.db", "vault/jobs.lock", "status/job_history.jsonl"
"""Where a store keeps its parts, under its home folder."""

MAX_DEATHS = 20
"""Attempts that may end with their worker before the job counts as the cause of it and fails."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, state TEXT NOT NULL, priority INTEGER NOT NULL,
    role TEXT NOT NULL, not_before REAL NOT NULL, fingerprint TEXT NOT NULL, spec BLOB NOT NULL, standing BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_waiting ON jobs (priority, number) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS jobs_held ON jobs (fingerprint) WHERE state IN ('processing', 'paused');
CREATE INDEX IF NOT EXISTS jobs_like ON jobs (fingerprint, number) WHERE state = 'completed' AND fingerprint != '';
CREATE TABLE IF NOT EXISTS applied (one INTEGER PRIMARY KEY CHECK (one = 1), num_bytes INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO applied VALUES (1, 0);
"""
_ROW = "spec, standing"
_MAY_BE_ASKED = {
    "pause": (State.PROCESSING,),
    "resume": (State.PAUSED, State.PROCESSING),
    "stop": (State.PROCESSING, State.PAUSED),
    "cancel": (State.QUEUED,),
}
"""What can be asked of a job -> the states in which it makes sense."""


@dataclass(slots=True, kw_only=True)
class Claim:
    """A job in a worker's hands, and the locks that say so: the job's, which its command inherits, and the worker's."""

    job: Job
    job_lock: int
    worker_lock: int

    def release(self) -> None:
        """Closes this process's copies of the locks."""
        if self.job_lock >= 0:
            os.close(self.job_lock)
            os.close(self.worker_lock)
            self.job_lock = self.worker_lock = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """Who takes jobs: a worker's name, e.g. "host:123", and its roles; no roles take any job."""

    worker: str
    roles: tuple[str, ...] = ()


class JobStore:
    """The jobs of one home folder.

    Args:
        home: the folder; `vault/` and `status/` in it are made when absent.
        max_deaths: attempts that may end with their worker before the job fails.
    Raises:
        UsageError: the folder may not be written.
        EnvironmentMissing: the database is damaged; `frontier jobs rebuild` makes it anew from the history.
    """

    def __init__(self, home: Path, *, max_deaths: int = MAX_DEATHS) -> None:
        self.home = home
        self.root = home.resolve()
        self.max_deaths = max_deaths
        try:
            for name in (DATABASE, HISTORY):
                (home / name).parent.mkdir(parents=True, exist_ok=True)
            self._locks = LockFile(self.root / LOCKS)
            self._history = History(self.root / HISTORY)
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}", hint="choose another --home") from error
        self._db = self._open()
        with self._turn():
            pass

    def submit(self, specs: Iterable[JobSpec]) -> list[Job]:
        """Queues jobs, all or none, and gives them in order."""
        with self._turn() as db:
            (last,) = db.execute("SELECT coalesce(max(number), 0) FROM jobs").fetchone()
            events = [
                {
                    "event": "submitted", "job": f"{spec.type}-{number}", "number": number, "at": now(),
                    "spec": spec.to_mapping(),
                }
                for number, spec in enumerate(specs, last + 1)
            ]  # fmt: skip
            return self._record(events, is_urgent=True)

    def claim(self, worker: str, *, roles: Sequence[str] = ()) -> Claim | None:
        """Takes the next job for a worker: highest priority first, oldest first; None when none waits for its roles.

        A job waits while one alike, which leaves the same outputs, is held.

        Args:
            worker: who takes it, e.g. "host:123".
            roles: the worker's roles; empty takes any.
        """
        with self._turn() as db:
            claim, event = self._take(db, Taker(worker=worker, roles=tuple(roles)))
            if claim is None:
                return None
            self._append(db, [event], claim, is_urgent=False)
        return claim

    def finish(
        self, claim: Claim, state: State, *, is_urgent: bool = True, taker: Taker | None = None, **details: Any
    ) -> tuple[Job, Claim | None]:
        """Ends the attempt of a claimed job and lets go of it; gives the job and, for a `taker`, its next claim.

        Both are one turn of the store and one write to the history: a worker over many short jobs needs one a job.

        Args:
            claim: what `claim` gave.
            state: completed, failed, stopped or skipped.
            is_urgent: sync the history now; a job of milliseconds may wait for the next sync.
            taker: who takes the next job, as `claim` would.
            details: `exit_code`, `reason`, `input_sha256`, `output_sha256`.
        Raises:
            DataError: the job is no longer this attempt's (code `fenced`).
        """
        event = {"event": "finished", "job": claim.job.id, "at": now(), "attempt": claim.job.attempt, "state": state}
        events, following = [event | details], None
        with self._turn() as db:
            job = self._apply(db, events[0], claim.job.spec)  # raises before anything is written
            if taker is not None:
                following, claimed = self._take(db, taker)
                events += [claimed] if following else []
            self._append(db, events, following, is_urgent=is_urgent)
        claim.release()
        return job, following

    def retry_later(self, claim: Claim, *, exit_code: int, reason: str, delay_s: float, cause: str = "failure") -> Job:
        """Puts a claimed job back into the queue, not to be taken before `delay_s` from now.

        Args:
            claim: what `claim` gave.
            exit_code: its command's.
            reason: in words.
            delay_s: how long it must wait at least.
            cause: "failure", or "busy" when the command said that it can't run yet.
        """
        return self._put_back(claim, cause=cause, exit_code=exit_code, reason=reason, not_before=time.time() + delay_s)

    def put_back(self, claim: Claim, *, reason: str) -> Job:
        """Puts a claimed job back into the queue because its worker leaves; it counts as no failure."""
        return self._put_back(claim, cause="shutdown", reason=reason)

    def _put_back(self, claim: Claim, **details: Any) -> Job:
        event = {"event": "requeued", "job": claim.job.id, "at": now(), "attempt": claim.job.attempt}
        with self._turn():
            (job,) = self._record([event | details], is_urgent=True)
        claim.release()
        return job

    def note_pause(self, claim: Claim, *, is_paused: bool) -> Job:
        """Records that a claimed job was paused, or goes on."""
        event = {"event": "paused" if is_paused else "resumed", "job": claim.job.id, "at": now()}
        with self._turn():
            (job,) = self._record([event | {"attempt": claim.job.attempt}], is_urgent=True)
        return job

    def request(self, job_id: str, control: str) -> Job:
        """Asks the worker of a job to "pause", "resume" or "stop" it, or "cancel"s one that still waits.

        Raises:
            UsageError: there is no such job, or it is in no state for that.
        """
        with self._turn() as db:
            job = self._known(db, job_id)
            if job.state not in _MAY_BE_ASKED[control]:
                hint = "frontier jobs stop" if job.state.is_held else "frontier jobs list"
                raise UsageError(f"{job_id} is {job.state}; there is nothing to {control}", hint=f"{hint} {job_id}")
            if control == "cancel":
                event = {"event": "finished", "job": job.id, "at": now(), "attempt": job.attempt, "state": "skipped"}
                return self._record([event | {"reason": "cancelled"}], is_urgent=True)[0]
            event = {"event": "requested", "job": job.id, "at": now(), "control": control}
            return self._record([event], is_urgent=True)[0]

    def retry(self, job_id: str) -> Job:
        """Queues a job again that has ended, whatever way.

        Raises:
            UsageError: there is no such job, or it has not ended.
        """
        with self._turn() as db:
            job = self._known(db, job_id)
            if not job.state.is_final:
                raise UsageError(f"{job_id} is {job.state}; only what has ended can be run again")
            return self._record([{"event": "retried", "job": job.id, "at": now()}], is_urgent=True)[0]

    def reclaim(self) -> list[Job]:
        """Puts jobs whose worker died back into the queue, or fails those whose workers keep dying; gives them.

        What is left of a dead worker's command is killed first: nobody would record how it ended. A process of it that
        can't be found keeps the job's lock, and the job waits for its end.
        """
        with self._turn() as db:
            orphans = [job for job in self._held(db) if not self._locks.is_alive(WORKER + job.number)]
            for job in orphans:
                if self._locks.is_alive(job.number):
                    kill_processes(job.id, job.attempt)
            dead = [job for job in orphans if not self._locks.is_alive(job.number)]
            events = [self._obituary(job) for job in dead]
            return self._record(events, is_urgent=True) if events else []

    def get(self, job_id: str) -> Job:
        """Gives a job; raises UsageError when there is none of that id. Waits for no writer."""
        return self._known(self._db, job_id)

    def jobs(self, *, states: Sequence[State] = (), since: int = 0) -> Iterator[Job]:
        """Yields the jobs in order of submission, those in the given states (all, when none is given).

        Args:
            states: the states wanted.
            since: only jobs with a higher number.
        """
        with self._turn():
            pass  # catch up with what other writers appended and did not live to index
        marks = ",".join("?" * len(states))
        where = f"state IN ({marks}) AND" if states else ""
        query = f"SELECT {_ROW} FROM jobs WHERE {where} number > ? ORDER BY number"
        rows = self._db.execute(query, (*states, since))
        for row in rows:
            yield _job(*row)

    def last(self, number: int) -> list[Job]:
        """Gives the last jobs submitted, newest first."""
        rows = self._db.execute(f"SELECT {_ROW} FROM jobs ORDER BY number DESC LIMIT ?", (number,))
        return [_job(*row) for row in rows]

    def events(self, *, start: int = 0, only: Sequence[str] = ()) -> Iterator[Event]:
        """Yields what happened, oldest first.

        Args:
            start: byte of the history to begin at, as `history_size` gave it.
            only: ids of jobs; empty gives all.
        """
        with self._turn():
            pass  # cuts off what a dead writer left torn
        for event, _ in self._history.read(start):
            if not only or event.get("job") in only:
                yield event

    def history_size(self) -> int:
        """Gives the size of the history in bytes."""
        return self._history.num_bytes()

    def counts(self) -> dict[str, int]:
        """Gives how many jobs there are in each state, states without any included."""
        with self._turn() as db:
            found = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in State}

    def is_empty(self) -> bool:
        """Says whether no job waits and none is held."""
        counts = self.counts()
        return not any(count for state, count in counts.items() if not State(state).is_final)

    def completed_like(self, spec: JobSpec) -> Job | None:
        """Gives the last completed job that ran the same, None when there is none."""
        row = self._db.execute(
            f"SELECT {_ROW} FROM jobs WHERE state = 'completed' AND fingerprint != '' AND fingerprint = ? "
            "ORDER BY number DESC LIMIT 1",
            (spec.fingerprint(),),
        ).fetchone()
        return _job(*row) if row else None

    def is_alive(self, job: Job) -> bool:
        """Says whether the job's worker lives."""
        return self._locks.is_alive(WORKER + job.number)

    def rebuild(self) -> int:
        """Makes the index anew from the history and gives the number of jobs."""
        with self._turn() as db:
            self._forget(db)
            self._catch_up(db)
            (number,) = db.execute("SELECT count(*) FROM jobs").fetchone()
        return int(number)

    def sync(self) -> None:
        """Makes all that this process recorded durable."""
        self._history.sync()

    def close(self) -> None:
        """Closes the store's files; claimed jobs stay with their claims."""
        self._history.close()
        self._db.close()
        self._locks.close()

    # ---- one turn ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        self._locks.take_turn()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._catch_up(self._db)
                yield self._db
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise EnvironmentMissing(f"{self.home / DATABASE}: {error}", hint="frontier jobs rebuild") from error
        finally:
            self._locks.end_turn()

    def _catch_up(self, db: sqlite3.Connection) -> None:
        """Brings the index up to the history: what dead writers left, and after a lost end everything anew."""
        (applied,) = db.execute("SELECT num_bytes FROM applied").fetchone()
        size = self._history.num_bytes()
        if applied == size:
            return
        if applied > size:
            self._forget(db)
            applied = 0
        for event, offset in self._history.read(applied):
            self._apply(db, event)
            applied = offset
        if applied < size:
            self._history.cut(applied)
        db.execute("UPDATE applied SET num_bytes = ?", (applied,))

    def _record(self, events: list[Event], *, is_urgent: bool) -> list[Job]:
        """Makes events happen: checked, applied, appended; gives the jobs they were about, as they are then."""
        after = [self._apply(self._db, event) for event in events]  # raises before anything is written
        self._append(self._db, events, None, is_urgent=is_urgent)
        return after

    def _append(self, db: sqlite3.Connection, events: list[Event], claim: Claim | None, *, is_urgent: bool) -> None:
        """Appends events that the turn has applied; a claim among them is let go when that fails."""
        try:
            size = self._history.append(events, is_urgent=is_urgent)
            db.execute("UPDATE applied SET num_bytes = ?", (size,))
        except BaseException:
            if claim is not None:
                claim.release()
            raise

    def _take(self, db: sqlite3.Connection, taker: Taker) -> tuple[Claim | None, Event]:
        """Gives the next job that waits for a taker, claimed in the index, and the event that says so."""
        for job in self._waiting(db, taker.roles):
            # A stray process of an earlier attempt may still hold it; then it waits for that to end.
            job_lock = self._locks.hold(job.number)
            if job_lock is None:
                continue
            claim = Claim(job=job, job_lock=job_lock, worker_lock=self._locks.hold(WORKER + job.number) or -1)
            event = {"event": "claimed", "job": job.id, "at": now(), "attempt": job.attempt + 1, "worker": taker.worker}
            try:
                claim.job = advance(job, event)
                _put(db, claim.job, event)
            except BaseException:
                claim.release()
                raise
            return claim, event
        return None, {}

    def _apply(self, db: sqlite3.Connection, event: Event, spec: JobSpec | None = None) -> Job:
        """Brings a job's row up to what an event makes of it and gives the job; its spec never changes."""
        job = advance(self._find(db, event["job"], spec), event)
        _put(db, job, event)
        return job

    def _find(self, db: sqlite3.Connection, job_id: str, spec: JobSpec | None = None) -> Job | None:
        row = db.execute(f"SELECT {_ROW} FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return _job(row[0], row[1], spec) if row else None

    def _known(self, db: sqlite3.Connection, job_id: str) -> Job:
        job = self._find(db, job_id)
        if job is None:
            raise UsageError(f"there is no job {job_id!r}", hint="frontier jobs list")
        return job

    def _waiting(self, db: sqlite3.Connection, roles: Sequence[str]) -> Iterator[Job]:
        marks = ",".join("?" * len(roles))
        where = f"AND role IN ({marks})" if roles else ""
        alike = "SELECT fingerprint FROM jobs WHERE state IN ('processing', 'paused') AND fingerprint != ''"
        rows = db.execute(
            f"SELECT {_ROW} FROM jobs WHERE state = 'queued' AND not_before <= ? {where} "
            f"AND fingerprint NOT IN ({alike}) ORDER BY priority, number",
            (time.time(), *roles),
        )
        for row in rows:
            yield _job(*row)

    def _held(self, db: sqlite3.Connection) -> list[Job]:
        where = "state IN ('processing', 'paused')"
        return [_job(*row) for row in db.execute(f"SELECT {_ROW} FROM jobs WHERE {where} ORDER BY number")]

    def _obituary(self, job: Job) -> Event:
        if job.deaths + 1 >= self.max_deaths:
            reason = f"its worker died {job.deaths + 1} times"
            return {
                "event": "finished", "job": job.id, "at": now(), "attempt": job.attempt, "state": "failed",
                "reason": reason,
            }  # fmt: skip
        return {
            "event": "requeued", "job": job.id, "at": now(), "attempt": job.attempt, "cause": "death",
            "reason": f"worker {job.worker} died",
        }  # fmt: skip

    def _forget(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM jobs")
        db.execute("UPDATE applied SET num_bytes = 0")

    def _open(self) -> sqlite3.Connection:
        path = self.home / DATABASE
        try:
            db = sqlite3.connect(path, isolation_level=None, timeout=30)
            # NORMAL: a power loss may take the last commits, never the file; the history has them.
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise EnvironmentMissing(
                f"{path}: {error}", hint=f"remove {path}* : it is made again from {self.home / HISTORY}"
            ) from error
        return db


def _job(row: bytes, standing: bytes, spec: JobSpec | None = None) -> Job:
    return Job.from_standing(orjson.loads(standing), spec or JobSpec.from_mapping(orjson.loads(row)))


def _put(db: sqlite3.Connection, job: Job, event: Event) -> None:
    """Brings a job's row up to what the event made of it."""
    standing = orjson.dumps(job.standing())
    not_before = float(event.get("not_before", 0.0))
    if event["event"] != "submitted":
        values = (job.state, not_before, standing, job.number)
        db.execute("UPDATE jobs SET state = ?, not_before = ?, standing = ? WHERE number = ?", values)
        return
    spec = job.spec
    db.execute(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            job.number, job.id, job.state, PRIORITIES.index(spec.priority), spec.role, not_before, spec.fingerprint(),
            orjson.dumps(spec.to_mapping()), standing,
        ),
    )  # fmt: skip


def now() -> str:
    """Gives the time as the history writes it: ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
