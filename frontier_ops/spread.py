"""`--engine ray` of the data stages: pure work on parts of a run, done on a Ray cluster, results in order.

A stage cuts its run into parts and asks for `work(part)` of each. Because results come in order, and are functions of
their part alone, the output has the bytes that this process alone would give. A part whose process or node dies is
done again elsewhere. Files named in a part must be there under the same path on every node.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from frontier_core.errors import ConfigError, FrontierError, ServiceUnavailable, UsageError
from frontier_core.nearest import did_you_mean

if TYPE_CHECKING:
    from frontier_ops.ray_session import RaySession

ENGINES = ("local", "ray")
T = TypeVar("T")
R = TypeVar("R")
IN_FLIGHT_PER_SLOT = 2
MAX_DEATHS = 3
"""How often a part is done again whose process died."""


class Spread:
    """Ordered work on a Ray cluster.

    Args:
        session: the cluster.
        slots: parts under way at once; 0 takes all of its CPUs.
    """

    def __init__(self, session: RaySession, *, slots: int = 0) -> None:
        self._ray = session.ray
        num_cpus = session.num_cpus()
        self.num_slots = min(slots, num_cpus) if slots else num_cpus
        self._task = self._ray.remote(num_cpus=1, max_retries=MAX_DEATHS)(_apply)

    def map(self, work: Callable[[T], R], parts: Iterable[T], *, ahead: int = 0) -> Iterator[R]:
        """Yields `work(part)` of each part, in order; errors of ours are raised as they were.

        Args:
            work: a pure function; it travels once.
            parts: read as they are needed.
            ahead: parts handed over beyond the one that is waited for; 0 takes twice the slots.
        """
        shared = self._ray.put(work)
        under_way: deque[Any] = deque()
        rest = iter(parts)
        most = ahead or IN_FLIGHT_PER_SLOT * self.num_slots
        try:
            while True:
                for part in rest:
                    under_way.append(self._task.remote(shared, part))
                    if len(under_way) >= most:
                        break
                if not under_way:
                    return
                yield self._result(under_way.popleft())
        finally:
            if self._ray.is_initialized():
                for task in under_way:
                    self._ray.cancel(task)

    def _result(self, task: Any) -> Any:
        try:
            return self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, FrontierError):
                raise error.cause from None
            raise RuntimeError(f"a task on Ray failed: {error}") from error
        except self._ray.exceptions.RayError as error:
            raise ServiceUnavailable(f"ray lost a part of the work: {str(error).splitlines()[0]}") from error


def _apply(work: Callable[[T], R], part: T) -> R:
    return work(part)


@contextmanager
def open_spread(engine: str, *, workers: int = 0, address: str = "") -> Iterator[Spread | None]:
    """Gives where the parts of a stage are done: None is this process.

    Args:
        engine: local or ray.
        workers: parts at once on Ray, and CPUs of one started here; 0 takes all.
        address: a Ray cluster; "" takes RAY_ADDRESS, else starts one here.
    Raises:
        ConfigError: there is no such engine; names the nearest.
        UsageError: an address, and the engine is not ray.
        EnvironmentMissing: Ray is not installed.
        ServiceUnavailable: nothing answers at the address.
    """
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine {engine!r}", hint=did_you_mean(engine, ENGINES))
    if engine == "local":
        if address:
            raise UsageError("--ray-address is for --engine ray")
        yield None
        return
    from frontier_ops.ray_session import RaySession

    session = RaySession(address=address or os.environ.get("RAY_ADDRESS", ""), num_cpus=workers or os.cpu_count() or 1)
    try:
        yield Spread(session, slots=workers)
    finally:
        session.close()
