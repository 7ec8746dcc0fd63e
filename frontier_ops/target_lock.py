"""One writer at a time on a deploy target: a lock folder that names its owner, so a dead owner's lock can be taken.

The folder appears by rename with the owner already inside, so there is never a lock of nobody. Readers (serve,
status) need no lock: what they see changes by rename alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import EnvironmentMissing

LOCK = ".lock"
_OWNER = "owner.json"


@contextmanager
def locked(target: Path, *, force: bool = False) -> Iterator[None]:
    """Holds the target's lock for the body of a `with`.

    Args:
        target: an existing folder.
        force: also take the lock of an owner on another machine, whose life can't be checked from here. A living
            owner on this machine is never robbed.
    Raises:
        EnvironmentMissing: another deploy holds it; the message names its pid and machine.
    """
    _acquire(target, force)
    try:
        yield
    finally:
        shutil.rmtree(target / LOCK, ignore_errors=True)


def lock_owner(target: Path) -> str:
    """Says who holds the lock, `pid 123 on host`, or "" when nobody alive does."""
    owner = _read_owner(target)
    if owner is None or _is_dead(owner):
        return ""
    return f"pid {owner.get('pid')} on {owner.get('host')}"


def _acquire(target: Path, force: bool) -> None:
    lock = target / LOCK
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Two processes that both see a dead owner must not both take over; the kernel drops this lock by itself.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        owner = _read_owner(target)
        if owner is not None and not _is_dead(owner):
            is_here = owner.get("host") == socket.gethostname()
            if is_here or not force:
                raise EnvironmentMissing(
                    f"{target}: another deploy holds the lock ({lock_owner(target)})",
                    hint="wait for it to end" if is_here else "if that machine is gone, take the lock with --force",
                )
        shutil.rmtree(lock, ignore_errors=True)
        mine = target / f"{LOCK}.{os.getpid()}.tmp"
        shutil.rmtree(mine, ignore_errors=True)
        os.mkdir(mine)
        (mine / _OWNER).write_bytes(orjson.dumps(_identity()))
        os.rename(mine, lock)
    finally:
        os.close(descriptor)


def _identity() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": _start_time(os.getpid()), "boot": _boot_id()}


def _read_owner(target: Path) -> dict[str, Any] | None:
    try:
        owner = orjson.loads((target / LOCK / _OWNER).read_bytes())
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def _is_dead(owner: dict[str, Any]) -> bool:
    """True when the owner surely lives no more; of another machine nothing is sure."""
    if owner.get("host") != socket.gethostname():
        return False
    if owner.get("boot") != _boot_id():
        return True
    # The start time tells a living owner from a stranger that got the same pid later.
    return owner.get("started") != _start_time(int(owner.get("pid", 0)))


def _start_time(pid: int) -> str | None:
    """Gives the process's start in clock ticks since boot, None when there is no such process (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
