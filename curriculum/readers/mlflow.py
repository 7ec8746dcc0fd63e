"""MLflow: a folder of the file store (`mlruns`, an experiment, or one run) and the SQLite store (`mlflow.db`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from curriculum.readers.source import Source
from frontier_core.errors import DataError

SQLITE = b"SQLite format 3\0"


def is_store(path: Path) -> bool:
    """Says whether a folder is a run of the file store, or holds some."""
    return next(metric_files(path), None) is not None


def metric_files(path: Path) -> Iterator[Path]:
    """Yields the metric files below a folder, in a fixed order; each is one curve of one run."""
    for meta in sorted(path.rglob("meta.yaml")):
        metrics = meta.parent / "metrics"
        if metrics.is_dir():
            yield from sorted(file for file in metrics.rglob("*") if file.is_file())


def matches(path: Path, head: bytes) -> bool:
    """Says whether a file is an SQLite store with MLflow's tables."""
    if not head.startswith(SQLITE):
        return False
    with closing(_open(path)) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {"runs", "metrics"} <= tables


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def read(path: Path, source: Source) -> None:
    """Adds every metric of an SQLite store."""
    query = "SELECT run_uuid, key, step, value, is_nan FROM metrics ORDER BY run_uuid, key, step, timestamp"
    try:
        with closing(_open(path)) as store:
            for run_id, name, step, value, is_nan in store.execute(query):
                source.add_point(run_id, max(0, int(step)), _name(name), float("nan") if is_nan else value)
    except sqlite3.Error as error:
        raise DataError(f"the SQLite store can't be read: {error}", path=str(path), code="mlflow") from error


def read_folder(path: Path, source: Source) -> None:
    """Adds every metric file below a folder: lines `timestamp value step`, the last one perhaps half-written."""
    for file in metric_files(path):
        folder = next(parent for parent in file.parents if parent.name == "metrics")
        name = file.relative_to(folder).as_posix()
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words:
                continue
            if len(words) < 2 or (number == len(lines) and len(words) < 3):
                source.drop("metric line cut off dropped")
                continue
            try:
                value, step = float(words[1]), int(words[2]) if len(words) > 2 else 0
            except ValueError as error:
                raise DataError(f"no metric: {error}", path=str(file), line=number, code="mlflow") from error
            source.add_point(folder.parent.name, max(0, step), _name(name), value)


def _name(key: str) -> str:
    """Gives a metric's name with its tag as we write it: MLflow takes no `=` or comma, so our runs tell others.

    What they tell begins with `train/` (trainer/trackers.py); names of other programs stay as they are.
    """
    head, _, last = key.rpartition("/")
    return f"{head}/{last.replace(':', '=').replace(' ', ',')}" if head.startswith("train/") else key
