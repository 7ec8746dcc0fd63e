"""One shard of a lake: a compressed JSON Lines file named by its sha256, and its index beside it.

`SHA.jsonl.zst` is a plain .zst file (`zstdcat` reads it) of many small frames, so that any line can be reached by
unpacking a few kilobytes. `SHA.idx` holds where frames and lines are, the metadata as columns, and the hashes of the
lines, sorted, for telling duplicates. A shard is never changed; which shards make a lake is lake.py's business.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from frontier_core.atomic import explain_os_error, sha256_file, write_bytes
from frontier_core.errors import DataError
from frontier_core.index import Columns, ColumnsBuilder, map_bytes
from frontier_core.index_arrays import ArrayFile, pack_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
FRAME_BYTES = 8192
"""Text in a frame; smaller ones are quicker to reach, larger ones pack better."""

MAX_RECORDS = 1 << 18
MAX_BYTES = 1 << 27
"""Records and bytes of text at which a shard is full."""

LEVEL = 1
"""Of compression: at this size of frame higher ones gain nothing."""

_KEPT_FRAMES = 64
_TEMP = ".shard.tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What a manifest says of one shard: name, sizes, digest of its index, where its records came from."""

    sha256: str
    num_bytes: int
    text_bytes: int
    num_records: int
    index_sha256: str
    sources: list[dict[str, Any]] = field(default_factory=list)
    licenses: dict[str, int] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Gives the manifest's entry."""
        return asdict(self)

    @property
    def file_name(self) -> str:
        """Name of the data file in the lake's folder of shards."""
        return f"{self.sha256}.jsonl.zst"

    @property
    def index_name(self) -> str:
        """Name of the index file."""
        return f"{self.sha256}.idx"


class ShardWriter:
    """Writes one shard aside; `finish` gives it its name. Nothing refers to it before a manifest does.

    Args:
        folder: the lake's folder of shards.
    """

    def __init__(self, folder: Path) -> None:
        import zstandard

        self.folder = folder
        self.num = 0
        self.text_bytes = 0
        self.licenses: Counter[str] = Counter()
        self.sources: list[dict[str, Any]] = []
        self._temp = folder / f".{os.getpid()}{_TEMP}"
        try:
            self._file: BinaryIO = self._temp.open("wb")
        except OSError as error:
            raise explain_os_error(error, self._temp) from error
        self._sha = sha256()
        self._compress = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress
        self._frame: list[bytes] = []
        self._frame_bytes = 0
        self._lengths = array("I")
        self._frame_texts, self._frame_places = array("Q"), array("Q")
        self._num_bytes = 0
        self._hashes = bytearray()
        self._columns = ColumnsBuilder()
        self._is_exact = True

    @property
    def is_full(self) -> bool:
        """Says whether the next record belongs into another shard."""
        return self.num >= MAX_RECORDS or self.text_bytes >= MAX_BYTES

    def add(self, line: bytes, digest: bytes, metadata: dict[str, Any], *, is_exact: bool = True) -> None:
        """Appends a line, without its line end; `digest` are its 16 bytes of xxh3_128."""
        self._frame.append(line)
        self._frame_bytes += len(line) + 1
        self._lengths.append(len(line))
        self._hashes += digest
        self._columns.add(metadata)
        self.num += 1
        self.text_bytes += len(line) + 1
        self._is_exact = self._is_exact and is_exact
        self.licenses[str(metadata.get("source_license") or "unknown")] += 1
        if self._frame_bytes >= FRAME_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._frame:
            return
        data = self._compress(b"\n".join(self._frame) + b"\n")
        self._frame_texts.append(self.text_bytes - self._frame_bytes)
        self._frame_places.append(self._num_bytes)
        try:
            self._file.write(data)
        except OSError as error:
            raise explain_os_error(error, self._temp) from error
        self._sha.update(data)
        self._num_bytes += len(data)
        self._frame, self._frame_bytes = [], 0

    def finish(self) -> Shard:
        """Makes the shard durable under its name and gives its entry."""
        self._flush()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise explain_os_error(error, self._temp) from error
        name = self._sha.hexdigest()
        packed = self._index(name)
        os.replace(self._temp, self.folder / f"{name}.jsonl.zst")
        write_bytes(self.folder / f"{name}.idx", packed)
        return Shard(
            sha256=name,
            num_bytes=self._num_bytes,
            text_bytes=self.text_bytes,
            num_records=self.num,
            index_sha256=sha256(packed).hexdigest(),
            sources=self.sources,
            licenses=dict(sorted(self.licenses.items())),
        )

    def abort(self) -> None:
        """Drops what was written."""
        self._file.close()
        self._temp.unlink(missing_ok=True)

    def _index(self, name: str) -> bytes:
        import numpy as np

        lengths = np.frombuffer(self._lengths, np.uint32)
        starts = np.cumsum(lengths, dtype=np.uint64) - lengths + np.arange(lengths.size, dtype=np.uint64)
        hashes = np.frombuffer(bytes(self._hashes), ">u8").astype(np.uint64).reshape(-1, 2)
        order = np.argsort(hashes[:, 0], kind="stable")
        meta, codes = self._columns.finish().pack()
        arrays = {
            "lengths": lengths,
            "starts": starts if self.text_bytes >> 32 else starts.astype(np.uint32),
            "frame_texts": np.frombuffer(self._frame_texts, np.uint64),
            "frame_places": np.append(np.frombuffer(self._frame_places, np.uint64), np.uint64(self._num_bytes)),
            "hash_high": hashes[order, 0],
            "hash_low": hashes[order, 1],
            **codes,
        }
        return pack_arrays({"version": VERSION, "shard": name, "is_exact": self._is_exact, "columns": meta}, arrays)


