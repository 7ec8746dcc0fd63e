"""`status/job_history.jsonl`: the append-only log of all that happened to jobs. It is the truth, the store its index.

An event counts from the moment its line is whole in the file, whatever dies next. Lines are synced to the disk at once
for what matters (`is_urgent`), and otherwise within SYNC_EVERY_S: after a power loss at most that much of no-op jobs is
done again. A line without its newline is the mark of a writer that died in the middle: it is cut off, never read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from frontier_core.atomic import fsync_dir
from frontier_core.errors import DataError
from frontier_ops.jobs.job import Event

SYNC_EVERY_S = 0.1
_CHUNK_BYTES = 1 << 20


class History:
    """The log of one store. Only the holder of the store's turn may append or cut.

    Args:
        path: the file; it is made when absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not path.exists()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        if is_new:  # a synced line is worth nothing in a file whose name a power loss takes
            fsync_dir(path.parent)
            fsync_dir(path.parent.parent)
        self._synced_at = 0.0
        self._is_dirty = False

    def num_bytes(self) -> int:
        """Gives the size of the log."""
        return os.fstat(self._descriptor).st_size

    def append(self, events: Iterable[Event], *, is_urgent: bool) -> int:
        """Appends events in one write and gives the size of the log after it.

        Raises:
            OSError: the disk is full; a part of a line that came to be written is cut off again.
        """
        data = b"".join(orjson.dumps(event) + b"\n" for event in events)
        start = self.num_bytes()
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            os.ftruncate(self._descriptor, start)
            raise
        self._is_dirty = True
        if is_urgent or time.monotonic() - self._synced_at > SYNC_EVERY_S:
            self.sync()
        return start + len(data)

    def sync(self) -> None:
        """Makes everything appended so far durable."""
        if self._is_dirty:
            os.fdatasync(self._descriptor)
            self._is_dirty = False
            self._synced_at = time.monotonic()

    def read(self, start: int = 0) -> Iterator[tuple[Event, int]]:
        """Yields (event, offset after it) from a byte offset on; a last line without its newline is left out.

        Raises:
            DataError: a whole line is not a JSON object; names it by its offset.
        """
        rest, offset = b"", start
        while chunk := os.pread(self._descriptor, _CHUNK_BYTES, offset + len(rest)):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                offset += len(line) + 1
                yield self._event(line, offset), offset

    def cut(self, size: int) -> None:
        """Cuts off what stands after `size` bytes: the torn end of a writer that died."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Syncs and closes the file."""
        self.sync()
        os.close(self._descriptor)

    def _event(self, line: bytes, end: int) -> Event:
        try:
            event = orjson.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            raise DataError(
                f"the line that ends at byte {end} is no JSON object",
                path=str(self.path),
                code="history",
                hint="mend or remove that line, then: frontier jobs rebuild",
            )
        return event
