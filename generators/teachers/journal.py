"""The journal: every reply that was paid for, appended as it comes, found again by the request that earned it.

One JSON line a reply; its key is blake2b of the canonical request body and a sample index, so whatever asks the same
again gets the same answer for nothing: a resumed run, a repeated one, one with a task more. Only keys and places stay
in memory. Holds replies, never requests or credentials. What `flush` wrote survives a killed process, what `sync` saw
a power cut. One run at a time: the file is locked.
"""

from __future__ import annotations

import fcntl
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import explain_os_error
from frontier_core.errors import DataError, UsageError
from generators.teachers.wire import Reply

_LINE = orjson.OPT_APPEND_NEWLINE


def body_digest(body: dict[str, Any]) -> blake2b:
    """Gives the digest of a request body, whatever its key order."""
    return blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=16)


def request_key(digest: blake2b, sample: int) -> str:
    """Gives the 32 hex digits a reply is filed under: equal body and sample, equal key."""
    keyed = digest.copy()
    keyed.update(b"\n%d" % sample)
    return keyed.hexdigest()


class Journal:
    """Replies by request key; in memory when `path` is None.

    Opening cuts off a torn last line. `num_loaded`, `tokens_in` and `tokens_out` sum up what was there.

    Args:
        path: the file, made when it is absent.
        is_read_only: leave the file as it is, torn line and all; it must exist.
    Raises:
        DataError: a line is no journal line; names it.
        UsageError: another run holds the file, or it can't be opened.
    """

    def __init__(self, path: Path | None, *, is_read_only: bool = False) -> None:
        self.path = path
        self.num_loaded = self.tokens_in = self.tokens_out = 0
        self._places: dict[bytes, tuple[int, int]] = {}
        self._unwritten: dict[bytes, bytes] = {}
        self._size = 0
        self._file = -1
        if path is not None:
            try:
                mode = os.O_RDONLY if is_read_only else os.O_RDWR | os.O_CREAT | os.O_APPEND
                self._file = os.open(path, mode | os.O_CLOEXEC, 0o644)
                fcntl.flock(self._file, fcntl.LOCK_SH if is_read_only else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(self._file)
                raise UsageError(f"{path}: another run is writing it", hint="wait for it, or name another") from error
            except OSError as error:
                raise explain_os_error(error, path) from error
            try:
                self._load(path, is_read_only)
            except BaseException:
                self.close()
                raise

    def _load(self, path: Path, is_read_only: bool) -> None:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    if not is_read_only:
                        os.ftruncate(self._file, self._size)
                    return
                try:
                    entry = orjson.loads(line)
                    key = bytes.fromhex(entry["key"])
                    self.tokens_in += entry["tokens_in"]
                    self.tokens_out += entry["tokens_out"]
                except (ValueError, KeyError, TypeError) as error:
                    hint = "it is no journal of synth teach, or was edited; name another with --journal"
                    raise DataError("not a journal line", path=str(path), line=number, hint=hint) from error
                self._places[key] = (self._size, len(line))
                self._size += len(line)
                self.num_loaded += 1

    def __len__(self) -> int:
        return len(self._places) + len(self._unwritten)

    def find(self, key: str) -> Reply | None:
        """Gives the reply filed under a key, None when it was never asked for."""
        name = bytes.fromhex(key)
        raw = self._unwritten.get(name)
        if raw is None and self._file >= 0:
            place = self._places.get(name)
            raw = os.pread(self._file, place[1], place[0]) if place else None
        if raw is None:
            return None
        entry = orjson.loads(raw)
        return Reply(*(entry[field] for field in Reply._fields))

    def add(self, key: str, reply: Reply) -> None:
        """Files a reply; it is in memory until `flush`."""
        self._unwritten[bytes.fromhex(key)] = orjson.dumps({"key": key, **reply._asdict()}, option=_LINE)

    @property
    def has_unwritten(self) -> bool:
        """True when there is something for `flush` to write."""
        return bool(self._unwritten) and self._file >= 0

    def flush(self) -> None:
        """Appends what was filed, in one write. Raises EnvironmentMissing when the disk is full."""
        if not self.has_unwritten:
            return
        data = b"".join(self._unwritten.values())
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise explain_os_error(error, self.path or Path()) from error
        for name, line in self._unwritten.items():
            self._places[name] = (self._size, len(line))
            self._size += len(line)
        self._unwritten.clear()

    def sync(self) -> None:
        """Makes what was written durable."""
        if self._file >= 0:
            os.fsync(self._file)

    def close(self) -> None:
        """Writes the rest, closes and unlocks the file."""
        self.flush()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
