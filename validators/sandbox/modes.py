"""Whether listed files and folders have the mode that their record asks for, or the one that nobody had to ask for.

Runs inside the sandbox as part of process 1: standard library only. Without `mode` in the expectation what was there
keeps its mode, and what is new has the one umask 022 gives. A plan that copies, moves or unpacks hands modes on, so
that of a relative in the world before is right too.
"""

from __future__ import annotations

import os
import re
from typing import Any

from validators.sandbox.snapshot import Snapshot

Json = dict[str, Any]

ANY = "any"
FILE, FOLDER = 0o644, 0o755
PROGRAM = 0o755
SET_GROUP = 0o2000
UMASK = 0o022
NOBODY_ASKED_FOR = 0o7002
"""Set-uid, set-gid, sticky and world-writable: handed on by a move alone."""
# What may hold programs whose modes the walk does not see.
PACKED = re.compile(r"\.(?:tar|tgz|tbz2?|txz|tar\.\w+|zip|cpio|bundle|patch|diff)$|(?:^|/)(?:\.git|objects)(?:/|$)")


def mode_problem(path: str, wanted: Json, before: Snapshot, after: Snapshot) -> str:
    """Says in words what is wrong with the mode of a path that is there, "" when nothing is."""
    entry = after[path]
    if "mode" in wanted:
        asked = wanted["mode"]
        is_right = asked == ANY or int(entry["mode"], 8) == int(asked, 8)
        return "" if is_right else f"mode {entry['mode']}, should be {int(asked, 8):04o}"
    if entry["kind"] not in ("file", "dir"):
        return ""
    mode = int(entry["mode"], 8)
    old = before.get(path)
    if old is not None and old["kind"] == entry["kind"]:
        usual = int(old["mode"], 8)
    else:
        usual = FILE if entry["kind"] == "file" else FOLDER | _set_group_of(os.path.dirname(path), after)
    if mode == usual or _is_handed_on(path, mode, before, after):
        return ""
    return f"mode {mode:04o}, should be {usual:04o} as nothing asks for another"


def _set_group_of(folder: str, after: Snapshot) -> int:
    """New folders inherit this bit from the one they are made in; see mkdir(2)."""
    return int(after.get(folder or ".", {}).get("mode") or "0", 8) & SET_GROUP


def _is_handed_on(path: str, mode: int, before: Snapshot, after: Snapshot) -> bool:
    """Says whether a path can have its mode from a relative in the world before.

    One that was moved hands on its mode as it is, one that was copied or unpacked no more than umask 022 leaves.
    Relatives of a new path are of like name; one that was there already has them by content alone.
    """
    entry, is_new = after[path], path not in before
    for name, old in before.items():
        if old["kind"] != entry["kind"]:
            continue
        is_same = old["kind"] == "file" and old["sha256"] == entry["sha256"]
        was_moved = name not in after and (is_same or (is_new and _is_like(path, name)) or entry["kind"] == "dir")
        if was_moved and mode == int(old["mode"], 8):
            return True
        is_copy = is_same or (is_new and _is_like(path, name))
        if is_copy and not mode & NOBODY_ASKED_FOR and mode in (int(old["mode"], 8), int(old["mode"], 8) & ~UMASK):
            return True
    return is_new and entry["kind"] == "file" and mode == PROGRAM and any(map(PACKED.search, before))


def _is_like(one: str, other: str) -> bool:
    """Says whether one name goes on where the other ends, or both have the same extension."""
    left, right = os.path.basename(one), os.path.basename(other)
    if left.startswith(right) or right.startswith(left):
        return True
    return "." in left and left.rpartition(".")[2] == right.rpartition(".")[2]
