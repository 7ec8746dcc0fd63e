"""Sidecars: `X.jsonl.meta.json` says what X is, what made it and from what, and is written last, so it vouches for X.

`meta_sha256` is the digest of a sidecar's own words (all but `created_at` and `trust`); whoever reads the data records
it beside the data's digest, so a chain of sidecars is a hash chain: neither data nor history changes unnoticed. `trust`
holds size, times and inode of data and inputs: as long as they are the same, nothing is hashed again.

In a pipe there is no file to stand beside, so lineage rides in each record's `metadata.lineage` (one short string a
stage) and the next file's sidecar sums it up. Fields follow DVC (command and hashes of inputs) and in-toto (subject,
resolved inputs, by-products). Signing and the lake's index are not covered here; counts over many sidecars are in
lineage_tracker.py.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
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
UNKNOWN = "unknown"
_UNSIGNED = ("created_at", "trust", "meta_sha256")


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
    passed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """By generator and reason, `binary@2.0.0 wrong_answer`."""

    def add(self, record: Record) -> None:
        """Counts one record that passes on."""
        metadata = metadata_of(record)
        self.tags[tag_of(metadata)] += 1
        self.passed[generator_of(metadata)] += 1
        lineage = metadata.get("lineage")
        if isinstance(lineage, list):
            for mark in lineage:  # a third of the CPU of `update`
                self.marks[str(mark)] += 1

    def reject(self, code: str, generator: str = UNKNOWN) -> None:
        """Counts one record that is held back, by its reason and by what made it."""
        self.rejects[code] += 1
        self.failed[f"{generator} {code}"] += 1

    def counters(self) -> tuple[Counter[str], ...]:
        """Gives all counts, for adding up what parts of a file counted."""
        return self.tags, self.marks, self.rejects, self.specs, self.passed, self.failed

    @property
    def num_rejected(self) -> int:
        """Records held back."""
        return self.rejects.total()

    def by_generator(self) -> dict[str, Any]:
        """Gives, for each generator, how many of its records passed and failed, and why.

        Where accepted records were counted by tag alone, their marks of lineage say what made them.
        """
        passed = Counter(self.passed)
        left = self.tags.total() - passed.total()
        for mark, count in sorted(self.marks.items()):
            if left > 0 and mark.startswith("gen:"):
                name = mark.removeprefix("gen:")
                more = min(left, count - passed[name])
                passed[name] += more
                left -= more
        passed[UNKNOWN] += left
        found: dict[str, Any] = {
            name: {"passed": count, "failed": 0, "reasons": {}} for name, count in passed.items() if count > 0
        }
        for key, count in self.failed.most_common():
            name, _, code = key.rpartition(" ")
            entry = found.setdefault(name, {"passed": 0, "failed": 0, "reasons": {}})
            entry["failed"] += count
            entry["reasons"][code] = count
        return dict(sorted(found.items()))


def generator_of(metadata: Record) -> str:
    """Gives what made a record, `binary@2.0.0`; its source where no generator is named, else "unknown"."""
    name = metadata.get("generator_id") or metadata.get("source")
    if not isinstance(name, str):
        return UNKNOWN
    version = metadata.get("generator_version") if "generator_id" in metadata else None
    return f"{name}@{version}" if version else name


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
    byproducts: Iterable[Path] = (),
    judges: bool = False,
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
        byproducts: other files of the same run (rejects), vouched for as well.
        judges: the stage accepts and rejects; then the counts per generator are written too.
    Returns:
        The sidecar's path.
    """
    tally = tally or Tally()
    path, items = sidecar_path(data), [Path(item) for item in inputs if str(item) != "-"]
    known = _Known(path)
    meta: dict[str, Any] = {
        "schema": SCHEMA,
        "data": _describe(data, output),
        "stage": stage,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]] if argv is None else argv,
        "producer": producer,
        "seed": seed,
        "params": params or {},
        "inputs": [_input_entry(item, path.parent, known) for item in items],
        "specs": dict(sorted(tally.specs.items())),
        "counts": dict(sorted(tally.tags.items())),
        "lineage": dict(sorted(tally.marks.items())),
        "rejects": dict(sorted(tally.rejects.items())),
        **({"generators": tally.by_generator()} if judges else {}),
        **({"byproducts": made} if (made := [_byproduct(item, path.parent) for item in byproducts]) else {}),
        "code_version": __version__,
    }
    meta["meta_sha256"] = meta_digest(meta)
    is_same = known.meta.get("meta_sha256") == meta["meta_sha256"]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    meta["created_at"] = known.meta["created_at"] if is_same else now
    stamps = {entry["path"]: stamp_of(item) for entry, item in zip(meta["inputs"], items, strict=True)}
    meta["trust"] = {"data": stamp_of(data), "inputs": stamps}
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


