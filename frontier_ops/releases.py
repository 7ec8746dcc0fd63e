"""Releases on a deploy target: reading their manifests, finding one, checking it byte for byte.

    TARGET/blobs/sha256/<hex>      each file's content once, read-only
    TARGET/releases/<id>/          hard links to blobs, and manifest.json, which was written last
    TARGET/current                 symlink to releases/<id>, moved by rename
    TARGET/audit.jsonl             every change of `current`, appended

Only reads; writing is deploy.py.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from frontier_core.atomic import sha256_file
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import read_rows
from frontier_core.records import Record
from frontier_ops.checkpoint_files import FileEntry, read_json_object
from frontier_ops.probe_files import read_probe
from frontier_ops.target_lock import lock_owner

SCHEMA = "frontier_release_v1"
MANIFEST = "manifest.json"
CURRENT = "current"
AUDIT = "audit.jsonl"
ID_PATTERN = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release as its manifest tells it."""

    id: str
    name: str
    path: Path
    files: dict[str, FileEntry]
    source: Record
    created_at: str
    code_version: str
    profile: str = "plain"
    """The answer profile whose logit penalties hold at serving."""
    probe: Record | None = None
    """The golden probe (see probe.py), None when the checkpoint was deployed without one."""

    @property
    def is_adapter(self) -> bool:
        """True when it is a LoRA adapter with its base model inside."""
        return "adapter_config.json" in self.files

    @property
    def model_id(self) -> str:
        """The name a server offers it under: `model@0123456789ab`; one name never stands for two contents."""
        return f"{self.name}@{self.id}"

    @property
    def num_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(entry.num_bytes for entry in self.files.values())

    def lineage(self) -> Record:
        """Gives what is known of where it came from, for people and for /v1/models."""
        about: Record = {"release": self.id, "source": self.source, "code_version": self.code_version}
        about["bytes"] = self.num_bytes
        if self.is_adapter:
            base = {key: entry.to_record() for key, entry in self.files.items() if key.startswith("base/")}
            about["base_sha256"] = sha256(orjson.dumps(base, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return about


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What re-hashing a release found: problems in words, none when it is whole."""

    release: str
    problems: tuple[str, ...]
    num_bytes: int
    seconds: float

    @property
    def ok(self) -> bool:
        """True when every file is the one its manifest names."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """What a target holds; `current` is "" before the first deploy, releases come newest first."""

    target: Path
    current: str
    releases: tuple[Release, ...]
    locked_by: str
    audit: tuple[Record, ...]


def release_id(name: str, files: Mapping[str, FileEntry], profile: str = "plain") -> str:
    """Gives a release's id: 12 hex digits of the sha256 of its name, content and profile, whatever made it and when."""
    canonical: Record = {"name": name, "files": {key: entry.to_record() for key, entry in files.items()}}
    if profile != "plain":
        canonical["profile"] = profile
    return sha256(orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def read_release(path: Path) -> Release:
    """Reads the release in a folder.

    Raises:
        DataError: the manifest is missing, broken, or not of the content its folder's name promises.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise DataError("the release has no manifest", path=str(path), code="manifest", hint="deploy it again")
    return release_from(read_json_object(manifest), path)


def release_from(document: Record, path: Path) -> Release:
    """Gives the release a manifest describes; `path` is its folder, here or elsewhere. Raises as `read_release`."""
    manifest = path / MANIFEST
    try:
        files = {
            str(name): FileEntry(sha256=str(entry["sha256"]), num_bytes=int(entry["bytes"]))
            for name, entry in document["files"].items()
        }
        release = Release(
            id=str(document["id"]),
            name=str(document["name"]),
            path=path,
            files=files,
            source=dict(document["source"]),
            created_at=str(document["created_at"]),
            code_version=str(document["code_version"]),
            profile=str(document.get("profile", "plain")),
            probe=read_probe(document["probe"]) if document.get("probe") else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"not a manifest of schema {SCHEMA}", path=str(manifest), code="manifest") from error
    actual = release_id(release.name, files, release.profile)
    if document.get("schema") != SCHEMA or release.id != actual or path.name != actual:
        raise DataError("the manifest was changed: its id is not its content's", path=str(manifest), code="manifest")
    return release


def list_releases(target: Path) -> list[Release]:
    """Gives every readable release of a target, newest first; broken ones are left to `verify`."""
    found: list[Release] = []
    for identity in release_ids(target):
        try:
            found.append(read_release(target / "releases" / identity))
        except DataError:
            continue
    return sorted(found, key=lambda release: (release.created_at, release.id), reverse=True)


def release_ids(target: Path) -> list[str]:
    """Gives the id of every release folder, sorted, readable or not."""
    folder = target / "releases"
    return sorted(name for name in os.listdir(folder) if ID_PATTERN.fullmatch(name)) if folder.is_dir() else []


def current_id(target: Path) -> str:
    """Gives the id `current` points at, "" when nothing was deployed yet or it points elsewhere."""
    try:
        head, _, name = os.readlink(target / CURRENT).rpartition("/")
    except OSError:
        return ""
    return name if head == "releases" and ID_PATTERN.fullmatch(name) else ""


def find_release(target: Path, reference: str = CURRENT) -> Release:
    """Gives the release a person means: `current`, an id, its first digits, or `name@id`.

    Raises:
        UsageError: no such release, or several begin so; the hint lists what there is.
        DataError: its manifest can't be trusted.
    """
    if not target.is_dir():
        raise UsageError(f"{target}: no such deploy target", hint=f"frontier deploy CHECKPOINT --to {target}")
    known = release_ids(target)
    wanted = current_id(target) if reference == CURRENT else reference.rpartition("@")[2]
    found = [identity for identity in known if wanted and identity.startswith(wanted)]
    if len(found) == 1:
        return read_release(target / "releases" / found[0])
    hint = f"it holds: {', '.join(known)}" if known else f"frontier deploy CHECKPOINT --to {target}"
    problem = f"several releases begin with {wanted!r}" if found else f"no release {reference!r}"
    raise UsageError(f"{target}: {problem}", hint=hint)


def verify(target: Path, reference: str = CURRENT) -> Verification:
    """Reads every byte of a release again and compares it with the manifest. Raises as `find_release`."""
    started = time.monotonic()
    release = find_release(target, reference)
    problems: list[str] = []
    for name, entry in release.files.items():
        path = release.path / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != entry.num_bytes:
            problems.append(f"{name}: {path.stat().st_size} bytes, not {entry.num_bytes}")
        elif sha256_file(path) != entry.sha256:
            problems.append(f"{name}: other content of the same size")
    # A file nobody listed could still be loaded (a template, a tokenizer part): it makes the release another one.
    extra = sorted(files_in(release.path) - set(release.files) - {MANIFEST})
    problems += [f"{name}: not in the manifest" for name in extra]
    return Verification(
        release=release.id,
        problems=tuple(problems),
        num_bytes=release.num_bytes,
        seconds=time.monotonic() - started,
    )


def files_in(folder: Path) -> set[str]:
    """Gives the names of all files under a folder, `base/config.json` for one in a folder of its own."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


def require_whole(target: Path, reference: str) -> Release:
    """Gives a release whose every byte was just checked; DataError names the first problem."""
    report = verify(target, reference)
    if not report.ok:
        place = target / "releases" / report.release
        raise DataError(
            f"the release is damaged: {report.problems[0]}", path=str(place), code="damaged", hint="deploy it again"
        )
    return find_release(target, report.release)


def status(target: Path, *, num_audit: int = 10) -> TargetStatus:
    """Gives what a target holds, with the last `num_audit` lines of its audit. Raises UsageError without a target."""
    if not target.is_dir():
        raise UsageError(f"{target}: no such deploy target", hint=f"frontier deploy CHECKPOINT --to {target}")
    return TargetStatus(
        target=target,
        current=current_id(target),
        releases=tuple(list_releases(target)),
        locked_by=lock_owner(target),
        audit=tuple(read_audit(target)[-num_audit:] if num_audit else ()),
    )


def read_audit(target: Path) -> list[Record]:
    """Gives the audit's entries, oldest first; a torn last line (power loss) is passed over."""
    path = target / AUDIT
    if not path.exists() or not path.stat().st_size:
        return []
    return [row.record for row in read_rows(path) if row.problem is None]
