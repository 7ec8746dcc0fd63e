"""Files that appear whole or not at all: temp file beside the target, fsync, rename, fsync of the folder.

Equal bytes keep their old mtime, so `make` sees that nothing changed. Folders are covered by `commit_dir`. Does not
cover appends (see events.py) nor files that are no regular ones (/dev/null, a FIFO): those are written straight.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TypeVar

from frontier_core.errors import EnvironmentMissing, UsageError

CHUNK_BYTES = 1 << 20
T = TypeVar("T")

_unfinished: set[Path] = set()


def sha256_file(path: Path) -> str:
    """Gives the sha256 of a file as hex, read in chunks."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fsync_dir(path: Path) -> None:
    """Makes a rename inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temp_beside(target: Path, tag: str = "tmp") -> Path:
    """Gives a name for a temp file in the target's own folder (a rename must not cross file systems)."""
    return target.with_name(f".{target.name}.{os.getpid()}.{tag}")


def sweep_temps(target: Path) -> list[Path]:
    """Removes temp files that killed processes left beside `target`; gives those it removed.

    A living writer holds a lock on its temp file, which ends with it whatever ended it; on another machine that shares
    the folder too. The process id in the name covers the moment between a writer's opening and its locking.
    """
    removed = []
    start, end = f".{target.name}.", ".tmp"
    for path in target.parent.glob(f"{glob.escape(start)}*{end}"):
        pid = path.name[len(start) : -len(end)]
        if pid.isdecimal() and not os.path.exists(f"/proc/{pid}") and path.is_file() and not _is_locked(path):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+b") as file:  # NFS locks only what is open for writing
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # gone, not ours, or a file system without locks: then the process id alone decides
        return False
    return False


class AtomicFile:
    """Writes a file that appears under its name only when `commit` is called.

    Use as a context manager: leaving it normally commits, an exception drops the temp file. `sha256` and `num_bytes`
    are of the bytes on disk and are final after the commit. What killed processes left beside the target goes first.

    Raises:
        UsageError: the folder does not exist or may not be written.
        EnvironmentMissing: the disk is full.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.sha256 = ""
        self.num_bytes = 0
        self.is_regular = not target.exists() or target.is_file()
        self._temp = temp_beside(target) if self.is_regular else target
        self._hash = sha256()
        if self.is_regular:
            sweep_temps(target)
            _unfinished.add(self._temp)
        self._file: BinaryIO | None = self._guard(lambda: self._temp.open("wb"))
        if self.is_regular:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes) -> int:
        """Appends bytes; returns how many."""
        assert self._file is not None
        file = self._file
        self._guard(lambda: file.write(data))
        self._hash.update(data)
        self.num_bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Hands what is buffered to the kernel."""
        if self._file is not None:
            self._guard(self._file.flush)

    def commit(self) -> None:
        """Makes the file appear. Equal bytes under the name already: they stay, mtime and all."""
        if self._file is None:
            return
        file = self._file
        self._guard(file.flush)
        if self.is_regular:
            self._guard(lambda: os.fsync(file.fileno()))
        file.close()
        self._file = None
        self.sha256 = self._hash.hexdigest()
        if not self.is_regular:
            return
        if (
            self.target.exists()
            and self.target.stat().st_size == self.num_bytes
            and sha256_file(self.target) == self.sha256
        ):
            self._temp.unlink()
        else:
            os.replace(self._temp, self.target)
            fsync_dir(self.target.parent)
        _unfinished.discard(self._temp)

    def abort(self) -> None:
        """Drops what was written; the old file, if any, stays."""
        if self._file is not None:
            with suppress(OSError):  # a full disk fails the flush inside close; the temp file goes either way
                self._file.close()
            self._file = None
        if self.is_regular:
            self._temp.unlink(missing_ok=True)
            _unfinished.discard(self._temp)

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self.commit()
            except BaseException:
                self.abort()
                raise
        else:
            self.abort()

    def _guard(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            raise explain_os_error(error, self.target) from error


def drop_unfinished() -> None:
    """Removes the temp files of this process that were neither committed nor dropped; for the end of a command.

    A signal can strike while a file is being opened, before any `with` holds it.
    """
    while _unfinished:
        with suppress(OSError):
            _unfinished.pop().unlink(missing_ok=True)


def explain_os_error(error: OSError, path: Path) -> UsageError | EnvironmentMissing:
    """Turns a foreign OSError about an output into ours, once, with the file's name and the next step."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentMissing(f"{path}: no space left on the device", hint="free some space; nothing was written")
    if error.errno == errno.ENOENT:
        return UsageError(f"{path}: the folder does not exist", hint=f"mkdir -p {path.parent}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UsageError(f"{path}: may not be written ({os.strerror(error.errno)})", hint="choose another place")
    if error.errno == errno.EISDIR:
        return UsageError(f"{path}: is a folder", hint="name a file with -o")
    return EnvironmentMissing(f"{path}: {error.strerror or error}")


def write_bytes(target: Path, data: bytes) -> None:
    """Writes a small file whole or not at all."""
    with AtomicFile(target) as file:
        file.write(data)


def commit_dir(temp: Path, target: Path) -> None:
    """Makes a finished folder appear under `target`; an older one there is replaced in one exchange of names.

    LIMIT: on a file system that can't exchange names replacing is two renames, so for an instant no folder has the
    name; a reader that must never miss it reads through a symlink that is renamed instead (frontier_ops/deploy.py).
    """
    for folder, _, names in os.walk(temp):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())
        fsync_dir(Path(folder))
    old = temp_beside(target, "old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists() and exchange(temp, target):
        os.replace(temp, old)
    elif target.exists():
        os.replace(target, old)
        os.replace(temp, target)
    else:
        os.replace(temp, target)
    fsync_dir(target.parent)
    shutil.rmtree(old, ignore_errors=True)


_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def exchange(one: Path, other: Path) -> bool:
    """Swaps two names in one step, so that both always exist; False when the system or file system can't.

    Source: renameat2(2), RENAME_EXCHANGE; Python offers no call for it.
    """
    import ctypes

    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return False
    failed: int = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return failed == 0
