"""Ships a checkpoint to a target so that readers see the old release or the new one, never a mix, whatever dies when.

Content goes into blobs under its own digest, a release is a folder of hard links that appears by rename with its
manifest inside, and `current` is a symlink replaced by rename; the layout is drawn in releases.py. A process killed at
any point leaves temp names behind, which the next one sweeps away. Targets here are local folders: other machines are
remote.py, loading and probing what was shipped is serve_fleet.py.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import explain_os_error, fsync_dir, sha256_file
from frontier_core.errors import DataError, EnvironmentMissing, FrontierError, UsageError
from frontier_core.jsonl import append_line
from frontier_core.lineage import read_sidecar, sidecar_path
from frontier_core.profiles import profile_named
from frontier_core.records import Record
from frontier_core.version import __version__
from frontier_ops.checkpoint_files import CheckpointFiles, FileEntry, inspect_checkpoint, read_json_object
from frontier_ops.probe_files import check_template, probe_beside, read_probe
from frontier_ops.releases import (
    AUDIT,
    CURRENT,
    MANIFEST,
    SCHEMA,
    current_id,
    files_in,
    find_release,
    list_releases,
    read_audit,
    read_release,
    release_id,
    release_ids,
    require_whole,
)
from frontier_ops.target_lock import locked
from trainer.checkpoints import latest_checkpoint, step_of

Note = Callable[[str], None]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployResult:
    """What a deploy, a rollback or its dry run did (or would do)."""

    release: str
    name: str
    previous: str
    """The release `current` pointed at before, "" when there was none."""
    changed: bool
    """False when `current` already pointed at this very content."""
    num_files: int
    num_bytes: int
    copied_bytes: int
    """Bytes of blobs that were not on the target yet."""
    sent_bytes: int = 0
    """What went over the wire to another machine, protocol included."""
    left_out: tuple[str, ...]
    seconds: float
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What a prune removed and kept."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    freed_bytes: int
    dry_run: bool


def ignore(_: str) -> None:
    """Takes a note nobody wants to hear."""


def deploy(
    checkpoint: Path,
    target: Path,
    *,
    name: str = "model",
    dry_run: bool = False,
    force: bool = False,
    shipment: Shipment | None = None,
    extra: Record | None = None,
    on_note: Note = ignore,
) -> DeployResult:
    """Makes a checkpoint the target's current release. Doing it twice changes nothing and says so.

    Args:
        checkpoint: a transformers directory, or the folder of a run, whose newest whole checkpoint is taken.
        target: a local folder; made when absent.
        name: the model's name for clients.
        dry_run: check everything, write nothing.
        force: take the lock of an owner on another machine.
        shipment: from `prepare`, when that was called before; None prepares without a golden probe.
        extra: further words for the audit (who let it pass, and why).
        on_note: gets remarks for people.
    Raises:
        UsageError: no such checkpoint, none that can be served, a bad name, or a target that may not be written.
        DataError: the checkpoint is torn or not what its manifest promises; nothing was written.
        EnvironmentMissing: no space, no hard links, or another deploy holds the lock.
    Side effects: writes under `target` only, and appends to its audit.
    """
    started = time.monotonic()
    shipment = shipment or prepare(checkpoint, name=name, on_note=on_note)
    found, manifest, identity = shipment.found, shipment.manifest, shipment.release
    absent = {entry.sha256: entry.num_bytes for entry in found.files.values() if not _blob(target, entry).exists()}
    previous, changed = current_id(target), True
    if dry_run:
        changed = previous != identity
    else:
        with _writing(target, sum(absent.values()), force):
            for key, entry in found.files.items():
                _ensure_blob(found.path_of(key), _blob(target, entry), entry, on_note)
            _ensure_release(target, manifest, found.files, on_note)
            previous = current_id(target)
            changed = _point(target, identity, "deploy", {"source": manifest["source"], **(extra or {})})
    if not changed:
        on_note(f"{shipment.name}@{identity} is current already; nothing to do")
    return DeployResult(
        release=identity,
        name=shipment.name,
        previous=previous,
        changed=changed,
        num_files=len(found.files),
        num_bytes=sum(entry.num_bytes for entry in found.files.values()),
        copied_bytes=sum(absent.values()),
        left_out=found.left_out,
        seconds=time.monotonic() - started,
        dry_run=dry_run,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """A checkpoint that was inspected and may be shipped: its files and the manifest its release will have."""

    found: CheckpointFiles
    manifest: Record

    @property
    def release(self) -> str:
        """The id its release will have."""
        return str(self.manifest["id"])

    @property
    def name(self) -> str:
        """The model's name for clients."""
        return str(self.manifest["name"])


