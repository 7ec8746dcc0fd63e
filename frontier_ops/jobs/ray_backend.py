"""Commands as Ray tasks: worker roles are custom resources of the nodes, a lost task is a lost command.

Without an address a Ray of our own is started on this machine, with `slots` of every role. Ray's own retries are off:
the queue decides what runs again. Its tasks end with the driver.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from contextlib import suppress
from typing import Any

from frontier_core.errors import EnvironmentMissing, ServiceUnavailable
from frontier_ops.jobs.attempt import Attempt
from frontier_ops.jobs.command import Ended, run_elsewhere
from frontier_ops.jobs.kinds import ROLES
from frontier_ops.jobs.remote import Lost


class RayBackend:
    """See remote.Backend.

    Args:
        address: of a cluster; "" starts one here.
        slots: commands of each role at once, where one is started here.
    Raises:
        EnvironmentMissing: Ray is not installed.
        ServiceUnavailable: nothing answers at the address.
    """

    def __init__(self, *, address: str = "", slots: int = 2) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise EnvironmentMissing("ray is not installed", hint="pip install 'frontier-data-engine[ray]'") from error
        self._ray: Any = ray
        self._folder = ""
        options: dict[str, Any] = {"address": address}
        if not address:
            self._folder = tempfile.mkdtemp(prefix="frontier-ray-")
            resources = {role: float(slots) for role in ROLES}
            options = {
                "address": "local", "num_cpus": max(slots, 1), "resources": resources, "include_dashboard": False,
                "_temp_dir": self._folder, "object_store_memory": 100 << 20,
            }  # fmt: skip
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "this machine"
            raise ServiceUnavailable(f"no Ray at {where}: {str(error).splitlines()[0]}") from error
        self._task = ray.remote(max_retries=0, num_cpus=0)(run_elsewhere)

    def slots(self, role: str) -> int:
        """Gives how many commands of a role the cluster's nodes can run at once."""
        return int(self._ray.cluster_resources().get(role, 0))

    def submit(self, attempt: Attempt) -> Any:
        """Hands a command to a node of its role."""
        job = attempt.claim.job
        task = self._task.options(resources={job.spec.role: 1.0}, name=f"{job.id}#{job.attempt}")
        return task.remote(job.spec.to_mapping(), job.id, job.attempt, str(attempt.folder), str(attempt.logs))

    def poll(self, handle: Any) -> Ended | None:
        """Gives how a command ended."""
        ready, _ = self._ray.wait([handle], timeout=0)
        if not ready:
            return None
        try:
            ended: Ended = self._ray.get(handle)
            return ended
        except self._ray.exceptions.TaskCancelledError:
            return Ended(143)
        except self._ray.exceptions.RayError as error:
            raise Lost(str(error).splitlines()[0]) from error

    def stop(self, handle: Any) -> None:
        """Cancels a command's task; the process of Ray's that runs it is killed."""
        self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """Leaves the cluster, and ends it where it was started here."""
        with suppress(Exception):
            self._ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
