"""Joining Ray, or starting one of our own on this machine: what jobs, plans and data stages on Ray have in common.

A Ray started here is quiet, without dashboard and with a small object store, and ends with us. LIMIT: after `kill -9`
it ends by itself, but its folder of logs stays in the folder for temporary files.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from frontier_core.errors import EnvironmentMissing, ServiceUnavailable

OBJECT_STORE_BYTES = 100 << 20
"""Of a Ray started here: what we pass around is small, and Ray would take a third of the memory."""
MAX_STARTS = 3
"""Ray gives itself 30 s to start, which a busy machine may need more than once."""
KNOCK_S = 5.0


class RaySession:
    """A cluster joined, the Ray this process is in already, or one started here.

    Args:
        address: of a cluster; "" starts one.
        num_cpus: of one that is started.
        resources: of one that is started.
    Raises:
        EnvironmentMissing: Ray is not installed.
        ServiceUnavailable: nothing answers at the address, or Ray does not start.
    """

    def __init__(self, *, address: str = "", num_cpus: int = 1, resources: Mapping[str, float] | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import; nobody asked us to phone home
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns about its own default
        try:
            import ray
        except ModuleNotFoundError as error:
            hint = "pip install 'frontier-data-engine[ray]'"
            raise EnvironmentMissing("ray is not installed", hint=hint) from error
        self.ray: Any = ray
        self._folder = ""
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            try:
                self._join(address) if address else self._start(num_cpus, dict(resources or {}))
            except BaseException:
                self.close()
                raise

    def num_cpus(self) -> int:
        """Gives how many CPUs the cluster has, at least 1."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def close(self) -> None:
        """Leaves the cluster, and ends it where it was started here."""
        if self._is_ours:
            with suppress(Exception):
                self.ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _join(self, address: str) -> None:
        try:
            _knock(address)
            self.ray.init(address=address, logging_level="error", log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            hint = "ray status, or leave --ray-address and RAY_ADDRESS out to start one here"
            raise ServiceUnavailable(f"ray at {address}: {_first_line(error)}", hint=hint) from error

    def _start(self, num_cpus: int, resources: dict[str, float]) -> None:
        self._folder = tempfile.mkdtemp(prefix="frontier-ray-")
        for number in range(1, MAX_STARTS + 1):
            try:
                self.ray.init(
                    address="local", num_cpus=num_cpus, resources=resources, include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES, _temp_dir=self._folder, logging_level="error",
                    log_to_driver=False,
                )  # fmt: skip
            except Exception as error:  # Ray has no class for a start that took too long
                _clean_up(self.ray)
                if number == MAX_STARTS or "timed out" not in str(error):
                    raise ServiceUnavailable(f"ray on this machine: {_first_line(error)}") from error
            else:
                return


def _clean_up(ray: Any) -> None:
    """Ends what a failed start left; Ray forgets to wait for it, which is nothing our callers can mend."""
    with suppress(Exception):
        ray.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _knock(address: str) -> None:
    """Raises OSError where nothing listens at `[ray://]host:port`; Ray itself would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
