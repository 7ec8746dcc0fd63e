"""What changes a lake: add, compact, retire, gc. One writer at a time; each change is one new manifest, written last.

Every step before the manifest only puts files aside: shards nobody refers to yet. The lock is the kernel's and ends
with its process: a killed writer blocks nobody, and what it left is swept by the next. Reading is lake.py's business.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from frontier_core.atomic import explain_os_error, fsync_dir, sha256_file, write_bytes
from frontier_core.errors import UsageError
from frontier_core.jsonl import Row, dumps, has_long_number, read_rows
from frontier_core.lake import (
    LOCK,
    MANIFESTS,
    SCHEMA,
    SHARDS,
    Lake,
    generations,
    leftovers,
    manifest_path,
    refuse_foreign,
)
from frontier_core.lake_shard import MAX_BYTES, MAX_RECORDS, Shard, ShardPart, ShardWriter, is_temp
from frontier_core.lineage import trusted_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 8192
_BATCH_BYTES = 1 << 24


@contextmanager
def writing(path: Path, *, create: bool = False) -> Iterator[Lake]:
    """Holds a lake for one writer and gives its current state; with `create` one is made when there is none.

    Raises:
        UsageError: another process writes to it, or the place is none for a lake.
    """
    if path.is_dir():
        refuse_foreign(path)
    elif not create:
        raise UsageError(f"{path}: no such lake", hint=f"make one with: frontier lake add FILE --lake {path}")
    try:
        for folder in (path, path / SHARDS, path / MANIFESTS):
            folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except (OSError, FileExistsError) as error:
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            raise UsageError(f"{path}: is a file, not a lake", hint="name a folder with --lake") from error
        raise explain_os_error(error, path) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{path}: another process writes to this lake", hint="wait for it to end") from error
        for folder in (path / SHARDS, path / MANIFESTS):
            for item in folder.iterdir():
                if is_temp(item.name):
                    item.unlink(missing_ok=True)
        yield Lake.open(path)
    finally:
        os.close(descriptor)


def _commit(
    lake: Lake,
    shards: Sequence[Shard],
    command: str,
    *,
    retired: Sequence[dict[str, Any]] | None = None,
    added: Sequence[dict[str, Any]] | None = None,
) -> int:
    """Makes the next state: shards durable under their names first, the manifest last. Gives its number.

    What is None is as it was in the lake's present state.
    """
    fsync_dir(lake.path / SHARDS)
    number = max([lake.generation, *generations(lake.path)]) + 1
    document = {
        "schema": SCHEMA,
        "generation": number,
        "command": command,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "num_records": sum(shard.num_records for shard in shards),
        "shards": [shard.to_record() for shard in shards],
        "retired": list(lake.retired if retired is None else retired),
        "added": list(lake.added if added is None else added),
    }
    write_bytes(manifest_path(lake.path, number), orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return number


# ---- add -------------------------------------------------------------------------------------------------------------
@dataclass(slots=True, kw_only=True)
class Added:
    """What `add` did; `generation` is the state it made, 0 when there was nothing to add.

    `is_known`: the files were all in the lake already, by their digests, and none was read.
    """

    num_in: int = 0
    num_added: int = 0
    num_duplicates: int = 0
    num_rejected: int = 0
    generation: int = 0
    shards: list[Shard] = field(default_factory=list)
    is_known: bool = False


class Known:
    """Which lines a lake has: the sorted hashes of its shards, mapped, and those of the shard being written."""

    def __init__(self, parts: Iterable[ShardPart]) -> None:
        self._sorted = [part.hashes() for part in parts]
        self._open: set[bytes] = set()

    def close_shard(self, part: ShardPart) -> None:
        """Takes the finished shard's hashes from its index instead of memory."""
        self._sorted.append(part.hashes())
        self._open.clear()

    def fresh(self, digests: Sequence[bytes]) -> list[bool]:
        """Says of each hash whether it is new, and remembers it."""
        import numpy as np

        pairs = np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)
        is_known = np.zeros(len(digests), bool)
        order = np.argsort(pairs[:, 0])  # neighbours among the questions are neighbours in the answers
        for high, low in self._sorted:
            is_known[order] |= _among(pairs[order], high, low)
        found = []
        for digest, known in zip(digests, is_known.tolist(), strict=True):
            is_new = not known and digest not in self._open
            if is_new:
                self._open.add(digest)
            found.append(is_new)
        return found


