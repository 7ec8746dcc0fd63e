"""The index of a JSON Lines file: where each line begins, how long it is, and its metadata as columns of codes.

It is kept in `~/.cache/frontier/index` (data folders stay as they are, their digests too) and holds as long as size,
times and inode of the data do; where it can't be kept it is made anew each time. Any line of any file can then be read
by its number, and a filter looks at a few distinct values instead of every record. The lake's shards carry the same
columns.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from frontier_core.atomic import write_bytes
from frontier_core.errors import DataError, FrontierError, UsageError
from frontier_core.index_arrays import ArrayFile, pack_arrays
from frontier_core.jsonl import has_long_number, loads, read_rows
from frontier_core.records import metadata_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYS = ("domain", "task_type", "difficulty", "safety_tags", "tool_set", "graph_coverage", "source_license")
"""The seven metadata keys of the data lake; every other key is indexed as well."""

VERSION = 1
MAX_VALUES = 1 << 16
"""A key with more distinct values than this in one file (a seed, an id) is read from the records when asked for."""
MAX_KEYS = 256
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Column:
    """One metadata key of a file: `codes` index into `values`, -1 where a record lacks the key."""

    codes: NDArray[Any]
    values: list[Any]


class Columns:
    """The metadata of every record of one file, key by key.

    `wide` names the keys that have too many distinct values to be held here.
    """

    def __init__(self, num: int, columns: dict[str, Column], wide: Iterable[str] = ()) -> None:
        self.num = num
        self.columns = columns
        self.wide = frozenset(wide)

    def take(self, rows: NDArray[Any]) -> Columns:
        """Gives the columns of some records only."""
        columns = {key: Column(column.codes[rows], column.values) for key, column in self.columns.items()}
        return Columns(int(rows.size), columns, self.wide)

    def pack(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Gives the JSON part and the arrays for `index_arrays.pack_arrays`."""
        keys = list(self.columns)
        meta = {
            "num": self.num,
            "keys": keys,
            "values": [self.columns[key].values for key in keys],
            "wide": sorted(self.wide),
        }
        return meta, {f"code{place}": self.columns[key].codes for place, key in enumerate(keys)}

    @staticmethod
    def unpack(file: ArrayFile, meta: dict[str, Any]) -> Columns:
        """Reads what `pack` gave."""
        columns = {
            key: Column(file[f"code{place}"], values)
            for place, (key, values) in enumerate(zip(meta["keys"], meta["values"], strict=True))
        }
        return Columns(meta["num"], columns, meta["wide"])


class ColumnsBuilder:
    """Collects the metadata of records, one after the other, into columns."""

    def __init__(self) -> None:
        self.num = 0
        self._codes: dict[str, array[int]] = {}
        self._places: dict[str, dict[str | bytes, int]] = {}
        self._wide: set[str] = set()

    def add(self, metadata: dict[str, Any]) -> None:
        """Takes the metadata of the next record."""
        number = self.num
        for key, value in metadata.items():
            places = self._places.get(key)
            if places is None:
                if key in self._wide or not self._begin(key):
                    continue
                places = self._places[key]
            kind = type(value)
            spelled = value if kind is str else b"%d" % value if kind is int else _spelled(value)
            code = places.get(spelled)
            if code is None:
                code = places[_own(spelled)] = len(places)
                if code >= MAX_VALUES:
                    self._wide.add(key)
                    del self._codes[key], self._places[key]
                    continue
            codes = self._codes[key]
            if len(codes) != number:
                codes.extend([-1] * (number - len(codes)))
            codes.append(code)
        self.num = number + 1

    def _begin(self, key: str) -> bool:
        if len(self._codes) >= MAX_KEYS:
            self._wide.add(key)
            return False
        self._codes[key], self._places[key] = array("i"), {}
        return True

    def finish(self) -> Columns:
        """Gives the columns; keys sorted, values in order of their first use, the codes as narrow as they can be."""
        import numpy as np

        columns: dict[str, Column] = {}
        for key in sorted(self._codes):
            codes = self._codes[key]
            codes.extend([-1] * (self.num - len(codes)))
            values = [item if isinstance(item, str) else loads(item) for item in self._places[key]]
            kind = np.int8 if len(values) < 1 << 7 else np.int16 if len(values) < 1 << 15 else np.int32
            columns[key] = Column(np.frombuffer(codes, np.int32).astype(kind), values)
        return Columns(self.num, columns, self._wide)


def _spelled(value: Any) -> bytes:
    """A value that is no text, as sorted JSON: 1, 1.0 and true stay three values."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        import json

        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _own(spelled: str | bytes) -> str | bytes:
    """A copy to keep: orjson's bytes sit in a kilobyte they were shrunk from."""
    return bytes(bytearray(spelled)) if isinstance(spelled, bytes) else spelled


class LineIndex:
    """Where the lines of a file are.

    `starts` and `lengths` are bytes; blank lines are passed over and line ends are not counted. `digest` is of the
    whole file's bytes. `is_exact` says that orjson alone reads every number of it exactly.
    """

    def __init__(self, path: Path, starts: NDArray[Any], lengths: NDArray[Any], meta: dict[str, Any]) -> None:
        self.path = path
        self.starts = starts
        self.lengths = lengths
        self.digest: str = meta["digest"]
        self.is_exact: bool = meta["is_exact"]
        self.num_bytes: int = meta["stamp"][0]

    @property
    def num(self) -> int:
        """Number of records."""
        return int(self.starts.size)


