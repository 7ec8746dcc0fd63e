"""What a dead worker's command leaves behind: processes, known by the two variables every job's command gets.

Only processes of this user are seen and killed. One that cleaned its environment is not found; it keeps the job's lock
instead (see liveness.py), so the job is not started beside it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

ID, ATTEMPT = "FRONTIER_JOB_ID", "FRONTIER_JOB_ATTEMPT"
WAIT_S = 0.5


def kill_processes(job_id: str, attempt: int) -> int:
    """Kills every process of one attempt of a job and waits until they are gone; gives how many there were."""
    wanted = {f"{ID}={job_id}".encode(), f"{ATTEMPT}={attempt}".encode()}
    killed = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and wanted <= _environment(name):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(name), signal.SIGKILL)
                killed.append(name)
    deadline = time.monotonic() + WAIT_S
    while not all(_is_gone(name) for name in killed) and time.monotonic() < deadline:
        time.sleep(0.002)
    return len(killed)


def _is_gone(pid: str) -> bool:
    """Says whether a process has ended, its files and their locks with it; a zombie has."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def _environment(pid: str) -> set[bytes]:
    """Gives the environment of a process; empty when it is gone, a zombie or another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return set(file.read().split(b"\0"))
    except OSError:
        return set()
