"""Commands as jobs of a SLURM site through submitit, or as processes of this machine by the same road (`local`).

A SLURM job outlives the driver that submitted it; its name says which job and attempt it is, so the next driver cancels
it before it submits that job again.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from frontier_core.errors import EnvironmentMissing
from frontier_ops.jobs.attempt import Attempt
from frontier_ops.jobs.command import Ended, run_elsewhere
from frontier_ops.jobs.remote import Lost

TIMEOUT_MIN = 24 * 60


class SlurmBackend:
    """See remote.Backend.

    Args:
        folder: where submitit keeps its files.
        cluster: "slurm" or "local".
        slots: commands of each role at once.
        parameters: passed to submitit's `update_parameters`, e.g. {"slurm_partition": "gpu"}.
    Raises:
        EnvironmentMissing: submitit is not installed, or there is no `sbatch` here.
    """

    def __init__(
        self, folder: Path, *, cluster: str = "slurm", slots: int = 2, parameters: dict[str, Any] | None = None
    ) -> None:
        try:
            import submitit
        except ModuleNotFoundError as error:
            hint = "pip install 'frontier-data-engine[slurm]'"
            raise EnvironmentMissing("submitit is not installed", hint=hint) from error
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise EnvironmentMissing("there is no sbatch on this machine", hint="run it on a login node of the site")
        self._cluster, self._slots = cluster, slots
        self._errors: tuple[type[Exception], ...] = (
            submitit.core.utils.UncompletedJobError,
            submitit.core.utils.FailedJobError,
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        self._executor.update_parameters(timeout_min=TIMEOUT_MIN, **(parameters or {}))
        self._running: list[Any] = []

    def slots(self, role: str) -> int:  # noqa: ARG002 - a site's partitions are not our roles
        """Gives how many commands may be submitted of a role."""
        return self._slots

    def submit(self, attempt: Attempt) -> Any:
        """Submits a command, after the job's earlier attempts have been cancelled."""
        job = attempt.claim.job
        name = f"frontier-{job.id}"
        if job.attempt > 1 and self._cluster == "slurm":
            subprocess.run(["scancel", "--name", name, "--me"], check=False)
        self._executor.update_parameters(name=name)
        handle = self._executor.submit(
            run_elsewhere, job.spec.to_mapping(), job.id, job.attempt, str(attempt.folder), str(attempt.logs)
        )
        self._running.append(handle)
        return handle

    def poll(self, handle: Any) -> Ended | None:
        """Gives how a command ended."""
        if not handle.done():
            return None
        self._running.remove(handle)
        try:
            ended: Ended = handle.result()
            return ended
        except self._errors as error:
            raise Lost(str(error).splitlines()[0]) from error

    def stop(self, handle: Any) -> None:
        """Cancels a command."""
        handle.cancel()

    def close(self) -> None:
        """Cancels what still runs."""
        for handle in self._running:
            handle.cancel()
