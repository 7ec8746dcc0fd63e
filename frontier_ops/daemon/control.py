"""The daemon's control folder: who holds the loop, what it does, and how to ask it to pause, go on or stop."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import EnvironmentMissing

LOCK, STATE, PAUSE, STOP = "control/daemon.lock", "control/state.json", "control/.pause", "control/.stop"
WAIT_S = 0.1


def hold(home: Path) -> int:
    """Gives a descriptor whose lock says that this process is the home's daemon; it ends with the process.

    Raises:
        EnvironmentMissing: another process holds it; the message names it.
    """
    (home / LOCK).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode().strip()
        os.close(descriptor)
        raise EnvironmentMissing(
            f"{home}: another daemon holds it (pid {owner})", hint="frontier daemon status, or frontier daemon stop"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def holder(home: Path) -> int | None:
    """Gives the process id of the living daemon of a home folder, None when there is none."""
    try:
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0) or b"0")
    finally:
        os.close(descriptor)
    return None


def read_state(home: Path) -> dict[str, Any]:
    """Gives what the daemon last said of itself; empty when it never ran."""
    try:
        state = orjson.loads((home / STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def pause(home: Path) -> None:
    """Asks the daemon, and any that starts later, to pause: running jobs are suspended, nothing new is taken."""
    (home / PAUSE).parent.mkdir(parents=True, exist_ok=True)
    (home / PAUSE).touch()


def resume(home: Path) -> None:
    """Takes a pause back."""
    (home / PAUSE).unlink(missing_ok=True)


def stop(home: Path, timeout_s: float) -> bool:
    """Asks the daemon to stop and waits for its end; says whether it has ended."""
    deadline = time.monotonic() + timeout_s
    if holder(home) is None:
        return True
    (home / STOP).touch()
    while holder(home) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(WAIT_S)
    return True