class ShardText:
    """The text of a shard as one string of bytes, unpacked frame by frame; the last frames are kept."""

    def __init__(self, path: Path, texts: NDArray[Any], places: NDArray[Any]) -> None:
        import zstandard

        self._data = map_bytes(path)
        self._texts: list[int] = texts.tolist()
        self._places: list[int] = places.tolist()
        self._unpack = zstandard.ZstdDecompressor().decompress
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def __getitem__(self, place: slice) -> bytes:
        number = bisect_right(self._texts, place.start) - 1
        start = self._texts[number]
        frame = self._kept.get(number)
        if frame is None:
            frame = self._kept[number] = self._unpack(self._data[self._places[number] : self._places[number + 1]])
            if len(self._kept) > _KEPT_FRAMES:
                self._kept.popitem(last=False)
        return frame[place.start - start : place.stop - start]


class ShardPart:
    """An open shard, as a part of a corpus: lines by number, columns, hashes.

    Raises:
        DataError: a file of the shard is missing or torn.
    """

    def __init__(self, folder: Path, shard: Shard) -> None:
        self.shard = shard
        self.path = folder / shard.file_name
        self.name = str(self.path)
        self.digest = shard.sha256
        index = ArrayFile.open(folder / shard.index_name)
        if index is None or index.meta.get("version") != VERSION or index.meta.get("shard") != shard.sha256:
            hint = "frontier lake verify says what is wrong"
            raise DataError("the index of the shard is missing or torn", path=self.name, code="shard", hint=hint)
        self._index = index
        self.is_exact: bool = index.meta["is_exact"]
        self.lengths = index["lengths"]
        self.starts = index["starts"]

    def text(self) -> ShardText:
        """Opens the text."""
        try:
            return ShardText(self.path, self._index["frame_texts"], self._index["frame_places"])
        except (OSError, ValueError) as error:
            raise DataError("the shard can't be opened", path=self.name, code="shard") from error

    def columns(self) -> Columns:
        """Gives the metadata of every line."""
        return Columns.unpack(self._index, self._index.meta["columns"])

    def place(self, row: int) -> tuple[str, int]:
        """Gives the file and the line number of a row."""
        return self.name, row + 1

    def hashes(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Gives the upper halves of the lines' hashes, sorted, and the lower halves beside them."""
        return self._index["hash_high"], self._index["hash_low"]

    def lines(self, rows: NDArray[Any] | None = None) -> Iterator[bytes]:
        """Yields lines, all or those of ascending rows, each frame unpacked once."""
        text = self.text()
        starts, lengths = (self.starts, self.lengths) if rows is None else (self.starts[rows], self.lengths[rows])
        for first in range(0, starts.size, 4096):
            spans = zip(starts[first : first + 4096].tolist(), lengths[first : first + 4096].tolist(), strict=True)
            for start, length in spans:
                yield text[start : start + length]

    def damage(self, *, deep: bool = False) -> str:
        """Says what is wrong with the shard's files, "" when they are what the manifest says.

        Args:
            deep: also unpack every line and compare its hash.
        """
        index = self.path.with_name(self.shard.index_name)
        for path, digest in ((self.path, self.shard.sha256), (index, self.shard.index_sha256)):
            if not path.is_file():
                return f"{path.name} is missing"
            if sha256_file(path) != digest:
                return f"{path.name} is not what its sha256 says"
        if self.lengths.size != self.shard.num_records:
            return f"holds {self.lengths.size} records, the manifest says {self.shard.num_records}"
        return self._deep_damage() if deep else ""

    def _deep_damage(self) -> str:
        import numpy as np
        import xxhash
        import zstandard

        try:
            digests = b"".join(map(xxhash.xxh3_128_digest, self.lines()))
        except zstandard.ZstdError as error:
            return f"can't be unpacked: {error}"
        found = np.frombuffer(digests, ">u8").reshape(-1, 2)
        order = np.argsort(found[:, 0], kind="stable")
        high, low = self.hashes()
        same = np.array_equal(found[order, 0], high) and np.array_equal(found[order, 1], low)
        return "" if same else "its lines are not those that its index lists"


def is_temp(name: str) -> bool:
    """Says whether a file in a lake is one that a writer had not finished."""
    return name.startswith(".") and (name.endswith((_TEMP, ".tmp")))
