"""A power loss at any moment: the file operations of a program are recorded, then replayed up to each of them.

The program runs under strace. A crash state is what a disk may hold afterwards, by the rules of POSIX alone: data of a
file is sure from its fsync on, a name (created, renamed, removed) from the fsync of its folder on; what is not sure may
be there, may be missing, and a write may be there by half. Names and data go missing independently of each other.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

STRACE = shutil.which("strace")
CALLS = (
    "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "link,linkat,symlink,symlinkat,sendfile,copy_file_range,writev,pwritev,fallocate"
)
LINE = re.compile(r"^(\w+)\((.*)\)\s+= (\d+)", re.S)
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
WHERE = re.compile(r"(-?\w+)<((?:\\x[0-9a-f]{2})*)(?:\(deleted\))?>")


@dataclass
class State:
    """What a disk may hold after the power went: files by path, folders, links; and what the program had said."""

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def lay(self, root: Path) -> None:
        """Makes a folder that looks like it."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        for name in sorted(self.folders):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            (root / name).write_bytes(data)
        for name, to in self.links.items():
            os.symlink(to, root / name)


@dataclass
class _Inode:
    data: bytes = b""
    sure: bytes = b""
    torn: bytes = b""


@dataclass
class _Change:
    """A change of names: `kind` link, drop, move, swap, mkdir or symlink; sure once one of `waits` is synced."""

    kind: str
    path: str
    other: object = None
    is_sure: bool = False
    waits: set[str] = field(default_factory=set)