def _among(pairs: NDArray[Any], high: NDArray[Any], low: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    found = np.zeros(len(pairs), bool)
    places = np.searchsorted(high, pairs[:, 0])
    while True:  # lines whose upper halves are equal stand one after the other
        inside = places < high.size
        same = np.zeros(len(pairs), bool)
        same[inside] = high[places[inside]] == pairs[inside, 0]
        if not same.any():
            return found
        found[same] |= low[places[same]] == pairs[same, 1]
        places = np.where(same, places + 1, high.size)


def add(
    path: Path,
    sources: Sequence[str],
    *,
    license_name: str = "",
    on_reject: Callable[[Row], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
    command: str = "lake add",
) -> Added:
    """Adds files to a lake, made when absent; all of them or none. A line the lake has already is passed over.

    Args:
        path: the lake.
        sources: JSON Lines files, "-" for a pipe, .gz and .zst too.
        license_name: put into `source_license` of records that name none.
        on_reject: gets lines that are no record; without it the first of them ends everything.
        on_progress: told the number of lines read.
        command: noted in the manifest.
    Raises:
        DataError: a line is no record; nothing was added.
        UsageError: no such file, or another process writes to the lake.
    Side effects: writes into `path` only.
    """
    result = Added()
    for source in sources:
        if source != "-" and not Path(source).is_file():
            raise UsageError(f"{source}: no such file", hint="check the path, or use - for a pipe")
    if (known_before := _all_known(path, sources, license_name)) is not None:
        return known_before
    with writing(path, create=True) as lake:
        adder = _Adder(lake, result)
        try:
            for source in sources:
                adder.begin(source)
                before = result.num_in, result.num_rejected
                for row in read_rows(source):
                    result.num_in += 1
                    if row.problem is not None:
                        if on_reject is None:
                            raise row.problem
                        on_reject(row)
                        result.num_rejected += 1
                        continue
                    adder.take(*_prepared(row, license_name))
                    if on_progress and not result.num_in % 1024:
                        on_progress(result.num_in)
                adder.flush()
                if result.num_rejected == before[1]:
                    adder.note_whole(license_name, result.num_in - before[0])
            shards = adder.finish()
        except BaseException:
            adder.abort()
            raise
        if shards:
            known = {shard.sha256 for shard in lake.shards}
            result.shards = [shard for shard in shards if shard.sha256 not in known]
            whole = {(entry["sha256"], entry["license"]): entry for entry in (*lake.added, *adder.whole)}
            result.generation = _commit(lake, [*lake.shards, *result.shards], command, added=list(whole.values()))
    return result


def _all_known(path: Path, sources: Sequence[str], license_name: str) -> Added | None:
    """Gives what adding comes to when the lake has each of the files whole already; None when it must be done."""
    if "-" in sources or not (path / MANIFESTS).is_dir():
        return None
    known = {(entry["sha256"], entry["license"]): entry["num_records"] for entry in Lake.open(path).added}
    if not known:
        return None
    found = [known.get((trusted_digest(Path(source)), license_name)) for source in sources]
    if None in found:
        return None
    num = sum(filter(None, found))
    return Added(num_in=num, num_duplicates=num, is_known=True)


def _prepared(row: Row, license_name: str) -> tuple[bytes, dict[str, Any]]:
    """Gives a row's line and metadata; only a record that gets a licence is written anew."""
    metadata = row.record.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    if license_name and not metadata.get("source_license"):
        metadata = {**metadata, "source_license": license_name}
        return dumps({**row.record, "metadata": metadata}), metadata
    return row.raw, metadata


class _Adder:
    """Tells new lines from known ones and fills shards with them."""

    def __init__(self, lake: Lake, result: Added) -> None:
        self.lake = lake
        self.result = result
        self.known = Known(lake.parts())
        self.shards: list[Shard] = []
        self._writer: ShardWriter | None = None
        self._noted: ShardWriter | None = None
        self._pending: list[tuple[bytes, bytes, dict[str, Any]]] = []
        self._pending_bytes = 0
        self._source: dict[str, Any] = {}
        self.whole: list[dict[str, Any]] = []

    def begin(self, source: str) -> None:
        self._noted = None
        self._source = {"path": "-" if source == "-" else os.path.relpath(source, self.lake.path), "sha256": ""}
        if source != "-" and Path(source).is_file():
            self._source["sha256"] = sha256_file(Path(source))

    def note_whole(self, license_name: str, num_records: int) -> None:
        """Keeps that every line of the file under way is in the lake now."""
        if self._source["sha256"]:
            entry = {"sha256": self._source["sha256"], "license": license_name, "num_records": num_records}
            self.whole.append(entry)

    def take(self, line: bytes, metadata: dict[str, Any]) -> None:
        import xxhash

        self._pending.append((line, xxhash.xxh3_128_digest(line), metadata))
        self._pending_bytes += len(line)
        if len(self._pending) >= _BATCH or self._pending_bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        fresh = self.known.fresh([digest for _, digest, _ in self._pending])
        for (line, digest, metadata), is_new in zip(self._pending, fresh, strict=True):
            if not is_new:
                self.result.num_duplicates += 1
                continue
            writer = self._open()
            writer.add(line, digest, metadata, is_exact=not has_long_number(line))
            writer.sources[-1]["num_records"] += 1
            self.result.num_added += 1
        self._pending.clear()
        self._pending_bytes = 0
        if self._writer is not None and self._writer.is_full:
            self._close()

    def _open(self) -> ShardWriter:
        if self._writer is None:
            self._writer = ShardWriter(self.lake.path / SHARDS)
        if self._noted is not self._writer:
            self._writer.sources.append({**self._source, "num_records": 0})
            self._noted = self._writer
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            shard = self._writer.finish()
            self._writer = None
            self.shards.append(shard)
            self.known.close_shard(self.lake.part(shard))

    def finish(self) -> list[Shard]:
        self.flush()
        self._close()
        return self.shards

    def abort(self) -> None:
        if self._writer is not None:
            with suppress(OSError):
                self._writer.abort()


# ---- compact, retire, gc ---------------------------------------------------------------------------------------------
def compact(path: Path, *, command: str = "lake compact") -> tuple[int, int]:
    """Merges shards that are less than half full. Gives how many there were of them, and how many they became.

    The old files stay for readers that have them open, until `gc`. A stream's states name the lake's state:
    streams that began before go on with `LAKE@N`.
    """
    with writing(path) as lake:
        small = [
            shard for shard in lake.shards if shard.num_records < MAX_RECORDS // 2 and shard.text_bytes < MAX_BYTES // 2
        ]
        if len(small) < 2:
            return len(small), len(small)
        merged: list[Shard] = []
        writer = ShardWriter(lake.path / SHARDS)
        try:
            for shard in small:
                if writer.is_full:
                    merged.append(writer.finish())
                    writer = ShardWriter(lake.path / SHARDS)
                _copy(lake.part(shard), writer)
            merged.append(writer.finish())
        except BaseException:
            with suppress(OSError):
                writer.abort()
            raise
        gone = {shard.sha256 for shard in small}
        kept = [shard for shard in lake.shards if shard.sha256 not in gone]
        _commit(lake, [*kept, *merged], command)
    return len(small), len(merged)


def _copy(part: ShardPart, writer: ShardWriter) -> None:
    import xxhash

    from frontier_core.jsonl import loads
    from frontier_core.records import metadata_of

    for line in part.lines():
        digest = xxhash.xxh3_128_digest(line)
        writer.add(line, digest, metadata_of(loads(line)), is_exact=part.is_exact or not has_long_number(line))
    writer.sources += part.shard.sources


def retire(
    path: Path, prefix: str, reason: str, *, trained: Sequence[dict[str, Any]] = (), command: str = "lake retire"
) -> Shard:
    """Takes a shard out of the lake: streams, queries and exports no longer see it. Its files stay until `gc`.

    Args:
        path: the lake.
        prefix: how its sha256 begins.
        reason: why; kept in the manifest.
        trained: what was made from it, kept beside the reason.
    Raises:
        UsageError: no shard, or several, begin so.
    """
    with writing(path) as lake:
        shard = lake.find(prefix)
        entry = {
            **shard.to_record(),
            "reason": reason,
            "retired_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "trained": list(trained),
        }
        rest = [other for other in lake.shards if other is not shard]
        _commit(lake, rest, command, retired=[*lake.retired, entry], added=[])
    return shard


def gc(path: Path, *, keep: int = 1, dry_run: bool = False) -> tuple[list[str], int]:
    """Removes files that no kept state needs. Gives their names, relative to the lake, and their bytes.

    Args:
        path: the lake.
        keep: how many of the newest states stay readable.
        dry_run: only say.
    """
    with writing(path) as lake:
        states = generations(path)
        kept, dropped = states[-keep:], states[:-keep]
        needed = {
            f"{SHARDS}/{name}"
            for number in kept
            for shard in Lake.open(f"{path}@{number}").shards
            for name in (shard.file_name, shard.index_name)
        }
        gone = [f"{MANIFESTS}/{manifest_path(path, number).name}" for number in dropped]
        gone += [name for name in leftovers(lake) if name not in needed]
        size = sum((path / name).stat().st_size for name in gone)
        if not dry_run:
            for name in gone:  # manifests first: one whose shards are gone must not be read
                (path / name).unlink(missing_ok=True)
    return gone, size