def prepare(
    checkpoint: Path,
    *,
    name: str = "model",
    profile: str = "",
    base: Path | None = None,
    probe: Callable[[Path, str], Record] | None = None,
    target: Path | None = None,
    on_note: Note = ignore,
) -> Shipment:
    """Inspects a checkpoint and gives what would be shipped; writes nothing.

    Args:
        checkpoint: a transformers directory, an adapter, or the folder of a run.
        name: the model's name for clients.
        profile: the answer profile at serving; "" takes the one it was trained with.
        base: the model an adapter belongs to; None takes the one its config names.
        probe: (folder, profile) -> golden probe, called when none was exported with the checkpoint; None makes none.
        target: where it will go; a release there of the same content lends its probe, so that no model is loaded.
        on_note: gets remarks for people.
    Raises:
        UsageError: no such checkpoint, none that can be served, or a bad name.
        DataError: it is torn, or not what its manifest promises.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} can't be a model's name", hint="letters, digits, dot, dash and underscore")
    found = inspect_checkpoint(_chosen(checkpoint, on_note), base=base)
    if found.left_out:
        on_note(f"not shipped: {', '.join(found.left_out)}")
    profile = profile_named(profile or _trained_profile(found.folder))
    golden = probe_beside(found.folder)
    if golden is not None:
        check_template(found.folder, golden)
    elif probe is not None:
        lent = _probe_there(target, release_id(name, found.files, profile)) if target is not None else None
        golden = lent or probe(found.folder, profile)
    return Shipment(found=found, manifest=_manifest(found, name, profile, golden))


def _probe_there(target: Path, identity: str) -> Record | None:
    """Gives the probe of a release that this version of ours made, None when there is none to be had."""
    try:
        manifest = read_json_object(target / "releases" / identity / MANIFEST)
        return read_probe(manifest.get("probe")) if manifest.get("code_version") == __version__ else None
    except (OSError, FrontierError):
        return None


def _trained_profile(folder: Path) -> str:
    """Gives the answer profile of the run a checkpoint belongs to, "plain" when nothing tells."""
    resolved = folder.parent / "config.resolved.json"
    if step_of(folder) < 0 or not resolved.is_file():
        return "plain"
    return str(read_json_object(resolved).get("config", {}).get("profile") or "plain")


def rollback(target: Path, reference: str | None = None, *, force: bool = False) -> DeployResult:
    """Makes an older release current again, after reading every byte of it.

    Args:
        target: where releases are.
        reference: the release to go to; None is the one that was current when the present one was deployed.
        force: take the lock of an owner on another machine.
    Raises:
        UsageError: there is no release to go back to.
        DataError: that release is damaged; `current` stays.
    """
    started = time.monotonic()
    find_release(target, reference or CURRENT)  # a wrong target is refused before a folder is made in it
    with _writing(target, 0, force):
        present = current_id(target)
        release = require_whole(target, reference or _before(target, present))
        changed = _point(target, release.id, "rollback", {})
    return DeployResult(
        release=release.id,
        name=release.name,
        previous=present,
        changed=changed,
        num_files=len(release.files),
        num_bytes=release.num_bytes,
        copied_bytes=0,
        left_out=(),
        seconds=time.monotonic() - started,
        dry_run=False,
    )


def prune(target: Path, keep: int, *, dry_run: bool = False, force: bool = False) -> PruneResult:
    """Removes old releases and the blobs nothing refers to any more.

    Args:
        target: where releases are.
        keep: how many of the newest to keep, at least 1; the current one and the one before it stay in any case.
        dry_run: only say what would go.
        force: take the lock of an owner on another machine.
    Raises:
        UsageError: `keep` is below 1, or there is no such target.
    """
    if keep < 1:
        raise UsageError(f"keep {keep} releases: at least 1 must stay", hint="use --keep 1")
    if not target.is_dir():
        raise UsageError(f"{target}: no such deploy target", hint="name the folder given to `frontier deploy --to`")
    if dry_run:
        return _prune(target, keep, dry_run=True)
    with _writing(target, 0, force):
        return _prune(target, keep, dry_run=False)


def _prune(target: Path, keep: int, *, dry_run: bool) -> PruneResult:
    newest = [release.id for release in list_releases(target)]
    present = current_id(target)
    safe = {*newest[:keep], present, _previous_of(target, present)}
    removed = tuple(identity for identity in release_ids(target) if identity not in safe)
    kept = tuple(identity for identity in newest if identity not in removed)
    needed = {
        entry.sha256
        for identity in kept
        for entry in read_release(target / "releases" / identity).files.values()
    }  # fmt: skip
    blobs = target / "blobs" / "sha256"
    orphans = [path for path in sorted(blobs.iterdir()) if path.name not in needed] if blobs.is_dir() else []
    freed = sum(path.stat().st_size for path in orphans)
    if not dry_run:
        for identity in removed:
            # Renamed first: a reader meets a whole release or none, also while its files go.
            doomed = target / "releases" / f".{identity}.{os.getpid()}.tmp"
            os.rename(target / "releases" / identity, doomed)
            shutil.rmtree(doomed)
        for path in orphans:
            path.unlink()
        if removed:
            _audit(target, {"action": "prune", "removed": list(removed), "freed_bytes": freed})
    return PruneResult(removed=removed, kept=kept, freed_bytes=freed, dry_run=dry_run)


def _chosen(checkpoint: Path, on_note: Note) -> Path:
    """Gives the folder itself, or the newest whole checkpoint of a run's folder."""
    folder = checkpoint.resolve()
    if (folder / "config.json").exists() or not any(folder.glob("checkpoint-*")):
        return folder
    notes: list[str] = []
    newest = latest_checkpoint(folder, notes)
    for note in notes:
        on_note(note)
    return newest


