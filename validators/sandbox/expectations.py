"""What a plan left behind: the exact difference of the home folder, and whether it is what the record expects.

Runs inside the sandbox as part of process 1, after every process of the plan is dead: standard library only. Nothing
is ever followed: links are read as links, special files are named and not opened. Codes are those of docs/records.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from typing import Any

from validators.sandbox.world import CHECK_TIMEOUT_S, ENV, HOME, SETTLE_S, STILL_RUNNING_S, World, text_of

Json = dict[str, Any]
Snapshot = dict[str, Json]
Finding = dict[str, str]

SPECIAL = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def pointer(*parts: object) -> str:
    """Gives a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def finding(code: str, message: str, *where: object, remedy: str = "") -> Finding:
    """Gives one finding as the outcome carries it; `where` are the parts of its pointer under /expect."""
    return {"code": code, "message": message, "pointer": pointer("expect", *where) if where else "", "remedy": remedy}


# --- Snapshot --------------------------------------------------------------------------------------------------------


class Walk:
    """One lstat walk of the home folder: path -> {kind, mode, size, sha256, target}.

    LIMIT: contents are hashed up to `budget_bytes` in all (sparse files cost nothing to make); past that sha256 is ""
    and `is_complete` false. What can't be reached (a path beyond PATH_MAX) is there as kind "unreadable".
    """

    def __init__(self, budget_bytes: int) -> None:
        self.is_complete = True
        self.entries: Snapshot = {}
        self._budget = budget_bytes
        self._opened: list[tuple[bytes, int]] = []
        todo = [(os.fsencode(HOME), b"")]
        while todo:
            folder, prefix = todo.pop()
            for name in self._names(folder):
                full, path = os.path.join(folder, name), os.path.join(prefix, name)
                entry = self._entry(full)
                self.entries[text_of(path)] = entry
                if entry["kind"] == "dir":
                    todo.append((full, path))

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
        with _opened(full, info.st_mode) as file:
            while block := file.read(1 << 18):
                digest.update(block)
        return digest.hexdigest()


def _opened(full: bytes, mode: int) -> Any:
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


def diff(before: Snapshot, after: Snapshot) -> list[Json]:
    """Gives every path that differs, sorted: {path, change: added | removed | changed, kind, mode, size, sha256...}."""
    changes = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old != new:
            change = "added" if old is None else "removed" if new is None else "changed"
            changes.append({"path": path, "change": change, **(new or old or {})})
    return changes


def glob_pattern(glob: str) -> re.Pattern[str]:
    """Gives the pattern of a path glob: `**` any text, `*` and `?` within one name; `a/**` covers `a` itself too."""
    if glob.endswith("/**"):
        return re.compile(glob_pattern(glob[:-3]).pattern + "(?:/.*)?", re.DOTALL)
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.DOTALL)


# --- Expectations ----------------------------------------------------------------------------------------------------


def fact(name: str) -> str:
    """Gives one fact. Raises ValueError when there is none of that name: the expectation is bad, not the plan."""
    known = facts()
    if name not in known:
        raise ValueError(f"the sandbox knows no fact {name!r}")
    return known[name]


def facts() -> dict[str, str]:
    """Gives what only this sandbox knows, by the names of docs/records.md."""
    system = os.uname()
    return {
        "uname.sysname": system.sysname,
        "uname.machine": system.machine,
        "uname.release": system.release,
        "hostname": system.nodename,
        "cpu_count": str(len(os.sched_getaffinity(0))),
        "page_size": str(os.sysconf("SC_PAGESIZE")),
        "user": "user",
        "home": HOME,
    }


def judge_files(expect: Json, after: Snapshot, changes: list[Json], cap: int) -> Iterator[Finding]:
    """Yields what is wrong with the files: each listed one, then every change nobody listed."""
    listed: dict[str, Json] = {os.path.normpath(path): wanted for path, wanted in expect.get("files", {}).items()}
    for path, wanted in listed.items():
        yield from _judge_file(path, wanted, after.get(path), cap)
    if expect.get("allow_other_changes"):
        return
    ignored = [glob_pattern(glob) for glob in expect.get("ignore", [])]
    present = {path for path, wanted in listed.items() if not wanted.get("absent")}
    parents = {path[:cut] for path in present for cut, letter in enumerate(path) if letter == "/"}
    gone = tuple(f"{path}/" for path, wanted in listed.items() if wanted.get("absent"))
    for change in changes:
        path = change["path"]
        is_needed = change["change"] == "added" and change["kind"] == "dir" and path in parents
        is_gone = change["change"] == "removed" and path.startswith(gone)
        if path in listed or is_needed or is_gone or any(glob.fullmatch(path) for glob in ignored):
            continue
        yield finding(
            "unexpected_change",
            f"{path}: {change['kind']} {change['change']}, which nothing asked for",
            "files",
            remedy="list the path in expect.files or cover it by expect.ignore if the task allows it",
        )


