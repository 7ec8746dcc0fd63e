"""Plausible files for the paths a plan reads: by extension, the same for the same path, small.

Only makes fixtures (docs/records.md); which paths a plan reads is plan_paths.py. Contents are made up from a word list
and say nothing about the world; what grep or sed looks for is put in, so that an honest plan finds something.
"""

from __future__ import annotations

import base64
import io
import posixpath
from collections.abc import Callable
from random import Random
from typing import Any

from frontier_core.seeds import child_random
from validators.plan_paths import WILD, FileNeed, Needs, example
from validators.sandbox.snapshot import glob_matcher

Json = dict[str, Any]

LONG_AGO = 1_577_836_800
"""2020-01-01T00:00:00Z: what `find -mtime +N` takes, whenever the plan runs."""
NUM_LINES = 24
_NAMES = ("anna", "bruno", "clara", "david", "elena", "frank", "gina", "hugo")
_THINGS = ("apple", "bread", "chair", "door", "engine", "flower", "garden", "hammer", "island", "jacket", "kettle")
_EVENTS = ("started", "connected", "saved the file", "request took 42 ms", "retrying", "connection refused", "stopped")
_LEVELS = ("INFO", "INFO", "INFO", "WARN", "ERROR")
_JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"
_MAGIC = {
    "pdf": b"%PDF-1.4\n%%EOF\n", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF89a", "jpg": _JPEG, "jpeg": _JPEG,
    "mp3": b"ID3\x03\0\0\0\0\0\0", "mp4": b"\0\0\0\x18ftypmp42",
}  # fmt: skip


def world_of(needs: Needs, own: Json) -> Json:
    """Gives a fixture (files, dirs, repos) with what a plan needs and the record's own fixture has not.

    Args:
        needs: from plan_paths.read_paths.
        own: the record's own fixture; nothing of it is made again, nor anything in the place of it.
    """
    mine = {path.rstrip("/") for key in ("files", "dirs", "symlinks", "repos") for path in own.get(key) or {}}
    files: dict[str, FileNeed] = {}
    for path, need in needs.files.items():
        if WILD.search(path):
            if not any(map(glob_matcher([path]), mine)):
                files |= {example(path, word): need for word in ("first", "second")}
        else:
            files[path] = need
    folders = needs.dirs | {parent for path in [*files, *needs.dirs, *mine] for parent in _parents(path)}
    not_folders = {path for path in mine if path in (own.get("files") or {}) or path in (own.get("symlinks") or {})}
    made: Json = {}
    for path, need in sorted(files.items()):
        if path not in mine | folders | needs.repos.keys() and not not_folders & set(_parents(path)):
            made.setdefault("files", {})[path] = plausible_file(path, need)
    for path in sorted(needs.dirs - mine - needs.repos.keys()):
        if not not_folders & {path, *_parents(path)}:
            made.setdefault("dirs", {})[path] = {}
    for path, branches in sorted(needs.repos.items()):
        if path not in mine and not (path == "." and mine):
            made.setdefault("repos", {})[path] = _repo(path, branches)
    return made


def _parents(path: str) -> list[str]:
    return [path[:cut] for cut, letter in enumerate(path) if letter == "/"]


def plausible_file(path: str, need: FileNeed) -> Json:
    """Gives the fixture of one file: content by its extension, holding the words of `need`; the same for the same."""
    rng = child_random("plausible", path)
    name = posixpath.basename(path).lower()
    if archive := next((kind for kind in _ARCHIVES if name.endswith(kind)), ""):
        made: Json = {"base64": base64.b64encode(_ARCHIVES[archive](rng)).decode()}
    elif magic := _MAGIC.get(name.rpartition(".")[2]):
        made = {"base64": base64.b64encode(magic + rng.randbytes(200)).decode()}
    else:
        made = {"text": _text(name.rpartition(".")[2] if "." in name else "", rng, need.words)}
    made |= {"mtime": LONG_AGO} if need.is_old else {}
    return made | ({"size": need.size} if need.size else {})


def _text(kind: str, rng: Random, words: list[str]) -> str:
    maker = _TEXTS.get(kind)
    if maker:
        text = maker(rng)
    else:
        rows = (f"{rng.choice(_NAMES)} {rng.choice(_THINGS)} {rng.randint(1, 99)}" for _ in range(NUM_LINES))
        text = "".join(f"{row}\n" for row in rows)
    missing = [word for word in words if word not in text]
    return text + "".join(f"{word}\n" for word in missing) if kind not in ("json",) else text


