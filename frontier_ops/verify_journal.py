"""Verdicts kept on disk, so that no plan is run twice: a journal beside the output, or a cache that runs share.

Append-only JSON Lines, `{"key": ..., "verdict": {findings, details}}`, written whole under a lock of the file. The key
is a digest of everything the verdict depends on, so that nothing in here ever has to be forgotten: what changed has
another key. A line cut short by a kill or a full disk is dropped at the next opening. Does not cover what a verdict
depends on beside the record (`verdict_key` is told) nor verdicts of the sandbox on itself, which nobody should keep.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from frontier_core.atomic import explain_os_error
from frontier_core.errors import DataError, EnvironmentMissing, UsageError
from frontier_core.jsonl import dumps, loads
from frontier_core.records import Record, metadata_of
from validators.base import Finding, Verdict

JOURNAL_SUFFIX = ".journal"
SYNC_EVERY_S = 1.0
KEY_BYTES = 16
CHUNK_BYTES = 1 << 20
_LINE = re.compile(rb'{"key":"([0-9a-f]{32})","verdict":')
_BEGIN = b'{"key":"'
_NOT_JUDGED = ("metadata",)
_JUDGED_METADATA = ("skill", "domain", "tool_set")


def verdict_key(record: Record, judge: bytes) -> str:
    """Gives the name of a verdict: a digest of the record, but for metadata that no judge reads, and of the judge.

    Args:
        record: what is judged.
        judge: everything else the verdict depends on, as bytes: validator, sandbox, limits, rules, ...
    """
    judged = {key: value for key, value in record.items() if key not in _NOT_JUDGED}
    metadata = metadata_of(record)
    judged["metadata"] = {key: metadata[key] for key in _JUDGED_METADATA if key in metadata}
    digest = blake2b(dumps(judged), digest_size=KEY_BYTES)
    digest.update(b"\n" + judge)
    return digest.hexdigest()


class VerdictFile:
    """Verdicts by key, in a file. Safe for many threads; a shared one also for many processes.

    Args:
        path: made when absent.
        is_shared: False locks the file for as long as it is open, so that a second run on it is refused; True locks
            it only while something is appended. What others append meanwhile is not seen.
    Raises:
        EnvironmentMissing: another run has it, or the disk is full.
        DataError: it is something else than a file of verdicts; it is left as it is.
        UsageError: its folder does not exist or may not be written, or it is a device.
    """

    def __init__(self, path: Path, *, is_shared: bool) -> None:
        self.path = path
        self._is_shared = is_shared
        self._thread_lock = threading.Lock()
        self._offsets: dict[bytes, int] = {}
        self._synced_at = time.monotonic()
        self._descriptor = self._open()
        try:
            with self._locked():
                self._read()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __len__(self) -> int:
        """How many verdicts it holds, as far as this run knows."""
        return len(self._offsets)

    def find(self, key: str) -> Verdict | None:
        """Gives the verdict of that key, None when it is not known."""
        offset = self._offsets.get(bytes.fromhex(key))
        if offset is None:
            return None
        line = b""
        while not line.endswith(b"\n"):
            chunk = os.pread(self._descriptor, 1 << 13, offset + len(line))
            if not chunk:
                return None
            line += chunk[: chunk.find(b"\n") + 1] or chunk
        return _verdict(line)

    def add(self, key: str, verdict: Verdict) -> None:
        """Appends one verdict as a whole line; it is durable a second later at most, if more follow or on `close`."""
        line = dumps({"key": key, "verdict": as_json(verdict)}) + b"\n"
        with self._thread_lock, self._locked():
            self._offsets[bytes.fromhex(key)] = self._append(line)
            if time.monotonic() - self._synced_at >= SYNC_EVERY_S:
                os.fsync(self._descriptor)
                self._synced_at = time.monotonic()

    def close(self) -> None:
        """Makes everything durable and lets the file go; a journal of nothing is removed. Harmless when closed."""
        with self._thread_lock:
            if self._descriptor >= 0:
                if not self._offsets and not self._is_shared:
                    self.path.unlink(missing_ok=True)
                with suppress(OSError):  # a full disk was said when the line was written
                    os.fsync(self._descriptor)
                os.close(self._descriptor)  # the lock goes with it
                self._descriptor = -1

    def remove(self) -> None:
        """Deletes the file while it is still ours, then closes it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _open(self) -> int:
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            except OSError as error:
                raise explain_os_error(error, self.path) from error
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    os.close(descriptor)
                    raise UsageError(f"{self.path}: is no regular file", hint="name a file that can be read back")
                if self._is_shared:
                    return descriptor
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The run that had it may have deleted it between our opening and our locking.
                if self.path.exists() and os.path.samestat(os.fstat(descriptor), self.path.stat()):
                    return descriptor
            except BlockingIOError as error:
                os.close(descriptor)
                output = self.path.name.removesuffix(JOURNAL_SUFFIX)
                hint = "wait for it to end, or write to another file"
                raise EnvironmentMissing(f"{self.path.with_name(output)}: another run writes it", hint=hint) from error
            except OSError as error:
                os.close(descriptor)
                raise explain_os_error(error, self.path) from error
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._is_shared:
            yield
            return
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _read(self) -> None:
        """Notes where each verdict stands; cuts a torn end off, which under the lock nobody can be writing."""
        offset, tail = 0, b""
        while chunk := os.pread(self._descriptor, CHUNK_BYTES, offset + len(tail)):
            *lines, tail = (tail + chunk).split(b"\n")
            for line in lines:
                self._note(line, offset)
                offset += len(line) + 1
        if tail:
            self._refuse_foreign(tail, offset)
            os.ftruncate(self._descriptor, offset)

    def _note(self, line: bytes, offset: int) -> None:
        found = _LINE.match(line)
        if found:
            self._offsets[bytes.fromhex(found[1].decode())] = offset
        else:
            self._refuse_foreign(line, offset)

    def _refuse_foreign(self, line: bytes, offset: int) -> None:
        """Stops before a file that is somebody else's; a line of ours cut short by a kill still begins as ours do."""
        if offset == 0 and (not line or not _BEGIN.startswith(line[: len(_BEGIN)])):
            raise DataError("is no file of verdicts", path=str(self.path), code="journal", hint="name another file")

    def _append(self, line: bytes) -> int:
        """Writes a line and gives where it stands; on a full disk nothing of it stays."""
        size = os.fstat(self._descriptor).st_size
        is_torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        todo = memoryview(b"\n" + line if is_torn else line)
        try:
            while todo:
                todo = todo[os.write(self._descriptor, todo) :]
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise explain_os_error(error, self.path) from error
        return size + is_torn


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Gives a verdict as it is written down: {findings, details}."""
    return {"findings": [asdict(finding) for finding in verdict.findings], "details": verdict.details}


def _verdict(line: bytes) -> Verdict | None:
    """Reads a line back; None when it is none of ours."""
    try:
        value = loads(line)["verdict"]
        return Verdict(findings=tuple(Finding(**found) for found in value["findings"]), details=value["details"])
    except (ValueError, KeyError, TypeError):
        return None
