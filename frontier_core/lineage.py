"""Sidecars: `X.jsonl.meta.json` says what X is, what made it and from what, and is written last, so it vouches for X.

In a pipe there is no file to stand beside, so lineage rides in each record's `metadata.lineage` (one short string a
stage) and the next file's sidecar sums it up. Fields follow DVC (command and hashes of inputs) and in-toto (subject,
resolved inputs, by-products). Signing and the lake's index are not covered here.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import sha256_file, write_bytes
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import Output
from frontier_core.records import Record, metadata_of, tag_of
from frontier_core.version import __version__

SCHEMA = "frontier_meta_v1"


def sidecar_path(data: Path) -> Path:
    """Gives the sidecar's path: `X.jsonl` -> `X.jsonl.meta.json`; a folder `run` -> `run.meta.json`."""
    return data.with_name(data.name + ".meta.json")


def mark(record: Record, stage: str) -> Record:
    """Notes in the record itself that a stage handled it, e.g. `verify:execution_gate@1.0.0/docker-run`.

    Returns the same record, changed in place; a stage that is already the last mark is not noted twice.
    """
    metadata = record.setdefault("metadata", {})
    marks = metadata.setdefault("lineage", [])
    if not marks or marks[-1] != stage:
        marks.append(stage)
    return record


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a stage counts while records pass: records per tag, marks of earlier stages, rejects per reason."""

    tags: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    specs: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record) -> None:
        """Counts one record that passes on."""
        metadata = metadata_of(record)
        self.tags[tag_of(metadata)] += 1
        lineage = metadata.get("lineage")
        if isinstance(lineage, list):
            self.marks.update(str(mark) for mark in lineage)

    def reject(self, code: str) -> None:
        """Counts one record that is held back, by its reason."""
        self.rejects[code] += 1

    def counters(self) -> tuple[Counter[str], ...]:
        """Gives all counts, for adding up what parts of a file counted."""
        return self.tags, self.marks, self.rejects, self.specs

    @property
    def num_rejected(self) -> int:
        """Records held back."""
        return self.rejects.total()


def write_sidecar(
    data: Path,
    *,
    stage: str,
    inputs: Iterable[str | Path] = (),
    tally: Tally | None = None,
    seed: int | None = None,
    producer: str = "",
    params: dict[str, Any] | None = None,
    output: Output | None = None,
    argv: list[str] | None = None,
) -> Path:
    """Writes the sidecar of a finished file or folder, atomically and last.

    Args:
        data: the file or folder it vouches for; its name in the sidecar is relative to the sidecar.
        stage: what made it, e.g. "synth verify".
        inputs: the files and folders it was made from; "-" is a pipe, whose history is in the records' marks.
        tally: counts of the stage.
        seed: the run's seed, when it had one.
        producer: id@version of the generator, validator or engine.
        params: settings that shaped the result (backend, level, profile, resolved config).
        output: the writer of `data`; spares a second reading of the file.
        argv: the command; `sys.argv` by default.
    Returns:
        The sidecar's path.
    """
    tally = tally or Tally()
    path = sidecar_path(data)
    meta: dict[str, Any] = {
        "schema": SCHEMA,
        "data": _describe(data, output),
        "stage": stage,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]] if argv is None else argv,
        "producer": producer,
        "seed": seed,
        "params": params or {},
        "inputs": [_input_entry(Path(item), path.parent) for item in inputs if str(item) != "-"],
        "specs": dict(sorted(tally.specs.items())),
        "counts": dict(sorted(tally.tags.items())),
        "lineage": dict(sorted(tally.marks.items())),
        "rejects": dict(sorted(tally.rejects.items())),
        "code_version": __version__,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_bytes(path, orjson.dumps(meta, option=orjson.OPT_INDENT_2) + b"\n")
    # An output whose bytes did not change still gets a fresh stamp: the sidecar is what `make` looks at.
    os.utime(path)
    return path


def read_sidecar(data: Path) -> dict[str, Any] | None:
    """Gives the sidecar of a file or folder, None when it has none. Raises DataError when it can't be read."""
    path = sidecar_path(data)
    if not path.exists():
        return None
    try:
        meta = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(
            "the sidecar is not valid JSON", path=str(path), code="sidecar", hint="make it again"
        ) from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise DataError(f"the sidecar is not of schema {SCHEMA}", path=str(path), code="sidecar")
    return meta


def digest_of(path: Path) -> str:
    """Gives the sha256 of a file, or of a folder: that of its sorted `digest  name` lines."""
    if not path.is_dir():
        return sha256_file(path)
    lines = (f"{sha256_file(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path))
    return sha256("".join(lines).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.as_posix())


def _describe(data: Path, output: Output | None) -> dict[str, Any]:
    if output is not None and output.sha256:
        return {
            "path": data.name,
            "sha256": output.sha256,
            "bytes": output.num_bytes,
            "num_records": output.num_records,
        }
    if data.is_dir():
        files = _files(data)
        size = sum(file.stat().st_size for file in files)
        return {"path": data.name, "sha256": digest_of(data), "bytes": size, "num_files": len(files)}
    return {"path": data.name, "sha256": sha256_file(data), "bytes": data.stat().st_size}


def _input_entry(item: Path, base: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": os.path.relpath(item, base)}
    meta = sidecar_path(item)
    if item.exists():
        entry["sha256"] = digest_of(item)
    if meta.exists():
        entry["meta_sha256"] = sha256_file(meta)
    return entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One step of a lineage chain: a file, its sidecar if any, how deep, and whether the hashes still agree."""

    path: Path
    depth: int
    meta: dict[str, Any] | None
    status: str
    """`ok`, `changed` (not the bytes its user saw), `missing`, or `source` (no sidecar: where the chain begins)."""


def chain(data: Path) -> Iterator[Link]:
    """Yields the file itself, then what it was made from, back to the sources, each file once, depth first.

    Raises:
        UsageError: there is neither such a file nor a sidecar for it.
    """
    if not data.exists() and not sidecar_path(data).exists():
        raise UsageError(f"{data}: no such file", hint="name a file that a frontier command wrote")
    seen: set[Path] = set()
    stack: list[tuple[Path, int, str]] = [(data, 0, "")]
    while stack:
        path, depth, expected = stack.pop()
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        meta = read_sidecar(path)
        yield Link(path=path, depth=depth, meta=meta, status=_status(path, meta, expected))
        stack.extend(
            (Path(os.path.normpath(path.parent / entry["path"])), depth + 1, entry.get("sha256", ""))
            for entry in reversed(meta["inputs"] if meta else [])
        )


def _status(path: Path, meta: dict[str, Any] | None, expected: str) -> str:
    if not path.exists():
        return "missing"
    actual = digest_of(path)
    claimed = meta["data"]["sha256"] if meta else expected
    if (expected and actual != expected) or (claimed and actual != claimed):
        return "changed"
    return "ok" if meta else "source"
