"""Commands as Ray tasks: worker roles are custom resources of the nodes, a lost task is a lost command.

Without an address a Ray of our own is started on this machine, with `slots` of every role. Ray's own retries are off:
the queue decides what runs again. Its tasks end with the driver.
"""

from __future__ import annotations

from typing import Any

from frontier_ops.jobs.attempt import Attempt
from frontier_ops.jobs.command import Ended, run_elsewhere
from frontier_ops.jobs.kinds import ROLES
from frontier_ops.jobs.remote import Lost
from frontier_ops.ray_session import RaySession


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
        resources = {role: float(slots) for role in ROLES}
        self._session = RaySession(address=address, num_cpus=max(slots, 1), resources=resources)
        self._ray: Any = self._session.ray
        self._task = self._ray.remote(max_retries=0, num_cpus=0)(run_elsewhere)

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
        self._session.close()