def meta_digest(meta: dict[str, Any]) -> str:
    """Gives the digest of a sidecar's own words: those that depend on neither the clock nor the disk."""
    signed = {key: value for key, value in meta.items() if key not in _UNSIGNED}
    return sha256(orjson.dumps(signed, option=orjson.OPT_SORT_KEYS)).hexdigest()


def stamp_of(path: Path) -> str:
    """Gives what the file system says of a file or folder, "" when it is absent: another one is another state.

    The change time is part of it, which no program can set back.
    """
    if not path.exists():
        return ""
    if not path.is_dir():
        stat = path.stat()
        return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}-{stat.st_ino}"
    lines = (f"{stamp_of(file)} {file.relative_to(path).as_posix()}\n" for file in _files(path))
    return sha256("".join(lines).encode()).hexdigest()


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


def _byproduct(item: Path, base: Path) -> dict[str, Any]:
    return {**_describe(item, None), "path": os.path.relpath(item, base)}


class _Known:
    """What an earlier sidecar in the same place knew, so that nothing unchanged is hashed again."""

    def __init__(self, path: Path) -> None:
        self.meta: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            meta = orjson.loads(path.read_bytes())
            self.meta = meta if isinstance(meta, dict) and meta.get("schema") == SCHEMA else {}
        self._digests = {entry["path"]: entry.get("sha256", "") for entry in self.meta.get("inputs", ())}
        self._stamps = self.meta.get("trust", {}).get("inputs", {})

    def digest(self, item: Path, name: str) -> str:
        """Gives the digest of an input, from here or from its own sidecar if its stamp is the same, else computed."""
        stamp = stamp_of(item)
        if stamp and self._digests.get(name) and self._stamps.get(name) == stamp:
            return str(self._digests[name])
        return trusted_digest(item, stamp)


def trusted_digest(path: Path, stamp: str = "") -> str:
    """Gives the digest of a file or folder: its sidecar's word while size, times and inode are those it vouched for."""
    with suppress(DataError):
        meta = read_sidecar(path)
        if meta and meta.get("trust", {}).get("data") == (stamp or stamp_of(path)):
            return str(meta["data"]["sha256"])
    return digest_of(path)


def _stays(item: Path) -> bool:
    """Says whether an input can be read twice: a pipe can't, its digest is nobody's to know."""
    return item.is_file() or item.is_dir()


def _input_entry(item: Path, base: Path, known: _Known) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": os.path.relpath(item, base)}
    if _stays(item):
        entry["sha256"] = known.digest(item, entry["path"])
    meta = sidecar_path(item)
    if meta.exists():
        with suppress(DataError):
            entry["meta_sha256"] = meta_digest(read_sidecar(item) or {})
    return entry


