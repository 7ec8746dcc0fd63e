"""Several processes of one run (torchrun, accelerate launch): who is first, and what they tell each other.

Each draws the same step and takes its share of the step's units; gradients meet in DDP or FSDP, counts and orders here.
Only the first process writes files. One process is the common case and costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def world() -> tuple[int, int]:
    """Gives (rank, number of processes) as the launcher set them; (0, 1) without a launcher."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def join(*, on_cpu: bool) -> None:
    """Joins the processes into a group; nothing for one process."""
    if world()[1] == 1:
        return
    from accelerate import PartialState

    PartialState(cpu=on_cpu)


def share(items: Sequence[Any]) -> list[Any]:
    """Gives this process's part of a step: every n-th item."""
    rank, size = world()
    return list(items[rank::size])


def gathered(value: Any) -> list[Any]:
    """Gives every process's value, in order of rank; call it in all of them."""
    _, size = world()
    if size == 1:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * size
    dist.all_gather_object(found, value)
    return found


def from_first(value: Any) -> Any:
    """Gives the first process's value in all of them."""
    return gathered(value)[0]


def strongest(order: int) -> int:
    """Gives the highest order any process has: what all obey."""
    return int(max(gathered(order)))


def wait_for_all() -> None:
    """Returns when every process is here."""
    if world()[1] > 1:
        import torch.distributed as dist

        dist.barrier()


class NoSink:
    """Where telemetry of all but the first process goes: nowhere; the first has it all."""

    def write(self, lines: Any) -> None:
        """Drops the lines."""

    def close(self) -> None:
        """Has nothing to close."""