def _judge_file(path: str, wanted: Json, entry: Json | None, cap: int) -> Iterator[Finding]:
    where = ("files", path)
    if wanted.get("absent"):
        if entry is not None:
            yield finding("wrong_file", f"{path}: still there, should be gone", *where)
        return
    if entry is None:
        yield finding("missing_file", f"{path}: not there", *where)
        return
    kind = "symlink" if "symlink" in wanted else "dir" if wanted.get("dir") else "file"
    if kind == "file" and not wanted.keys() - {"mode"}:
        kind = entry["kind"]  # only the mode is asked for
    if entry["kind"] != kind:
        yield finding("wrong_file", f"{path}: a {entry['kind']}, should be a {kind}", *where)
        return
    if kind == "symlink" and entry["target"] != wanted.get("symlink", entry["target"]):
        yield finding("wrong_file", f"{path}: points to {entry['target']!r}, should be {wanted['symlink']!r}", *where)
    if "mode" in wanted and int(entry["mode"], 8) != int(wanted["mode"], 8):
        yield finding("wrong_mode", f"{path}: mode {entry['mode']}, should be {int(wanted['mode'], 8):04o}", *where)
    if kind == "file" and (problem := _content_problem(path, wanted, entry, cap)):
        yield finding("wrong_file", f"{path}: {problem}", *where)


def _content_problem(path: str, wanted: Json, entry: Json, cap: int) -> str:
    if "sha256" in wanted and entry["sha256"] != wanted["sha256"]:
        return f"sha256 {entry['sha256'][:12]}..., should be {wanted['sha256'][:12]}..."
    if not wanted.keys() & {"text", "gzip", "tar", "fact"}:
        return ""
    full = os.fsencode(os.path.join(HOME, path))
    with _opened(full, os.lstat(full).st_mode) as file:
        data = file.read(cap)
    if "text" in wanted:
        return difference(wanted["text"].encode(), data)
    if "fact" in wanted:
        return difference(wanted.get("template", "{}\n").replace("{}", fact(wanted["fact"])).encode(), data)
    try:
        unpacked = inflate(data, cap)
        if "gzip" in wanted:
            if data[:2] != b"\x1f\x8b":
                return "is not gzip data"
            return difference(wanted["gzip"].encode(), unpacked)
        return _tar_problem(unpacked, wanted["tar"])
    except (zlib.error, OSError, EOFError, ValueError) as error:
        return f"can't be unpacked: {error}"


def inflate(data: bytes, cap: int) -> bytes:
    """Gives gzip, bzip2 or xz data unpacked, other data as it is.

    Raises:
        ValueError: it is cut off, or unpacks to more than `cap` bytes.
    """
    if data[:3] == b"BZh":
        import bz2

        return _inflate_with(bz2.BZ2Decompressor, data, cap)
    if data[:6] == b"\xfd7zXZ\x00":
        import lzma

        return _inflate_with(lzma.LZMADecompressor, data, cap)
    if data[:2] == b"\x1f\x8b":
        return _inflate_with(lambda: zlib.decompressobj(31), data, cap)
    return data


def _inflate_with(make: Any, data: bytes, cap: int) -> bytes:
    out = b""
    while data:  # one round per member: concatenated archives are valid
        worker = make()
        out += worker.decompress(data, max(1, cap - len(out)))
        if len(out) >= cap:
            raise ValueError(f"holds more than {cap} bytes")
        if not worker.eof:
            raise ValueError("the compressed data is cut off")
        data = worker.unused_data.lstrip(b"\0")
    return out


def _tar_problem(data: bytes, wanted: dict[str, str | None]) -> str:
    import io
    import tarfile

    members = {os.path.normpath(name): text for name, text in wanted.items()}
    seen = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                name = os.path.normpath(member.name)
                if name not in members:
                    if member.isdir():
                        continue
                    return f"holds {member.name!r}, which was not asked for"
                seen.add(name)
                text = members[name]
                if text is None:
                    continue
                file = archive.extractfile(member) if member.isreg() or member.islnk() else None
                problem = difference(text.encode(), file.read()) if file else "is no file"
                if problem:
                    return f"member {name!r}: {problem}"
    except (tarfile.TarError, KeyError) as error:
        return f"is no readable tar archive: {error}"
    missing = sorted(members.keys() - seen)
    return f"lacks the member {missing[0]!r}" if missing else ""