def index_paths(path: Path) -> tuple[Path, Path]:
    """Gives where the two parts of a file's index are kept, by the file's whole path.

    That is $FRONTIER_INDEX_DIR, else `frontier/index` in $XDG_CACHE_HOME, else in `~/.cache`.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = f"{path.name[:60]}-{blake2b(str(path.resolve()).encode(), digest_size=10).hexdigest()}"
    folder = Path(os.environ.get("FRONTIER_INDEX_DIR") or os.path.join(home, "frontier", "index"))
    return folder / f"{name}.lines.idx", folder / f"{name}.columns.idx"


def open_index(path: Path) -> LineIndex:
    """Gives the line index of a file; made, and kept where that is possible, when there is none that holds.

    Raises:
        UsageError: no such file, or one that is compressed or no regular file: its lines can't be reached by number.
        DataError: the file as a whole can't be read (empty, UTF-16, ...), or it changed meanwhile.
    """
    stamp = _stamp(path)
    kept = index_paths(path)[0]
    file = ArrayFile.open(kept)
    if file is None or file.meta.get("version") != VERSION or file.meta.get("stamp") != stamp:
        starts, lengths, meta = _scan(path, stamp)
        _keep(kept, pack_arrays(meta, {"starts": starts, "lengths": lengths}))
        return LineIndex(path, starts, lengths, meta)
    return LineIndex(path, file["starts"], file["lengths"], file.meta)


def open_columns(index: LineIndex) -> Columns:
    """Gives the metadata columns of an indexed file; made, and kept where possible, when there are none that hold.

    Raises:
        DataError: a line is no record; names file:line.
    """
    stamp = _stamp(index.path)
    kept = index_paths(index.path)[1]
    file = ArrayFile.open(kept)
    if file is not None and file.meta.get("version") == VERSION and file.meta.get("stamp") == stamp:
        return Columns.unpack(file, file.meta["columns"])
    builder = ColumnsBuilder()
    for row in read_rows(index.path):
        if row.problem is not None:
            raise row.problem
        builder.add(metadata_of(row.record))
    columns = builder.finish()
    if columns.num != index.num or _stamp(index.path) != stamp:
        raise DataError("changed while it was read", path=str(index.path), code="changed", hint="run it again")
    meta, arrays = columns.pack()
    _keep(kept, pack_arrays({"version": VERSION, "stamp": stamp, "columns": meta}, arrays))
    return columns


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file", hint="check the path") from error
    if not path.is_file():
        raise UsageError(f"{path}: is no regular file", hint="name .jsonl files, or a lake")
    if path.suffix in (".gz", ".zst"):
        hint = "decompress it, or put it into a lake: frontier lake add"
        raise UsageError(f"{path}: the lines of a compressed file can't be reached by number", hint=hint)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _keep(path: Path, data: bytes) -> None:
    with suppress(FrontierError, OSError):  # a folder that may not be written, or a full disk: only time is lost
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)


def _scan(path: Path, stamp: list[int]) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
    """Finds every line of a file in one pass, block by block."""
    import numpy as np
    import xxhash

    next(iter(read_rows(path)))  # says what is wrong with the file as a whole
    digest = xxhash.xxh3_128()
    ends: list[NDArray[Any]] = []
    is_exact, tail, place = True, b"", 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10).astype(np.int64) + place)
            place += len(chunk)
            is_exact = is_exact and not has_long_number(tail + chunk)
            tail = chunk[-18:]
    stop = np.concatenate(ends)
    if not stop.size or stop[-1] != place - 1:
        stop = np.append(stop, place)
    starts = np.concatenate((np.zeros(1, np.int64), stop[:-1] + 1))
    starts, lengths = _without_blanks(path, starts, stop - starts)
    if _stamp(path) != stamp or place != stamp[0]:
        raise DataError("changed while it was read", path=str(path), code="changed", hint="run it again")
    meta = {"version": VERSION, "stamp": stamp, "digest": digest.hexdigest(), "is_exact": is_exact}
    return starts, lengths, meta


def _without_blanks(path: Path, starts: NDArray[Any], lengths: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Drops what `read_rows` passes over: lines of white space; a CR before the line end goes too."""
    import numpy as np

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        text = np.frombuffer(data, np.uint8)
        while (is_cr := (lengths > 0) & (text[np.maximum(starts + lengths - 1, 0)] == 13)).any():
            lengths = lengths - is_cr
        is_blank = lengths == 0
        for number in np.flatnonzero(~is_blank & (text[np.minimum(starts, text.size - 1)] <= 32)):
            start = int(starts[number])
            is_blank[number] = not data[start : start + int(lengths[number])].strip()
        del text
    keep = ~is_blank
    if int(lengths.max()) >= 1 << 32:
        raise DataError("a line is longer than 4 GiB", path=str(path), code="long_line")
    return starts[keep].astype(np.uint64), lengths[keep].astype(np.uint32)


def line_number(path: Path, start: int) -> int:
    """Gives the number, from 1, of the line that begins at byte `start`; for messages."""
    number, left = 1, start
    with path.open("rb") as file:
        while left and (chunk := file.read(min(_CHUNK, left))):
            number += chunk.count(b"\n")
            left -= len(chunk)
    return number


def map_bytes(path: Path) -> mmap.mmap:
    """Maps a file for reading; the mapping outlives the name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def distinct_values(columns: Columns, key: str) -> Iterator[tuple[Any, int]]:
    """Yields each value of a key with how many records hold it; a key without columns yields nothing."""
    import numpy as np

    column = columns.columns.get(key)
    if column is None:
        return
    counts = np.bincount(column.codes.astype(np.int64) + 1, minlength=len(column.values) + 1)
    yield from zip(column.values, counts[1:].tolist(), strict=True)
