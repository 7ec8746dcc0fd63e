"""Which checkpoints of a run stay: the newest, the best, one a day. Lists, prunes and snapshots; no torch.

A snapshot is hard links beside the run, `RUN-snapshots/2026-11-30/checkpoint-400`: it costs no space while the
checkpoint lives and stays when retention removes it. Deploying is frontier_ops' business.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import commit_dir, explain_os_error
from frontier_core.errors import UsageError
from trainer.checkpoints import MANIFEST, damage, folders, latest_checkpoint, remove, run_lock, step_of

SNAPSHOT_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint on disk. `problem` is "" when every byte is as saved; `loss` is of its last logging window."""

    path: Path
    step: int
    problem: str
    num_bytes: int
    saved_at: str
    loss: float | None
    score: float | None

    def to_record(self) -> dict[str, Any]:
        """Gives the checkpoint as a JSON object."""
        return asdict(self) | {"path": str(self.path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a prune removed (or would remove) and kept, by name, and the bytes that came free."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    snapshots_removed: tuple[str, ...]
    freed_bytes: int
    dry_run: bool


def list_checkpoints(run_dir: Path, *, scores: Mapping[int, float] | None = None) -> list[Checkpoint]:
    """Gives every checkpoint of a run, newest first, torn ones included; every byte is compared with its manifest.

    Args:
        run_dir: the run's folder.
        scores: step -> mean accuracy in an evaluation, where there was one.
    Raises:
        UsageError: there is no such folder.
    """
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir}: no such run folder", hint="name the folder given to: frontier train -o")
    return [_describe(folder, scores or {}) for folder in folders(run_dir)]


def _describe(folder: Path, scores: Mapping[int, float]) -> Checkpoint:
    mark = folder / MANIFEST
    saved = (mark if mark.exists() else folder).stat().st_mtime
    step = step_of(folder)
    return Checkpoint(
        path=folder,
        step=step,
        problem=damage(folder),
        num_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        saved_at=datetime.fromtimestamp(saved, UTC).isoformat(timespec="seconds"),
        loss=_last_loss(folder / "trainer_state.json"),
        score=scores.get(step),
    )


def _last_loss(state: Path) -> float | None:
    try:
        history = orjson.loads(state.read_bytes())["log_history"]
        return float([entry["loss"] for entry in history if "loss" in entry][-1])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def prune(
    run_dir: Path,
    *,
    keep_last: int,
    keep_best: int = 0,
    keep_daily: int | None = None,
    scores: Mapping[int, float] | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Removes checkpoints that are neither among the newest nor among the best; torn ones go too.

    Args:
        run_dir: the run's folder; nobody may be training into it.
        keep_last: how many of the newest whole ones stay, at least 1.
        keep_best: how many of the best whole ones stay besides: by score where `scores` has any, else by lowest loss.
        keep_daily: how many of the newest days' snapshots stay; None leaves snapshots alone.
        scores: step -> mean accuracy.
        dry_run: only say what would go.
    Raises:
        UsageError: no such folder, nothing would be kept, or a trainer holds the run.
    """
    if keep_last < 1:
        raise UsageError(f"keep the newest {keep_last} checkpoints: at least 1 must stay", hint="use --keep-last 1")
    found = list_checkpoints(run_dir, scores=scores)
    with run_lock(run_dir):
        whole = [checkpoint for checkpoint in found if not checkpoint.problem]
        if found and not whole:
            raise UsageError(f"{run_dir}: holds no whole checkpoint; nothing is removed")
        kept = {checkpoint.step for checkpoint in whole[:keep_last]} | _best(whole, keep_best)
        doomed = [checkpoint for checkpoint in found if checkpoint.step not in kept]
        days = _days(snapshots_of(run_dir))[keep_daily:] if keep_daily is not None else []
        if not dry_run:
            for checkpoint in doomed:
                remove(checkpoint.path)
            for day in days:
                shutil.rmtree(day)
    return Pruned(
        removed=tuple(checkpoint.path.name for checkpoint in doomed),
        kept=tuple(checkpoint.path.name for checkpoint in found if checkpoint.step in kept),
        snapshots_removed=tuple(day.name for day in days),
        freed_bytes=sum(checkpoint.num_bytes for checkpoint in doomed),
        dry_run=dry_run,
    )


def _best(whole: list[Checkpoint], keep_best: int) -> set[int]:
    """Of equals the newer is better; one that was never judged is never best."""
    by_score = [checkpoint for checkpoint in whole if checkpoint.score is not None]
    if by_score:
        ranked = sorted(by_score, key=lambda checkpoint: (-(checkpoint.score or 0.0), -checkpoint.step))
    else:
        judged = [checkpoint for checkpoint in whole if checkpoint.loss is not None]
        ranked = sorted(judged, key=lambda checkpoint: (checkpoint.loss or 0.0, -checkpoint.step))
    return {checkpoint.step for checkpoint in ranked[:keep_best]}


def snapshots_of(run_dir: Path) -> Path:
    """Gives the folder of a run's snapshots; it stands beside the run, whose lineage must not change by it."""
    folder = run_dir.resolve()
    return folder.with_name(f"{folder.name}-snapshots")


def _days(folder: Path) -> list[Path]:
    return sorted((day for day in folder.iterdir() if day.is_dir()), reverse=True) if folder.is_dir() else []


def snapshot(run_dir: Path, *, into: Path | None = None, day: str = "") -> tuple[Path, bool]:
    """Keeps the newest whole checkpoint as the snapshot of a day; also while a trainer writes into the run.

    Args:
        run_dir: the run's folder.
        into: where snapshots go; None is beside the run.
        day: e.g. "2026-11-30"; "" is today (UTC).
    Returns:
        The snapshot's checkpoint folder, and whether it was made now; the same checkpoint twice a day is one snapshot.
    Raises:
        UsageError: there is no whole checkpoint.
    """
    place = (into or snapshots_of(run_dir)) / (day or datetime.now(UTC).date().isoformat())
    for number in range(1, SNAPSHOT_TRIES + 1):
        newest = latest_checkpoint(run_dir)
        target = place / newest.name
        if target.is_dir() and not damage(target):
            return target, False
        try:
            place.mkdir(parents=True, exist_ok=True)
            _link_tree(newest, target)
            return target, True
        except FileNotFoundError:
            # Retention may remove what is being linked; then there is a newer one.
            if number == SNAPSHOT_TRIES:
                raise
        except OSError as error:
            raise explain_os_error(error, place) from error
    raise AssertionError("unreachable")


def _link_tree(source: Path, target: Path) -> None:
    temp = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temp, ignore_errors=True)
    try:
        shutil.copytree(source, temp, copy_function=_link)
        commit_dir(temp, target)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
