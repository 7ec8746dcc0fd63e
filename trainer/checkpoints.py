"""A run folder on disk: checkpoints that are there whole or not at all, and which of them is the newest good one.

A checkpoint is written into a hidden temp folder, listed with sha256 in its manifest, made durable and renamed to
`checkpoint-N`. A folder without a manifest, or with a file that is not what the manifest says, is torn and passed over.
No torch here; what is inside a checkpoint is trainer/hf_trainer.py's business.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from frontier_core.atomic import commit_dir, sha256_file, write_bytes
from frontier_core.errors import ConfigError, UsageError

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = "frontier_checkpoint_v1"
_NAME = re.compile(r"checkpoint-(\d+)")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def begin_checkpoint(run_dir: Path, step: int) -> Path:
    """Gives an empty hidden folder to write checkpoint `step` into."""
    temp = run_dir / f".checkpoint-{step}.{os.getpid()}.tmp"
    shutil.rmtree(temp, ignore_errors=True)
    temp.mkdir()
    return temp


def commit_checkpoint(temp: Path, run_dir: Path, step: int, *, run_id: str) -> Path:
    """Writes the manifest of a filled folder, makes it durable and renames it to `checkpoint-<step>`."""
    files = {
        path.relative_to(temp).as_posix(): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(temp.rglob("*"))
        if path.is_file()
    }
    manifest = {"schema": MANIFEST_SCHEMA, "run_id": run_id, "step": step, "files": files}
    write_bytes(temp / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
    target = run_dir / f"checkpoint-{step}"
    commit_dir(temp, target)
    return target


def damage(checkpoint: Path) -> str:
    """Says what is wrong with a checkpoint, "" when every file is as its manifest says (sha256 compared)."""
    try:
        manifest = orjson.loads((checkpoint / MANIFEST).read_bytes())
        entries = manifest["files"].items() if manifest["schema"] == MANIFEST_SCHEMA else None
    except OSError:
        return "has no manifest: its writer was interrupted"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "has a manifest that can't be read"
    if entries is None:
        return f"has a manifest that is not of schema {MANIFEST_SCHEMA}"
    for name, entry in entries:
        file = checkpoint / name
        if not file.is_file():
            return f"lacks {name}"
        if file.stat().st_size != entry["bytes"] or sha256_file(file) != entry["sha256"]:
            return f"holds a {name} that is not the one its manifest lists"
    return ""


def step_of(checkpoint: Path) -> int:
    """Gives the optimizer step in a checkpoint's name; -1 when it is no checkpoint's name."""
    match = _NAME.fullmatch(checkpoint.name)
    return int(match.group(1)) if match else -1


def folders(run_dir: Path) -> list[Path]:
    """Gives the folders named checkpoint-N, newest first, torn ones included."""
    found = [path for path in run_dir.iterdir() if path.is_dir() and step_of(path) >= 0] if run_dir.is_dir() else []
    return sorted(found, key=step_of, reverse=True)


def newest_committed(run_dir: Path, notes: list[str] | None = None) -> Path | None:
    """Gives the newest whole checkpoint of a run, None when there is none.

    Args:
        run_dir: the run's folder; it need not exist.
        notes: gets one remark per torn checkpoint that was passed over; None drops them.
    """
    for checkpoint in folders(run_dir):
        problem = damage(checkpoint)
        if not problem:
            return checkpoint
        if notes is not None:
            notes.append(f"{checkpoint} skipped: it {problem}")
    return None


def latest_checkpoint(run_dir: str | Path, notes: list[str] | None = None) -> Path:
    """Gives the newest whole checkpoint of a run; torn ones are passed over with a remark in `notes`.

    Raises:
        UsageError: there is no such folder, or no whole checkpoint in it.
    """
    folder = Path(run_dir)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such run folder", hint="name the folder given to: frontier train -o")
    torn: list[str] = []
    found = newest_committed(folder, torn)
    if notes is not None:
        notes += torn
    if found is None:
        why = f" ({len(torn)} torn)" if torn else ""
        raise UsageError(f"{folder}: holds no whole checkpoint{why}", hint="run frontier train again: it resumes")
    return found


def resolve_model(path: str | Path, notes: list[str] | None = None) -> Path:
    """Gives the folder a model can be loaded from: a model folder or checkpoint as it is, a run's newest checkpoint.

    Raises:
        UsageError: there is no such folder.
        ConfigError: it is a file, a torn checkpoint, or a folder that holds no model.
    """
    folder = Path(path)
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder", hint="make one with: frontier model init --preset tiny -o DIR")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, not a model folder", hint="name the folder that holds config.json")
    if (folder / "config.json").is_file():
        if step_of(folder) >= 0 and (folder / MANIFEST).exists() and (problem := damage(folder)):
            raise ConfigError(f"{folder}: {problem}", hint="name the run folder: its newest whole checkpoint is taken")
        if any((folder / name).is_file() for name in _WEIGHTS):
            return folder
        raise ConfigError(f"{folder}: has a config.json but no weights ({_WEIGHTS[0]})")
    if folders(folder):
        return latest_checkpoint(folder, notes)
    raise ConfigError(
        f"{folder}: holds neither a model (config.json) nor checkpoints",
        hint="make a model with: frontier model init --preset tiny -o DIR",
    )


def drop_old(run_dir: Path, keep_last: int) -> None:
    """Removes all but the newest `keep_last` checkpoints; call it only when the newest is committed.

    A checkpoint with missing or short files does not count, and the one that was written last always stays: after a
    resumption that passed over a damaged checkpoint, the good ones have lower numbers.
    """
    found = folders(run_dir)
    whole = [checkpoint for checkpoint in found if looks_whole(checkpoint)]
    if not whole:
        return
    kept = {*whole[:keep_last], max(whole, key=lambda checkpoint: (checkpoint / MANIFEST).stat().st_mtime_ns)}
    for checkpoint in found:
        if checkpoint not in kept and step_of(checkpoint) < step_of(whole[0]):
            remove(checkpoint)


def looks_whole(checkpoint: Path) -> bool:
    """Says whether every listed file is there in its size, which is cheap; `damage` also compares the bytes."""
    try:
        files = orjson.loads((checkpoint / MANIFEST).read_bytes())["files"]
        return all((checkpoint / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def remove(checkpoint: Path) -> None:
    """Removes a checkpoint: its name goes first and at once, so that nobody meets half of it."""
    doomed = checkpoint.with_name(f".{checkpoint.name}.{os.getpid()}.gone.tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(checkpoint, doomed)
    shutil.rmtree(doomed)


def drop_temp(run_dir: Path) -> None:
    """Removes what interrupted writers left behind; call it while holding the run's lock."""
    for leftover in run_dir.glob(".checkpoint-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def drop_run(run_dir: Path) -> None:
    """Removes everything a run wrote, so that another can begin; other files in the folder stay."""
    drop_temp(run_dir)
    for checkpoint in folders(run_dir):
        shutil.rmtree(checkpoint)
    for name in ("events.jsonl", "result.json", "config.resolved.json"):
        (run_dir / name).unlink(missing_ok=True)


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Holds a run folder for one process; it ends with the process, however that ends.

    Raises:
        UsageError: another process trains into the folder.
    """
    descriptor = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "wait for it, or choose another -o"
            raise UsageError(f"{run_dir}: another process is training into it", hint=hint) from error
        yield
    finally:
        os.close(descriptor)
