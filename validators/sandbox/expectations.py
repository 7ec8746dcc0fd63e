"""Whether the world a plan left behind is what its record expects.

Runs inside the sandbox as part of process 1, after every process of the plan is dead: standard library only. Codes are
those of docs/records.md. Patterns are the record's author's and may never end: they are tried in a child under a time
limit. What changed at all is snapshot.py.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Iterator
from typing import Any

from validators.sandbox.modes import mode_problem
from validators.sandbox.snapshot import Difference, Snapshot, glob_matcher, open_regular
from validators.sandbox.world import CHECK_TIMEOUT_S, ENV, HOME, SETTLE_S, STILL_RUNNING_S, World, text_of

Json = dict[str, Any]
Finding = dict[str, str]

PATTERN_TIMEOUT_S = 2.0
DEMANDING_EVEN_EMPTY = ("stdout", "stdout_regex", "stdout_fact", "stderr_regex")
# A check must not run what the plan left in its home: modules beside it, hooks and watchers of a repository; nor see
# another history than the repository's own (git-replace(1)).
CLEAN = {
    "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1",
    "GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": "/dev/null", "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": "false",
    "GIT_CONFIG_KEY_1": "core.hooksPath", "GIT_CONFIG_VALUE_1": "/dev/null",
    "GIT_CONFIG_KEY_2": "core.pager", "GIT_CONFIG_VALUE_2": "cat",
}  # fmt: skip
MODE_REMEDY = 'say the mode the task asks for in expect.files, or "mode": "any" where it does not matter'
READS_CONTENT = {"text", "gzip", "tar", "fact", "contains"}
NO_GLOBAL = {"GIT_CONFIG_GLOBAL": "/dev/null"}
"""~/.gitconfig must not bend what git says in a check, unless the check asks what is in it."""
NEWLINE = b"\n"


def pointer(*parts: object) -> str:
    """Gives a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def finding(code: str, message: str, *where: object, remedy: str = "") -> Finding:
    """Gives one finding as the outcome carries it; `where` are the parts of its pointer under /expect."""
    return {"code": code, "message": message, "pointer": pointer("expect", *where) if where else "", "remedy": remedy}


def demands_something(expect: Json | None) -> bool:
    """Says whether an expectation demands an end state or an output, so that fulfilling it means something."""
    expect = expect or {}
    demanding = ("files", "checks", "processes", "must_change", "counts", "exit_code")
    return any(map(expect.get, demanding)) or any(key in expect for key in DEMANDING_EVEN_EMPTY)


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


def judge_files(expect: Json, difference: Difference, cap: int) -> Iterator[Finding]:
    """Yields what is wrong with the files: each listed one, counts, what must have changed, then what nobody listed."""
    _, after, changes = difference
    listed: dict[str, Json] = {os.path.normpath(path): wanted for path, wanted in expect.get("files", {}).items()}
    is_ignored = glob_matcher(expect.get("ignore", []))
    for path, wanted in listed.items():
        yield from _judge_file(path, {"mode": "any", **wanted} if is_ignored(path) else wanted, difference, cap)
    for glob, wanted in expect.get("counts", {}).items():
        found = sum(map(glob_matcher([glob]), after.keys() - {"."}))
        least, most = (wanted, wanted) if isinstance(wanted, int) else (wanted.get("min", 0), wanted.get("max", found))
        if not least <= found <= most:
            should = f"{least}" if least == most else f"{least} to {wanted.get('max', 'any number')}"
            yield finding("wrong_count", f"{glob}: {found} paths match, should be {should}", "counts", glob)
    for number, glob in enumerate(expect.get("must_change", [])):
        if not any(map(glob_matcher([glob]), (change["path"] for change in changes))):
            yield finding("missing_change", f"{glob}: nothing there changed", "must_change", number)
    for number, glob in enumerate(expect.get("must_not_change", [])):
        is_kept = glob_matcher([glob])
        if spoilt := next((change for change in changes if is_kept(change["path"])), None):
            message = f"{spoilt['path']}: {spoilt['kind']} {spoilt['change']}, should be left alone"
            yield finding("unexpected_change", message, "must_not_change", number)
    if not expect.get("allow_other_changes"):
        yield from _judge_unlisted(expect, listed, difference)


