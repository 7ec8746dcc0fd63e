"""A worker: takes a job, runs its command, records how it ended, takes the next. One process, one job at a time.

The command inherits the job's lock; when its worker dies, whoever reclaims the job kills what is left of it. Standard
output and error go to `status/job_logs/JOB.ATTEMPT.out` and `.err`; the last line of the output is the job's result.
The command finds FRONTIER_JOB_ID and FRONTIER_JOB_ATTEMPT in its environment; the attempt number only grows, so an
effect outside the files of `outputs` can be fenced by it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from frontier_core.errors import DataError
from frontier_core.lineage import digest_of
from frontier_ops.jobs.job import Job, JobSpec, State
from frontier_ops.jobs.store import Claim, JobStore
from frontier_ops.jobs.stragglers import ATTEMPT, ID

LOGS = "status/job_logs"
POLL_S = 0.1
"""How often a running command is looked after: requests to pause, resume or stop it."""
GRACE_S = 10.0
"""How long a command that is asked to stop may take before it is killed."""
MAX_RESULT_BYTES = 4096
"""How much of a command's last line is kept as its result."""
SHORT_S = 1.0
"""A job that took less need not be synced to the disk at once: after a power loss it is run again."""


class _Ended(NamedTuple):
    """How a command ended: its exit code (128 + signal when killed), whether it was asked to, why it never began."""

    code: int
    was_stopped: bool
    problem: str
    result: str


class Worker:
    """Runs jobs of a store.

    Args:
        store: where they are.
        roles: what it takes; empty takes all.
        on_job: called with each job it took and each that ended.
    """

    def __init__(
        self, store: JobStore, *, roles: Sequence[str] = (), on_job: Callable[[Job], None] | None = None
    ) -> None:
        self.store = store
        self.roles = tuple(roles)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.is_stopping = False
        self._on_job = on_job or _ignore
        (store.home / LOGS).mkdir(parents=True, exist_ok=True)

    def run(self, *, until_empty: bool = False, is_wanted: Callable[[], bool] = lambda: True) -> int:
        """Works until it is told to stop and gives the number of jobs it ended.

        Args:
            until_empty: return as soon as nothing waits and nothing is held by anybody.
            is_wanted: asked between jobs; False ends the work.
        """
        ended = 0
        looked_at = 0.0
        while not self.is_stopping and is_wanted():
            if time.monotonic() - looked_at > POLL_S:
                self.store.reclaim()
                looked_at = time.monotonic()
            claim = self.store.claim(self.name, roles=self.roles)
            if claim is not None:
                self._on_job(claim.job)
                self._on_job(self.run_claim(claim))
                ended += 1
                continue
            self.store.sync()
            counts = self.store.counts() if until_empty else {}
            if until_empty and not counts["queued"] + counts["processing"] + counts["paused"]:
                break
            time.sleep(POLL_S)
        return ended

    def run_claim(self, claim: Claim) -> Job:
        """Runs one claimed job to its end and records it; gives the job as it is then."""
        started = time.monotonic()
        spec = claim.job.spec
        base = _folder(self.store.home, spec)
        try:
            inputs = {name: digest_of(base / name) for name in spec.inputs}
        except OSError as error:
            return self._finish(claim, State.FAILED, started, reason=f"input {error.filename}: {error.strerror}")
        earlier = self.store.completed_like(spec) if spec.outputs else None
        if earlier is not None and _is_done(earlier, base, inputs):
            reason = f"{earlier.id} made the same outputs"
            return self._finish(claim, State.SKIPPED, started, reason=reason, output_sha256=earlier.output_sha256)
        ended = self._command(claim, base)
        code = ended.code
        if ended.was_stopped:
            return self._finish(claim, State.STOPPED, started, exit_code=code, reason="asked to stop")
        missing = [name for name in spec.outputs if not (base / name).exists()]
        if code == 0 and not missing and not ended.problem:
            made = {"input_sha256": inputs, "output_sha256": {name: digest_of(base / name) for name in spec.outputs}}
            return self._finish(claim, State.COMPLETED, started, exit_code=0, result=ended.result, **made)
        reason = ended.problem or (f"exit code {code}" if code else f"it left no {', '.join(missing)}")
        if claim.job.failures < spec.retries:
            delay = float(2**claim.job.failures)
            return self.store.retry_later(claim, exit_code=code, reason=reason, delay_s=delay)
        return self._finish(claim, State.FAILED, started, exit_code=code, reason=reason)

    def _finish(self, claim: Claim, state: State, started: float, **details: object) -> Job:
        try:
            is_long = time.monotonic() - started > SHORT_S
            return self.store.finish(claim, state, is_urgent=is_long or state is not State.COMPLETED, **details)
        except DataError as error:
            if error.code != "fenced":
                raise
            claim.release()
            return self.store.get(claim.job.id)

    def _command(self, claim: Claim, base: Path) -> _Ended:
        job = claim.job
        environ = {**os.environ, **job.spec.env, ID: job.id, ATTEMPT: str(job.attempt)}
        logs = [self.store.home / LOGS / f"{job.id}.{job.attempt}.{name}" for name in ("out", "err")]
        with logs[0].open("wb") as out, logs[1].open("wb") as err:
            try:
                process = subprocess.Popen(
                    job.spec.argv, cwd=base, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    pass_fds=(claim.job_lock,), start_new_session=True,
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError) as error:
                return _Ended(127, False, f"{job.spec.argv[0]}: {getattr(error, 'strerror', None) or error}", "")
        was_stopped = self._look_after(process, claim)
        result = _last_line(logs[0])
        for log in logs:
            if not log.stat().st_size:
                log.unlink()
        code = process.returncode
        return _Ended(128 - code if code < 0 else code, was_stopped, "", result)

    def _look_after(self, process: subprocess.Popen[bytes], claim: Claim) -> bool:
        """Waits for a command and does what is asked meanwhile; says whether it was asked to stop."""
        deadline = None
        while True:
            try:
                if _has_ended(process, POLL_S):
                    return deadline is not None
            except BaseException:
                _signal(process, signal.SIGKILL)
                process.wait()
                raise
            if deadline is not None:
                if time.monotonic() > deadline:
                    _signal(process, signal.SIGKILL)
                continue
            control = "stop" if self.is_stopping else self.store.get(claim.job.id).control
            if control == "stop":
                deadline = time.monotonic() + GRACE_S
                _signal(process, signal.SIGTERM)
                _signal(process, signal.SIGCONT)
            elif control == "pause":
                _signal(process, signal.SIGSTOP)
                self.store.note_pause(claim, is_paused=True)
            elif control == "resume":
                _signal(process, signal.SIGCONT)
                self.store.note_pause(claim, is_paused=False)


def _folder(home: Path, spec: JobSpec) -> Path:
    return home / spec.cwd


def _is_done(earlier: Job, base: Path, inputs: dict[str, str]) -> bool:
    """Says whether a completed job's outputs still stand, made from inputs of the same bytes."""
    if earlier.input_sha256 != inputs:
        return False
    try:
        return all(digest_of(base / name) == sha for name, sha in earlier.output_sha256.items())
    except OSError:
        return False


def _last_line(log: Path) -> str:
    """Gives the last line of a log that is not blank, cut to MAX_RESULT_BYTES."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_RESULT_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def _has_ended(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Waits for a command's end without polling for it; says whether it came in time."""
    descriptor = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        has_ended = bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)
    if has_ended:
        process.wait()
    return has_ended


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Sends a signal to the command and all it started (it leads a session of its own)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _ignore(job: Job) -> None:
    pass