def crash_states(code: str, root: Path, *arguments: str) -> Iterator[State]:
    """Runs Python code with `root` as its first argument and yields every crash state of that folder, each once."""
    disk = _Disk(root)
    log = root.parent / f"{root.name}.strace"
    command = [STRACE, "-qq", "-y", "-xx", "-s", "10000000", "-e", f"trace={CALLS}", "-o", str(log)]
    done = subprocess.run(
        [*command, sys.executable, "-c", code, str(root), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: set[int] = set()
    for line in log.read_text().splitlines():
        if (found := LINE.match(line)) and disk.apply(found[1], found[2], int(found[3])):
            for state in disk.states():
                left = (frozenset(state.files.items()), frozenset(state.folders), frozenset(state.links.items()))
                if (key := hash((*left, len(state.said)))) not in seen:
                    seen.add(key)
                    yield state


class _Disk:
    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.start: list[_Change] = []
        self.changes: list[_Change] = []
        self.said: list[str] = []
        self.names: dict[str, _Inode] = {}
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_symlink():
                self.start.append(_Change("symlink", name, os.readlink(path), is_sure=True))
            elif path.is_dir():
                self.start.append(_Change("mkdir", name, is_sure=True))
            else:
                data = path.read_bytes()
                self.names[name] = _Inode(data, data, data)
                self.start.append(_Change("link", name, self.names[name], is_sure=True))

    def apply(self, call: str, arguments: str, answer: int) -> bool:
        """Takes one system call in; says whether it touched the folder."""
        texts = [_bytes(text) for text in TEXT.findall(arguments)]
        places = [(name, _bytes(path).decode()) for name, path in WHERE.findall(arguments)]
        if call in ("write", "pwrite64") and places[0][0] == "1" and not self._inside(places[0][1]):
            self.said += texts[0].decode().split()
            return False
        if call == "sendfile" and (name := self._inside(places[0][1])):
            inode = self.names[name]  # a file copied from its start to its end, which is still there to be read
            at = len(inode.data)
            inode.torn = inode.data
            inode.data += Path(places[1][1]).read_bytes()[at : at + answer]
            return answer > 0
        if call in ("copy_file_range", "sendfile", "writev", "pwritev", "fallocate"):
            assert not self._inside(places[0][1]), f"{call} is not replayed"
            return False
        if call in ("write", "pwrite64", "ftruncate", "fsync", "fdatasync"):
            return self._touch(call, places[0][1], texts, arguments)
        folders = iter(path for name, path in places if name == "AT_FDCWD" or name.isdecimal())
        here = os.getcwd()
        paths = [os.path.normpath(os.path.join(next(folders, here), text.decode())) for text in texts]
        if call.startswith("symlink"):
            paths = paths[1:]
        names = [self._inside(path) for path in paths]
        if not all(names):
            return False
        return self._rename(call, [name for name in names if name], texts, arguments)

    def _touch(self, call: str, path: str, texts: list[bytes], arguments: str) -> bool:
        name = self._inside(path)
        if name is None:
            return False
        if call in ("fsync", "fdatasync") and name not in self.names:
            for change in self.changes:
                change.is_sure |= name in change.waits
            return True
        inode = self.names.get(name)
        if inode is None:  # removed while it was open
            return False
        if call in ("fsync", "fdatasync"):
            inode.sure = inode.torn = inode.data
        elif call == "ftruncate":
            inode.data = inode.data[: (size := int(arguments.rsplit(",", 1)[1]))].ljust(size, b"\0")
        else:
            at = int(arguments.rsplit(",", 1)[1]) if call == "pwrite64" else len(inode.data)
            before = inode.data.ljust(at, b"\0")
            inode.torn = _over(before, at, texts[0][: len(texts[0]) // 2])
            inode.data = _over(before, at, texts[0])
        return True

    def _rename(self, call: str, names: list[str], texts: list[bytes], arguments: str) -> bool:
        name = names[0]
        if call == "openat":
            if "O_TRUNC" in arguments and name in self.names:
                self.names[name].data = b""
            elif "O_CREAT" in arguments and name not in self.names:
                self.names[name] = _Inode()
                self._change("link", name, self.names[name])
            else:
                return False
        elif call.startswith("rename"):
            kind = "swap" if "RENAME_EXCHANGE" in arguments else "move"
            self._change(kind, name, names[1])
            _move(self.names, kind, name, names[1])
            for change in self.changes:  # a folder that moved is synced under its new name
                change.waits |= {names[1] + wait[len(name) :] for wait in change.waits if _is_in(wait, name)}
        elif call.startswith("unlink") or call == "rmdir":
            self.names.pop(name, None)
            self._change("drop", name)
        elif call.startswith("link"):
            self.names[names[1]] = self.names[name]
            self._change("link", names[1], self.names[name])
        elif call.startswith("mkdir"):
            self._change("mkdir", name)
        else:
            self._change("symlink", name, texts[0].decode())
        return True

    def _change(self, kind: str, path: str, other: object = None) -> None:
        seen = other if kind in ("move", "swap") else path
        self.changes.append(_Change(kind, path, other, waits={os.path.dirname(str(seen)) or "."}))

    def states(self) -> Iterator[State]:
        """Yields what may be left now: sure names or all, sure data, all, or the last write of each file by half."""
        for only_sure in (True, False):
            changes = self.start + [change for change in self.changes if change.is_sure or not only_sure]
            for data in ("sure", "data", "torn"):
                yield self._left(changes, data)

    def _left(self, changes: list[_Change], data: str) -> State:
        state = State(said=list(self.said))
        names: dict[str, object] = {}
        for change in changes:
            if change.path and os.path.dirname(change.path) and os.path.dirname(change.path) not in names:
                continue  # its folder never came to be
            if change.kind == "drop":
                names.pop(change.path, None)
            elif change.kind in ("move", "swap"):
                if change.path in names:
                    _move(names, change.kind, change.path, str(change.other))
            else:
                names[change.path] = change.other if change.other is not None else "folder"
                if change.kind == "symlink":
                    names[change.path] = ("symlink", change.other)
        for name, what in names.items():
            if isinstance(what, _Inode):
                state.files[name] = getattr(what, data)
            elif isinstance(what, tuple):
                state.links[name] = what[1]
            else:
                state.folders.add(name)
        return state

    def _inside(self, path: str) -> str | None:
        return os.path.relpath(path, self.root) if _is_in(path, self.root) else None


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _move(names: dict[str, object] | dict[str, _Inode], kind: str, source: str, to: str) -> None:
    """Moves a name, with all below it; with "swap" the other way as well. What was there before goes."""
    moved = {to + name[len(source) :]: names.pop(name) for name in list(names) if _is_in(name, source)}
    back = {source + name[len(to) :]: names.pop(name) for name in list(names) if _is_in(name, to)}
    names.update(moved)  # type: ignore[arg-type]
    if kind == "swap":
        names.update(back)  # type: ignore[arg-type]


def _over(before: bytes, at: int, data: bytes) -> bytes:
    return before[:at] + data + before[at + len(data) :]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