def _judge_unlisted(expect: Json, listed: dict[str, Json], difference: Difference) -> Iterator[Finding]:
    is_allowed = glob_matcher([*expect.get("ignore", []), *expect.get("must_change", []), *expect.get("counts", {})])
    present = {path for path, wanted in listed.items() if not wanted.get("absent")}
    parents = {path[:cut] for path in present for cut, letter in enumerate(path) if letter == "/"}
    gone = tuple(f"{path}/" for path, wanted in listed.items() if wanted.get("absent"))
    before, after, changes = difference
    for change in changes:
        path = change["path"]
        is_needed = change["change"] == "added" and change["kind"] == "dir" and path in parents
        is_gone = change["change"] == "removed" and path.startswith(gone)
        if path in listed or is_gone or is_allowed(path):
            continue
        if is_needed:
            if problem := mode_problem(path, {}, before, after):
                yield finding("wrong_mode", f"{path}: {problem}", "files", remedy=MODE_REMEDY)
            continue
        yield finding(
            "unexpected_change",
            f"{path}: {change['kind']} {change['change']}, which nothing asked for",
            "files",
            remedy="list the path in expect.files or cover it by expect.ignore if the task allows it",
        )


def _judge_file(path: str, wanted: Json, difference: Difference, cap: int) -> Iterator[Finding]:
    where = ("files", path)
    entry = difference.after.get(path)
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
    if problem := mode_problem(path, wanted, difference.before, difference.after):
        yield finding("wrong_mode", f"{path}: {problem}", *where, remedy="" if "mode" in wanted else MODE_REMEDY)
    if kind == "file" and (problem := _content_problem(path, wanted, entry, cap)):
        yield finding("wrong_file", f"{path}: {problem}", *where)


def _content_problem(path: str, wanted: Json, entry: Json, cap: int) -> str:
    size = entry["size"]
    if not wanted.get("min_size", 0) <= size <= wanted.get("max_size", size):
        return f"{size} bytes, should be {wanted.get('min_size', 0)} to {wanted.get('max_size', 'any number')}"
    if "sha256" in wanted and entry["sha256"] != wanted["sha256"]:
        return f"sha256 {entry['sha256'][:12]}..., should be {wanted['sha256'][:12]}..."
    if not wanted.keys() & READS_CONTENT:
        return ""
    data = _content(path, cap)
    contains = wanted.get("contains", [])
    for part in [contains] if isinstance(contains, str) else contains:
        if part.encode() not in data:
            return f"does not contain {_short(part.encode())}"
    if "text" in wanted:
        return difference(wanted["text"].encode(), data)
    if "fact" in wanted:
        return difference(wanted.get("template", "{}\n").replace("{}", fact(wanted["fact"])).encode(), data)
    if not wanted.keys() & {"gzip", "tar"}:
        return ""
    try:
        unpacked = inflate(data, cap)
        if "gzip" in wanted:
            if data[:2] != b"\x1f\x8b":
                return "is not gzip data"
            return difference(wanted["gzip"].encode(), unpacked)
        return _tar_problem(unpacked, wanted["tar"])
    except (zlib.error, OSError, EOFError, ValueError) as error:
        return f"can't be unpacked: {error}"


def _content(path: str, cap: int) -> bytes:
    full = os.fsencode(os.path.join(HOME, path))
    with open_regular(full, os.lstat(full).st_mode) as file:
        data: bytes = file.read(cap)
    return data


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
    cut = _common_length(expected, found)
    start = expected.rfind(b"\n", 0, cut) + 1
    left, right = _line(expected, start), _line(found, start)
    if left != right:
        return f"line {expected.count(NEWLINE, 0, cut) + 1} is {_short(right)}, should be {_short(left)}"
    if len(found) > len(expected):
        rest = _line(found, cut + 1)
        return (
            f"goes on after line {expected.count(NEWLINE)} with {_short(rest)}"
            if rest
            else "ends in one newline too many"
        )
    rest = _line(expected, cut + 1)
    return f"ends early, before {_short(rest)}" if rest else "lacks the last newline"


