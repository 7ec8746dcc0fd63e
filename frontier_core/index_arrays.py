"""A file of named number arrays with a JSON head, opened by mapping it: what every index of the lake and streams is.

Opening costs a read of the head alone, whatever the size. A file that is torn, or of another version, opens as None
and is made again by whoever made it. Writers give the same bytes for the same arrays.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"FRONTIDX"
_ALIGN = 64
_HEAD = len(MAGIC) + 8


def pack_arrays(meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Gives the bytes of a file that holds `meta` (JSON) and the arrays, in the order given."""
    table: dict[str, list[Any]] = {}
    place = 0
    for name, array in arrays.items():
        table[name] = [array.dtype.str, int(array.size), place]
        place += _padded(array.nbytes)
    head = orjson.dumps({"meta": dict(meta), "arrays": table, "bytes": place})
    start = _padded(_HEAD + len(head))
    parts = [MAGIC, len(head).to_bytes(8, "little"), head.ljust(start - _HEAD, b" ")]
    for array in arrays.values():
        data = array.tobytes()
        parts += [data, bytes(_padded(len(data)) - len(data))]
    return b"".join(parts)


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


class ArrayFile:
    """An open file of arrays: `meta` as it was written, arrays by name, mapped and read-only."""

    def __init__(self, data: mmap.mmap, meta: dict[str, Any], table: dict[str, list[Any]], start: int) -> None:
        self.meta = meta
        self._data = data
        self._table = table
        self._start = start

    @staticmethod
    def open(path: Path) -> ArrayFile | None:
        """Opens a file; None when there is none, or none that is whole."""
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # absent, or empty
            return None
        if data[: len(MAGIC)] != MAGIC:
            return None
        size = int.from_bytes(data[len(MAGIC) : _HEAD], "little")
        start = _padded(_HEAD + size)
        try:
            head = orjson.loads(data[_HEAD : _HEAD + size])
            if len(data) != start + head["bytes"]:
                return None
            return ArrayFile(data, head["meta"], head["arrays"], start)
        except (ValueError, KeyError, TypeError):
            return None

    def names(self) -> list[str]:
        """Gives the names of the arrays."""
        return list(self._table)

    def __getitem__(self, name: str) -> NDArray[Any]:
        import numpy as np

        kind, count, place = self._table[name]
        return np.frombuffer(self._data, dtype=np.dtype(kind), count=count, offset=self._start + place)