def _log(rng: Random) -> str:
    lines = []
    for number in range(NUM_LINES):
        when = f"2024-01-{number // 8 + 1:02d}T{8 + number % 8:02d}:{rng.randint(0, 59):02d}:00"
        level = _LEVELS[number % len(_LEVELS)]
        lines.append(f"{when} {level} 10.0.0.{rng.randint(1, 9)} {rng.choice(_EVENTS)}\n")
    return "".join(lines)


def _table(separator: str) -> Callable[[Random], str]:
    def make(rng: Random) -> str:
        rows = [("id", "name", "item", "amount")]
        rows += [
            (str(n), rng.choice(_NAMES), rng.choice(_THINGS), str(rng.randint(1, 500))) for n in range(1, NUM_LINES)
        ]
        return "".join(separator.join(row) + "\n" for row in rows)

    return make


def _json(rng: Random) -> str:
    items = ", ".join(f'{{"id": {n}, "name": "{rng.choice(_NAMES)}"}}' for n in range(1, 4))
    return f'{{"name": "{rng.choice(_THINGS)}", "version": "1.0.{rng.randint(0, 9)}", "items": [{items}]}}\n'


def _json_lines(rng: Random) -> str:
    return "".join(f'{{"id": {n}, "name": "{rng.choice(_NAMES)}"}}\n' for n in range(1, 9))


def _settings(rng: Random) -> str:
    return f"[server]\nhost = localhost\nport = {rng.randint(8000, 8999)}\ndebug = false\n"


def _yaml(rng: Random) -> str:
    return f"name: {rng.choice(_THINGS)}\nport: {rng.randint(8000, 8999)}\nusers:\n  - {rng.choice(_NAMES)}\n"


def _page(rng: Random) -> str:
    return f"<html>\n<head><title>{rng.choice(_THINGS)}</title></head>\n<body>\n<p>TODO</p>\n</body>\n</html>\n"


_TEXTS: dict[str, Callable[[Random], str]] = {
    "log": _log, "csv": _table(","), "tsv": _table("\t"), "json": _json, "jsonl": _json_lines, "ini": _settings,
    "cfg": _settings, "conf": _settings, "toml": _settings, "yml": _yaml, "yaml": _yaml, "html": _page, "xml": _page,
    "sh": lambda rng: f"#!/bin/bash\n# TODO: {rng.choice(_THINGS)}\necho {rng.choice(_THINGS)}\n",
    "py": lambda rng: f"# TODO: {rng.choice(_THINGS)}\nprint('{rng.choice(_THINGS)}')\n",
}  # fmt: skip


def _members(rng: Random) -> dict[str, bytes]:
    return {name: _text("txt", rng, []).encode() for name in ("data/first.txt", "data/second.txt")}


def _tar(rng: Random) -> bytes:
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in _members(rng).items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), LONG_AGO
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _gzipped(make: Callable[[Random], bytes]) -> Callable[[Random], bytes]:
    def packed(rng: Random) -> bytes:
        import gzip

        return gzip.compress(make(rng), mtime=0)

    return packed


def _bzipped(rng: Random) -> bytes:
    import bz2

    return bz2.compress(_tar(rng))


def _xzipped(rng: Random) -> bytes:
    import lzma

    return lzma.compress(_tar(rng))


def _zip(rng: Random) -> bytes:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in _members(rng).items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


_ARCHIVES: dict[str, Callable[[Random], bytes]] = {
    ".tar.gz": _gzipped(_tar), ".tgz": _gzipped(_tar), ".tar.bz2": _bzipped, ".tbz2": _bzipped, ".tar.xz": _xzipped,
    ".txz": _xzipped, ".tar": _tar, ".zip": _zip, ".log.gz": _gzipped(lambda rng: _log(rng).encode()),
    ".gz": _gzipped(lambda rng: _text("txt", rng, []).encode()),
}  # fmt: skip
"""Ending -> archive; the longest ending stands first."""


def _repo(path: str, branches: list[str]) -> Json:
    rng = child_random("plausible", "repo", path)
    first = {"README.md": f"# {rng.choice(_THINGS)}\n", "main.py": _TEXTS["py"](rng)}
    second = {"notes.txt": _text("txt", rng, [])}
    commits = [{"message": "first commit", "files": first}, {"message": "add notes", "files": second}]
    trunk = "master" if "master" in branches else "main"
    others = {
        name: [{"message": f"work on {name}", "files": {f"{name.replace('/', '-')}.txt": f"{name}\n"}}]
        for name in dict.fromkeys(branches)
        if name not in ("main", "master", "-") and not name.startswith("HEAD") and "." not in name
    }
    return {"branch": trunk, "commits": commits} | ({"branches": others} if others else {})