def is_current(
    data: Path,
    *,
    stage: str,
    inputs: Iterable[str | Path],
    producer: str,
    params: dict[str, Any],
    seed: int | None = None,
    outcomes: Iterable[str] = (),
) -> dict[str, Any] | None:
    """Gives the sidecar of a file that the same stage would make again byte for byte, None when it might not.

    The stage, producer, parameters, seed and version must be the sidecar's, the inputs (and their sidecars) those it
    saw, the data and the by-products still what it vouched for. Parameters named in `outcomes` are what came of the
    run, not what was asked; they may be anything.
    """
    try:
        meta = read_sidecar(data)
    except DataError:
        return None
    items = [Path(item) for item in inputs]
    if meta is None:
        return None
    wanted = {"stage": stage, "producer": producer, "params": params, "seed": seed, "code_version": __version__}
    told = {**meta, "params": {key: value for key, value in meta["params"].items() if key not in set(outcomes)}}
    if any(told[key] != orjson.loads(orjson.dumps(value)) for key, value in wanted.items()):
        return None
    if any(str(item) == "-" or not _stays(item) for item in items) or not data.exists():
        return None
    base, known = sidecar_path(data).parent, _Known(sidecar_path(data))
    if [_input_entry(item, base, known) for item in items] != meta["inputs"] or meta_digest(meta) != meta.get(
        "meta_sha256"
    ):
        return None
    made = [(base / entry["path"], entry["sha256"]) for entry in meta.get("byproducts", ())]
    made.append((data, meta["data"]["sha256"]))
    return meta if all(path.exists() and trusted_digest(path) == digest for path, digest in made) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One step of a lineage chain: a file, its sidecar if any, how deep, and whether the hashes still agree."""

    path: Path
    depth: int
    meta: dict[str, Any] | None
    status: str
    """`ok`, `source` (no sidecar: where the chain begins), or what does not hold: `changed` (not the bytes that its
    sidecar or its user saw), `swapped` (a sidecar that is not the one its user saw), `edited` (a sidecar whose words
    are not those it was written with), `missing` (no such file), `orphan` (its sidecar is gone)."""
    problem: str = ""
    user: Path | None = None

    @property
    def holds(self) -> bool:
        """Says whether nothing is wrong here."""
        return self.status in ("ok", "source")


def chain(data: Path, *, rehash: bool = False) -> Iterator[Link]:
    """Yields the file itself, then what it was made from, back to the sources, each file once, depth first.

    Args:
        data: a file or folder with a sidecar.
        rehash: read every byte again, instead of trusting files whose size, times and inode are as they were.
    Raises:
        UsageError: there is neither such a file nor a sidecar for it.
    """
    if not data.exists() and not sidecar_path(data).exists():
        raise UsageError(f"{data}: no such file", hint="name a file that a frontier command wrote")
    seen: set[Path] = set()
    stack: list[tuple[Path, int, dict[str, Any], Path | None, str]] = [(data, 0, {}, None, "")]
    while stack:
        path, depth, expected, user, stamp = stack.pop()
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            meta, status, problem = read_sidecar(path), "", ""
        except DataError as error:
            meta, status, problem = None, "edited", error.problem
        if not status:
            status, problem = _status(path, meta, expected, stamp, rehash=rehash)
        yield Link(path=path, depth=depth, meta=meta, status=status, problem=problem, user=user)
        stamps = (meta or {}).get("trust", {}).get("inputs", {})
        stack.extend(
            (Path(os.path.normpath(path.parent / entry["path"])), depth + 1, entry, path, stamps.get(entry["path"], ""))
            for entry in reversed(meta["inputs"] if meta else [])
        )


def _status(
    path: Path, meta: dict[str, Any] | None, expected: dict[str, Any], stamp: str, *, rehash: bool
) -> tuple[str, str]:
    if not path.exists():
        return "missing", "no such file"
    wanted = expected.get("sha256", "")
    if rehash:
        actual = digest_of(path)
    elif meta is None and wanted and stamp and stamp == stamp_of(path):
        actual = wanted  # a source that its user saw in this very state
    else:
        actual = trusted_digest(path)
    if meta and actual != meta["data"]["sha256"] and meta["data"]["path"] != path.name:
        return "swapped", f"its sidecar is that of {meta['data']['path']}"
    if meta and actual != meta["data"]["sha256"]:
        return "changed", "not the bytes its sidecar vouches for"
    if wanted and actual != wanted:
        return "changed", "not the bytes that were read here"
    if meta and meta.get("meta_sha256", meta_digest(meta)) != meta_digest(meta):
        return "edited", "the sidecar's words were changed"
    seen = expected.get("meta_sha256", "")
    if seen and meta is None:
        return "orphan", "its sidecar is gone"
    if seen and meta and seen != meta_digest(meta) and seen != sha256_file(sidecar_path(path)):
        return "swapped", "not the sidecar that was read here"
    for entry in (meta or {}).get("byproducts", ()):
        other = path.parent / entry["path"]
        if not other.exists() or (digest_of(other) if rehash else trusted_digest(other)) != entry["sha256"]:
            return "changed", f"{entry['path']} is gone or not as it was"
    return ("ok" if meta else "source"), ""