def difference(expected: bytes, found: bytes) -> str:
    """Says in words where two texts part, "" when they are equal."""
    if expected == found:
        return ""
    wanted, got = expected.split(b"\n"), found.split(b"\n")
    for number, (left, right) in enumerate(zip(wanted, got, strict=False), 1):
        if left != right:
            return f"line {number} is {_short(right)}, should be {_short(left)}"
    if len(got) > len(wanted):
        rest = got[len(wanted)]
        return f"goes on after line {len(wanted) - 1} with {_short(rest)}" if rest else "ends in one newline too many"
    rest = wanted[len(got)]
    return f"ends early, before {_short(rest)}" if rest else "lacks the last newline"


def _short(line: bytes) -> str:
    text = text_of(line)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def judge_output(expect: Json, raw: bytes, *where: object) -> Iterator[Finding]:
    """Yields what is wrong with an output under the keys stdout, stdout_regex and stdout_fact."""
    wanted = expect.get("stdout")
    if "stdout_fact" in expect:
        wanted = fact(expect["stdout_fact"]) + "\n"
    code = "check_failed" if where else "wrong_stdout"
    if wanted is not None and (problem := difference(wanted.encode(), raw)):
        key = "stdout" if "stdout" in expect else "stdout_fact"
        yield finding(code, f"stdout: {problem}", *where, key)
    if "stdout_regex" in expect and not re.fullmatch(expect["stdout_regex"], text_of(raw), re.DOTALL):
        message = f"stdout {_short(raw[:200])} does not match {expect['stdout_regex']!r}"
        yield finding(code, message, *where, "stdout_regex")


def judge_checks(expect: Json, world: World, env: dict[str, str]) -> Iterator[Finding]:
    """Yields what the record's own checks find, each in a fresh shell with nothing of the plan's environment."""
    for number, check in enumerate(expect.get("checks", [])):
        code, out, err, stopped = world.shell(check["command"], {**ENV, **env}, CHECK_TIMEOUT_S)
        world.kill_all()
        where = ("checks", number)
        wanted = check.get("exit_code", 0)
        if stopped or code != wanted:
            detail = text_of(bytes(err.head[:200])).strip()
            message = f"`{check['command']}` ended with {stopped or code}, should be {wanted}"
            yield finding("check_failed", f"{message}: {detail}" if detail else message, *where)
        else:
            yield from judge_output(check, bytes(out.head), *where)


def judge_processes(expect: Json, states: dict[str, bool]) -> Iterator[Finding]:
    """Yields the fixture's processes that are not as they should be; `states` says which were alive at the end."""
    for name, wanted in expect.get("processes", {}).items():
        state = {True: "running", False: "gone", None: "unknown"}[states.get(name)]
        if state != wanted:
            yield finding("wrong_process", f"process {name!r} is {state}, should be {wanted}", "processes", name)


def process_states(expect: Json, world: World) -> dict[str, bool]:
    """Gives which of the fixture's processes are alive.

    One that should be gone gets a moment to die. One that should be running is watched a little longer: a signal sent
    by the plan's last command may still be on its way to it.
    """
    wanted: dict[str, str] = expect.get("processes", {})
    until = time.monotonic() + SETTLE_S
    states: dict[str, bool] = {}
    for name, pid in world.background.items():
        while wanted.get(name) == "gone" and world.is_alive(pid) and time.monotonic() < until:
            time.sleep(0.005)
        states[name] = world.is_alive(pid)
    until = time.monotonic() + STILL_RUNNING_S
    while "running" in wanted.values() and all(states.get(name) for name in running(wanted)):
        if time.monotonic() > until:
            break
        time.sleep(0.005)
        states |= {name: world.is_alive(world.background[name]) for name in running(wanted)}
    return states


def running(wanted: dict[str, str]) -> list[str]:
    """Gives the names of the processes that should be running."""
    return [name for name, state in wanted.items() if state == "running"]


def preload(expect: Json) -> None:
    """Imports what judging `expect` will need, while the standard library can still be seen."""
    if any("tar" in wanted or "gzip" in wanted for wanted in expect.get("files", {}).values()):
        import bz2
        import io
        import lzma
        import tarfile

        _ = (bz2, io, lzma, tarfile)