def _common_length(left: bytes, right: bytes) -> int:
    """Gives how many bytes two texts begin with in common, without taking millions of lines apart."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _line(text: bytes, start: int) -> bytes:
    end = text.find(NEWLINE, start)
    return text[start:] if end < 0 else text[start:end]


def _short(line: bytes) -> str:
    text = text_of(line[:400])  # enough for 80 characters of any length
    return repr(text if len(text) <= 80 else text[:77] + "...")


def judge_output(expect: Json, raw: bytes, *where: object) -> Iterator[Finding]:
    """Yields what is wrong with an output under the keys stdout and stdout_fact; `where` leads to a check's."""
    wanted = expect.get("stdout")
    if "stdout_fact" in expect:
        wanted = fact(expect["stdout_fact"]) + "\n"
    if wanted is not None and (problem := difference(wanted.encode(), raw)):
        key = "stdout" if "stdout" in expect else "stdout_fact"
        yield finding("check_failed" if where else "wrong_stdout", f"stdout: {problem}", *where, key)


def judge_patterns(expect: Json, out: bytes, err: bytes, after: Snapshot, cap: int, world: World) -> list[Finding]:
    """Gives what is wrong under the keys stdout_regex and stderr_regex (whole text) and files.*.regex (anywhere in it).

    Raises:
        ValueError: a pattern is none, or takes longer than PATTERN_TIMEOUT_S.
    """
    in_files = [(path, wanted["regex"]) for path, wanted in expect.get("files", {}).items() if "regex" in wanted]
    if not in_files and "stdout_regex" not in expect and "stderr_regex" not in expect:
        return []

    def work() -> list[Finding]:
        found = []
        for stream, raw in (("stdout", out), ("stderr", err)):
            pattern = expect.get(f"{stream}_regex")
            if pattern is not None and not re.fullmatch(pattern, text_of(raw), re.DOTALL):
                message = f"{stream} {_short(raw[:200])} does not match {pattern!r}"
                found.append(finding(f"wrong_{stream}", message, f"{stream}_regex"))
        for path, pattern in in_files:
            is_file = after.get(os.path.normpath(path), {}).get("kind") == "file"  # if not, it was found by now
            if is_file and not re.search(pattern, text_of(_content(path, cap)), re.MULTILINE):
                found.append(
                    finding("wrong_file", f"{path}: nothing in it matches {pattern!r}", "files", path, "regex")
                )
        return found

    return list(world.bounded(work, PATTERN_TIMEOUT_S))


def _judge_check_pattern(pattern: str, raw: bytes, number: int, world: World) -> Iterator[Finding]:
    matches = world.bounded(lambda: bool(re.fullmatch(pattern, text_of(raw), re.DOTALL)), PATTERN_TIMEOUT_S)
    if not matches:
        message = f"stdout {_short(raw[:200])} does not match {pattern!r}"
        yield finding("check_failed", message, "checks", number, "stdout_regex")


def judge_checks(expect: Json, world: World, env: dict[str, str]) -> Iterator[Finding]:
    """Yields what the record's own checks find, each in a fresh shell with nothing of the plan's environment."""
    for number, check in enumerate(expect.get("checks", [])):
        where = ("checks", number)
        clean = CLEAN if "--global" in check["command"] else CLEAN | NO_GLOBAL
        try:
            code, out, err, stopped = world.shell(check["command"], {**ENV, **clean, **env}, CHECK_TIMEOUT_S)
        except OSError as error:  # the plan closed its home even to its owner
            yield finding("check_failed", f"`{check['command']}` can't be started: {error.strerror}", *where)
            continue
        world.kill_all()
        wanted = check.get("exit_code", 0)
        if stopped or code != wanted:
            detail = text_of(bytes(err.head[:200])).strip()
            message = f"`{check['command']}` ended with {stopped or code}, should be {wanted}"
            yield finding("check_failed", f"{message}: {detail}" if detail else message, *where)
        else:
            yield from judge_output(check, bytes(out.head), *where)
            if "stdout_regex" in check:
                yield from _judge_check_pattern(check["stdout_regex"], bytes(out.head), number, world)


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
