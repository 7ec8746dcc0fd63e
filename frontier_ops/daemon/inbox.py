"""The inbox: `inbox/DATASET/training_samples.jsonl`, taken once it is whole.

Whole means: nobody has it open for writing (the kernel tells, by a lease), its size has not changed for a while, and
its last line ends. A file that is moved into place is whole at once in the first two respects.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

INBOX, SAMPLES = "inbox", "training_samples.jsonl"


def datasets(home: Path) -> Iterator[Path]:
    """Yields the data files that lie in the inbox, oldest first."""
    found = [path for path in (home / INBOX).glob(f"*/{SAMPLES}") if path.is_file()]
    yield from sorted(found, key=lambda path: (path.stat().st_mtime_ns, path))


def why_not_yet(path: Path, settle_s: float) -> str:
    """Says why a file is not whole yet; "" when it is.

    Args:
        path: the data file.
        settle_s: how long its size and its time of change must have stood, in seconds.
    """
    status = path.stat()
    if status.st_size == 0:
        return "it is empty"
    if time.time() - status.st_mtime < settle_s:
        return "it was written a moment ago"
    with path.open("rb") as file:
        if not _is_closed(file.fileno()):
            return "somebody has it open for writing"
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            return "its last line has no end"
    return ""


def _is_closed(descriptor: int) -> bool:
    """Says whether no process may write to the file, as far as the kernel can tell: a read lease needs that."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    except OSError:  # another user's file, or a file system without leases
        return True
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True