@contextmanager
def _writing(target: Path, needed_bytes: int, force: bool) -> Iterator[None]:
    """Holds the lock on a prepared target and turns foreign OSErrors into ours."""
    try:
        _make_folders(target)
        free = shutil.disk_usage(target).free
        if free < needed_bytes:
            raise EnvironmentMissing(
                f"{target}: {needed_bytes} bytes are needed and {free} are free",
                hint="frontier deploy prune frees some",
            )
        with locked(target, force=force):
            _sweep(target)
            yield
    except OSError as error:
        ours = explain_os_error(error, Path(str(error.filename or target)))
        ours.hint = "choose another --to" if isinstance(ours, UsageError) else ours.hint
        raise ours from error


def _make_folders(target: Path) -> None:
    folders = (target / "blobs" / "sha256", target / "releases")
    if all(folder.is_dir() for folder in folders):
        return
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (target / "blobs", target, target.parent):
        fsync_dir(folder)


def _sweep(target: Path) -> None:
    """Removes what a killed deploy left behind; under the lock every temp name is a dead one's."""
    for folder in (target, target / "releases", target / "blobs" / "sha256"):
        for leftover in folder.glob(".*.tmp"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


def _blob(target: Path, entry: FileEntry) -> Path:
    return target / "blobs" / "sha256" / entry.sha256


def _temp(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _manifest(found: CheckpointFiles, name: str, profile: str, probe: Record | None) -> Record:
    return {
        "schema": SCHEMA,
        "id": release_id(name, found.files, profile),
        "name": name,
        "profile": profile,
        "files": {key: entry.to_record() for key, entry in sorted(found.files.items())},
        "source": _source(found.folder),
        "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "code_version": __version__,
        "probe": probe,
    }


def _source(checkpoint: Path) -> Record:
    """Names the checkpoint, and the sidecar that vouches for it or for the run it belongs to."""
    source: Record = {"checkpoint": str(checkpoint)}
    for item in (checkpoint, checkpoint.parent):
        if read_sidecar(item) is not None:
            source |= {"sidecar": str(sidecar_path(item)), "sidecar_sha256": sha256_file(sidecar_path(item))}
            break
    return source


def _ensure_blob(source: Path, blob: Path, entry: FileEntry, on_note: Note) -> None:
    """Copies one file in whole, unless a blob of exactly these bytes is there."""
    if blob.exists():
        if sha256_file(blob) == entry.sha256:
            return
        on_note(f"blob {blob.name[:12]} was damaged on the target; replaced")
    temp = _temp(blob)
    shutil.copyfile(source, temp)
    with temp.open("rb") as file:
        os.fsync(file.fileno())
    if sha256_file(temp) != entry.sha256:
        temp.unlink()
        raise DataError("changed while it was copied", path=str(source), code="changed", hint="is it being trained on?")
    os.chmod(temp, 0o444)
    os.replace(temp, blob)
    fsync_dir(blob.parent)


def _ensure_release(target: Path, manifest: dict[str, Any], files: dict[str, FileEntry], on_note: Note) -> None:
    """Makes releases/<id> appear whole; one that is there already is repaired file by file, wrong to right only."""
    folder = target / "releases" / str(manifest["id"])
    if folder.is_dir():
        _repair(target, folder, manifest, files, on_note)
        return
    temp = _temp(folder)
    os.mkdir(temp)
    for name, entry in files.items():
        (temp / name).parent.mkdir(exist_ok=True)
        _link(_blob(target, entry), temp / name)
    for inner in {(temp / name).parent for name in files} - {temp}:
        fsync_dir(inner)
    _write_manifest(temp, manifest)
    os.rename(temp, folder)
    fsync_dir(folder.parent)


def _repair(
    target: Path, folder: Path, manifest: dict[str, Any], files: dict[str, FileEntry], on_note: Note
) -> None:  # fmt: skip
    for name, entry in files.items():
        path = folder / name
        if path.is_file() and (os.path.samefile(path, _blob(target, entry)) or sha256_file(path) == entry.sha256):
            continue
        on_note(f"{folder.name}/{name} was damaged or missing; linked again")
        path.parent.mkdir(exist_ok=True)
        _link(_blob(target, entry), _temp(path))
        os.replace(_temp(path), path)
    for extra in sorted(files_in(folder) - set(files) - {MANIFEST}):
        on_note(f"{folder.name}/{extra} does not belong to the release; removed")
        (folder / extra).unlink()
    try:
        read_release(folder)
    except DataError:
        on_note(f"{folder.name}/{MANIFEST} was damaged; written again")
        _write_manifest(folder, manifest)
    fsync_dir(folder)


def _link(blob: Path, path: Path) -> None:
    try:
        os.link(blob, path)
    except OSError as error:
        raise EnvironmentMissing(
            f"{path.parent}: hard links are refused here ({error.strerror})", hint="use a target on a local file system"
        ) from error


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    temp = _temp(folder / MANIFEST)
    with temp.open("wb") as file:
        file.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.chmod(temp, 0o444)
    os.replace(temp, folder / MANIFEST)
    fsync_dir(folder)


def _point(target: Path, identity: str, action: str, extra: Record) -> bool:
    """Moves `current` by one rename and returns whether it moved.

    The audit gets a line before and one after, so a kill in between leaves a trace of what was meant.
    """
    previous = current_id(target)
    if previous == identity:
        return False
    entry = {"action": action, "release": identity, "previous": previous, **extra}
    _audit(target, {**entry, "state": "begin"})
    temp = _temp(target / CURRENT)
    os.symlink(f"releases/{identity}", temp)
    os.replace(temp, target / CURRENT)
    fsync_dir(target)
    _audit(target, {**entry, "state": "done"})
    return True


def point_back(target: Path, bad: str, good: str, reason: str) -> bool:
    """Points `current` at `good` again if it still points at `bad`; says whether it did.

    Raises:
        UsageError, EnvironmentMissing: the target can't be written, or another deploy holds the lock.
    """
    with _writing(target, 0, force=False):
        if current_id(target) != bad:
            return False
        return _point(target, good, "rollback", {"by": "serve", "reason": reason})


def append_audit(target: Path, entry: Record) -> None:
    """Appends a line to the target's audit; raises OSError when it can't be written."""
    _audit(target, entry)


def _audit(target: Path, entry: Record) -> None:
    time_now = datetime.now(UTC).isoformat(timespec="milliseconds")
    append_line(target / AUDIT, {"time": time_now, **entry, "pid": os.getpid(), "code_version": __version__})


def _previous_of(target: Path, present: str) -> str:
    """Gives the release that was current when `present` was deployed, "" when the audit knows none."""
    for entry in reversed(read_audit(target)):
        if entry.get("action") == "deploy" and entry.get("release") == present:
            return str(entry.get("previous", ""))
    return ""


def _before(target: Path, present: str) -> str:
    previous = _previous_of(target, present) if present else ""
    if not previous:
        raise UsageError(
            f"{target}: there is no earlier release to go back to", hint="name one: frontier deploy status"
        )
    return previous
