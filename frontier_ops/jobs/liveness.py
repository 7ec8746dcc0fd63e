"""Who lives: two locks a job, held by the kernel as long as its worker, or any process of its command, lives.

Byte N of `jobs.lock` is held by job N's command and its worker, byte WORKER + N by the worker alone; byte 0 serialises
the store's writers. These are open-file-description locks (Linux, fcntl(2)): they belong to the descriptor, so a
command that inherits it keeps its job from being started a second time even when the worker is gone, and they end with
the last process that holds them, whatever ended it. No time-out, no clock.
LIMIT: one machine and a local file system; other machines' work goes through an executor that holds the locks here.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

WORKER = 1 << 40
"""Offset of the byte that a job's worker holds alone."""

_FLOCK = "hhqqi4x"
"""struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""


def _request(kind: int, number: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, number, 1, 0)


class LockFile:
    """The lock file of one store.

    Args:
        path: the file; it is made when absent and stays empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take_turn(self) -> None:
        """Waits until no other writer of the store is at work, then holds the store."""
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLKW, _request(fcntl.F_WRLCK, 0))

    def end_turn(self) -> None:
        """Lets the next writer at the store."""
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_UNLCK, 0))

    def is_alive(self, number: int) -> bool:
        """Says whether any process holds byte `number`."""
        answer = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK, number))
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)

    def hold(self, number: int) -> int | None:
        """Gives a descriptor that holds byte `number` until its last copy is closed; None when another has it.

        The caller owns it. It closes on exec unless it is passed on.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_WRLCK, number))
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def close(self) -> None:
        """Closes the file; the store's turn, if held, ends."""
        os.close(self._descriptor)
