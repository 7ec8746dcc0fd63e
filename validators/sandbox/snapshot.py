"""The exact difference a plan made in the home folder: a walk before, a walk after.

Runs inside the sandbox as part of process 1: standard library only. Nothing is ever followed: links are read as links,
special files are named and not opened. Judging the difference is expectations.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from validators.sandbox.world import HOME, text_of

Json = dict[str, Any]
Snapshot = dict[str, Json]

MAX_PATHS_BYTES = 8 << 20
CLOCK_OF_FILES = 5
"""CLOCK_REALTIME_COARSE of clock_gettime(2), which the time module does not name: what a file's times are read off."""
SPECIAL = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


class Walk:
    """One lstat walk of the home folder, "." for itself: path -> {kind, mode, size, sha256, target}.

    `times` are the nanoseconds when each was last written to; those of folders, which any file that comes and goes in
    them moves, are left out.

    LIMIT: contents are hashed up to `budget_bytes` in all (sparse files cost nothing to make); past that sha256 is ""
    and `is_complete` false; so it is when all paths together are longer than MAX_PATHS_BYTES, where the walk stops,
    because deep folders make them cheaper than the memory they would take here. What can't be reached (a path beyond
    PATH_MAX) is there as kind "unreadable".
    """

    def __init__(self, budget_bytes: int) -> None:
        self.is_complete = True
        self.entries: Snapshot = {}
        self.times: dict[bytes, int] = {}
        self._budget = budget_bytes
        self._opened: list[tuple[bytes, int]] = []
        self._paths_left = MAX_PATHS_BYTES
        todo = [(os.fsencode(HOME), b"")]
        self.entries["."] = self._entry(todo[0][0])
        while todo:
            folder, prefix = todo.pop()
            for name in self._names(folder):
                self._paths_left -= len(prefix) + len(name) + 1
                if self._paths_left < 0:
                    self.is_complete = False
                    return
                full, path = os.path.join(folder, name), os.path.join(prefix, name)
                entry = self._entry(full)
                self.entries[text_of(path)] = entry
                if entry["kind"] == "dir":
                    todo.append((full, path))

    def let_the_clock_move(self) -> None:
        """Waits until files get another time than the newest of these (a tick, 4 ms or so, if that was just now)."""
        stamps = set(self.times.values())
        while time.clock_gettime_ns(CLOCK_OF_FILES) in stamps:
            time.sleep(0.0005)

    def restore(self) -> None:
        """Gives folders that were closed to their owner their mode back; until then their files can be read."""
        while self._opened:
            os.chmod(*self._opened.pop())

    def _names(self, folder: bytes) -> list[bytes]:
        try:
            mode = stat.S_IMODE(os.lstat(folder).st_mode)
            if mode & 0o500 != 0o500:
                os.chmod(folder, mode | 0o500)
                self._opened.append((folder, mode))
            return sorted(os.listdir(folder))
        except OSError:
            return []

    def _entry(self, full: bytes) -> Json:
        entry: Json = {"kind": "unreadable", "mode": "", "size": 0, "sha256": "", "target": ""}
        try:
            info = os.lstat(full)
            entry["mode"] = f"{stat.S_IMODE(info.st_mode):04o}"
            kind = stat.S_IFMT(info.st_mode)
            if kind != stat.S_IFDIR:
                self.times[full] = info.st_mtime_ns
            if kind == stat.S_IFLNK:
                entry |= {"kind": "symlink", "mode": "0777", "target": text_of(os.readlink(full))}
            elif kind == stat.S_IFDIR:
                entry["kind"] = "dir"
            elif kind == stat.S_IFREG:
                entry |= {"kind": "file", "size": info.st_size, "sha256": self._digest(full, info)}
            else:
                entry["kind"] = SPECIAL.get(kind, "special")
        except OSError:
            pass  # stays "unreadable", which differs from every readable state
        return entry

    def _digest(self, full: bytes, info: os.stat_result) -> str:
        self._budget -= info.st_size
        if self._budget < 0:
            self.is_complete = False
            return ""
        digest = hashlib.sha256()
        with open_regular(full, info.st_mode) as file:
            while block := file.read(1 << 18):
                digest.update(block)
        return digest.hexdigest()


def open_regular(full: bytes, mode: int) -> Any:
    """Opens a regular file without following links; one its owner may not read is opened all the same."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(full, flags), "rb")
    except PermissionError:
        os.chmod(full, stat.S_IMODE(mode) | 0o400)
        try:
            return os.fdopen(os.open(full, flags), "rb")
        finally:
            os.chmod(full, stat.S_IMODE(mode))


class Difference(NamedTuple):
    """The world before, the world after, and what `diff` says of the two."""

    before: Snapshot
    after: Snapshot
    changes: list[Json]


def diff(before: Snapshot, after: Snapshot) -> list[Json]:
    """Gives every path that differs, sorted: {path, change: added | removed | changed, kind, mode, size, sha256...}."""
    changes = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            change = "added" if old is None else "removed" if new is None else "changed"
            changes.append({"path": path, "change": change, **(new or old or {})})
    return changes


def glob_matcher(globs: list[str]) -> Callable[[str], bool]:
    """Gives a test whether a path matches one of the globs: `*` and `?` within one name, `**` any folders.

    `a/**` covers `a` itself too; the home folder itself is `.`, which `*` does not match. Takes time in proportion to
    path and glob, whatever the glob.
    """
    patterns = [glob.split("/") for glob in globs]
    has_home = not {".", "**"}.isdisjoint(globs)
    return lambda path: has_home if path == "." else any(_matches(path.split("/"), pattern) for pattern in patterns)


def _matches(names: list[str], pattern: list[str]) -> bool:
    """Matches folder by folder: `reached` holds how many names the pattern so far can have taken."""
    reached = {0}
    for part in pattern:
        if part == "**":
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(names) and _name_matches(names[at], part)}
        if not reached:
            return False
    return len(names) in reached


def _name_matches(name: str, part: str) -> bool:
    """Matches one name: after a mismatch only the last `*` takes one letter more (no other can help)."""
    at = position = 0
    star, resume = -1, 0
    while at < len(name):
        letter = part[position] if position < len(part) else ""
        if letter == "*":
            star, resume, position = position, at, position + 1
        elif letter and letter in (name[at], "?"):
            at, position = at + 1, position + 1
        elif star >= 0:
            resume += 1
            at, position = resume, star + 1
        else:
            return False
    return not part[position:].strip("*")
