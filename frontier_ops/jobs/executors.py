"""Where jobs run: on this machine's workers, on a Ray cluster, or on a SLURM site; chosen by name, one semantics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from frontier_ops.jobs.job import Job
from frontier_ops.jobs.kinds import ROLES, role_named
from frontier_ops.jobs.pool import run_workers
from frontier_ops.jobs.remote import Backend, Driver
from frontier_ops.jobs.store import JobStore

EXECUTORS = ("local", "ray", "slurm", "submitit-local")


def work_off(
    home: str | Path,
    executor: str = "local",
    *,
    roles: Sequence[str] = (),
    num_slots: int = 1,
    until_empty: bool = False,
    ray_address: str = "",
    slurm: Sequence[str] = (),
    on_job: Callable[[Job], None],
) -> Counter[str]:
    """Runs the jobs of a store until told to stop, or until there are none.

    Args:
        home: the store's folder.
        executor: one of EXECUTORS.
        roles: what is taken; empty takes all.
        num_slots: jobs at a time; of each role, on a Ray started here or a SLURM site.
        until_empty: end when nothing waits and nothing is held.
        ray_address: a Ray cluster; "" starts one here.
        slurm: `key=value` parameters for submitit.
        on_job: called with each job that was taken and each that ended.
    Returns:
        How many jobs ended in each final state.
    Raises:
        ConfigError: an unknown executor or role, or a parameter without a value.
        EnvironmentMissing: the executor's library or program is absent.
        KeyboardInterrupt: a signal; what ran has been ended and waits in the queue again.
    """
    if executor not in EXECUTORS:
        raise ConfigError(f"unknown executor {executor!r}", hint=did_you_mean(executor, EXECUTORS))
    wanted = [role_named(name) for name in roles]
    parameters = dict(_pair(text) for text in slurm)
    if executor == "local":
        return run_workers(home, roles=wanted, num_workers=num_slots, until_empty=until_empty, on_job=on_job)
    backend = _backend(Path(home), executor, num_slots, ray_address, parameters)
    ended: Counter[str] = Counter()

    def count(job: Job) -> None:
        ended[job.state] += job.state.is_final
        on_job(job)

    store = JobStore(Path(home))
    driver = Driver(store, backend, roles=wanted or ROLES, on_job=count)
    try:
        driver.run(until_empty=until_empty)
    except BaseException:
        driver.stop()
        raise
    finally:
        backend.close()
        store.close()
    return ended


def _backend(home: Path, executor: str, num_slots: int, address: str, parameters: dict[str, Any]) -> Backend:
    if executor == "ray":
        from frontier_ops.jobs.ray_backend import RayBackend

        return RayBackend(address=address, slots=num_slots)
    from frontier_ops.jobs.slurm_backend import SlurmBackend

    cluster = "slurm" if executor == "slurm" else "local"
    return SlurmBackend(home / "status/submitit", cluster=cluster, slots=num_slots, parameters=parameters)


def _pair(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise ConfigError(f"--slurm {text}: not KEY=VALUE", hint="--slurm slurm_partition=gpu")
    return key, int(value) if value.isdecimal() else value
