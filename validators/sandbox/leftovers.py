"""Containers that outlived the run they were made for, and whose they were.

A container ends with its input and removes itself, so a killed run leaves none. Between made and started it has no
input yet, and an old engine sometimes fails to remove one: what then remains holds a name and nothing else. The next
run removes it when its owner, a process named on a label, is known to be gone; another run's is never touched.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LABEL = "frontier.sandbox"
OWNER_LABEL = "frontier.owner"
OLD_S = 120.0
"""A container of a machine or process world we can't see into is left over when it is stopped and older than this."""
STOPPED = ("created", "dead", "exited")


def owner() -> str:
    """Names this process beyond doubt: boot, process world, id, start time.

    An id alone would not do: ids are given out again, and several machines or containers may share one engine.
    """
    return f"{_world()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_gone(name: str) -> bool | None:
    """Says whether a process named by `owner` has ended; None when that can't be seen from here."""
    world, _, process = name.rpartition("/")[0].rpartition("/")
    pid, start = process, name.rpartition("/")[2]
    if world != _world() or not pid.isdigit():
        return None
    return _start_time(int(pid)) != start


def remove_leftovers(client: Any) -> int:
    """Removes what runs that are gone left behind, and gives how many containers those were.

    Args:
        client: a docker.DockerClient.
    """
    from docker.errors import APIError

    num_removed = 0
    for container in client.api.containers(all=True, filters={"label": LABEL}):
        gone = is_gone(container["Labels"].get(OWNER_LABEL, ""))
        age_s = datetime.now(UTC).timestamp() - container["Created"]
        if gone or (gone is None and container["State"] in STOPPED and age_s > OLD_S):
            with suppress(APIError):  # another run removes them too
                client.api.remove_container(container["Id"], force=True)
                num_removed += 1
    return num_removed


def _world() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _start_time(pid: int) -> str:
    """Gives the clock tick a process started at, "" when there is none; proc(5), field 22 of stat."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
