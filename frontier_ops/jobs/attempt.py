"""One attempt at a job, between its claim and its end: what is checked before, and what its command's end means.

The same for every executor; only where the command runs in between differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frontier_core.errors import DataError
from frontier_core.lineage import digest_of
from frontier_ops.jobs.command import Ended
from frontier_ops.jobs.job import Job, State
from frontier_ops.jobs.store import Claim, JobStore, Taker

LOGS = "status/job_logs"
NOT_NOW = os.EX_TEMPFAIL
"""A command that ends with this code (75) could not have what it needs yet: its job waits and is no failure."""
POSTPONE_S, MAX_POSTPONED = 60.0, 20
"""How long a job that was postponed waits at most, and how often it is; after that the code is one like any other."""
SHORT_S = 1.0
"""A job that took less need not be synced to the disk at once: after a power loss it is run again."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A claimed job whose command may run.

    Args:
        store: where the job is.
        claim: what `JobStore.claim` gave.
        next_for: asked when the job ends; gives who takes the next one in the same turn, None when nobody does.
    `following` is then the next claim, None when nothing waits.
    """

    store: JobStore
    claim: Claim
    next_for: Callable[[], Taker | None] = lambda: None
    following: Claim | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> Path:
        """Where the command runs."""
        return self.store.root / self.claim.job.spec.cwd

    @property
    def logs(self) -> Path:
        """The folder of the command's logs."""
        return self.store.root / LOGS

    def begin(self) -> Job | None:
        """Readies the attempt; gives the job when it has ended already: an input is missing, or its outputs stand."""
        spec = self.claim.job.spec
        try:
            self.inputs = {name: digest_of(self.folder / name) for name in spec.inputs}
        except OSError as error:
            return self._finish(State.FAILED, reason=f"input {error.filename}: {error.strerror}")
        earlier = self.store.completed_like(spec) if spec.outputs else None
        if earlier is not None and self._stands(earlier):
            outputs = earlier.output_sha256
            return self._finish(
                State.SKIPPED, reason=f"{earlier.id} made the same outputs", input_sha256=self.inputs,
                output_sha256=outputs, result=earlier.result,
            )  # fmt: skip
        return None

    def conclude(self, ended: Ended) -> Job:
        """Records how the command ended and gives the job as it is then: ended, or waiting for another run."""
        job, spec = self.claim.job, self.claim.job.spec
        if ended.was_stopped:
            return self._finish(State.STOPPED, exit_code=ended.code, reason="asked to stop")
        missing = [name for name in spec.outputs if not (self.folder / name).exists()]
        if ended.code == 0 and not missing and not ended.problem:
            outputs = {name: digest_of(self.folder / name) for name in spec.outputs}
            return self._finish(
                State.COMPLETED, exit_code=0, result=ended.result, input_sha256=self.inputs, output_sha256=outputs
            )
        reason = ended.problem or (f"exit code {ended.code}" if ended.code else f"it left no {', '.join(missing)}")
        if ended.code == NOT_NOW and job.postponed < MAX_POSTPONED:
            delay = min(float(2**job.postponed), POSTPONE_S)
            return self.store.retry_later(
                self.claim, exit_code=NOT_NOW, reason=f"exit code {NOT_NOW}: not now", delay_s=delay, cause="busy"
            )
        if job.failures < spec.retries:
            delay = float(2**job.failures)
            return self.store.retry_later(self.claim, exit_code=ended.code, reason=reason, delay_s=delay)
        return self._finish(State.FAILED, exit_code=ended.code, reason=reason)

    def give_back(self, reason: str) -> Job:
        """Puts the job back into the queue: its worker leaves, and another goes on with it."""
        return self.store.put_back(self.claim, reason=reason)

    def _finish(self, state: State, **details: Any) -> Job:
        is_long = time.monotonic() - self._started > SHORT_S
        try:
            job, self.following = self.store.finish(
                self.claim, state, is_urgent=is_long or state is not State.COMPLETED, taker=self.next_for(), **details
            )
            return job
        except DataError as error:
            if error.code != "fenced":
                raise
            self.claim.release()  # somebody else has the job now; what this attempt did counts for nothing
            return self.store.get(self.claim.job.id)

    def _stands(self, earlier: Job) -> bool:
        """Says whether a completed job's outputs still have their bytes, made from inputs of these bytes."""
        if earlier.input_sha256 != self.inputs:
            return False
        try:
            return all(digest_of(self.folder / name) == sha for name, sha in earlier.output_sha256.items())
        except OSError:
            return False
