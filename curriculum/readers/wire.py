"""The protocol-buffer wire format, as far as reading logs needs it: fields of a message, one after the other.

Source: protobuf.dev, "Encoding". Knows no message types; the readers know their field numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Gives the number at a position and the position after it; raises ValueError when it is cut off."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (field number, value): numbers for varints, raw bytes for everything else.

    Raises:
        ValueError: the message is cut off or of a kind long out of use (groups).
    """
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = varint(data, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field is cut off")
        yield number, data[at : at + size]
        at += size


def as_bytes(value: int | bytes) -> bytes:
    """Gives a field's raw bytes; raises ValueError when it is a number."""
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def signed(value: int | bytes) -> int:
    """Gives an int64 field."""
    if not isinstance(value, int):
        raise ValueError("bytes where a number belongs")
    return value - (1 << 64) if value >= 1 << 63 else value


def floats(data: bytes, code: str) -> list[float]:
    """Gives packed little-endian numbers; code `f` for 32 bits, `d` for 64."""
    size = struct.calcsize(code)
    return [item[0] for item in struct.iter_unpack(f"<{code}", data[: len(data) // size * size])]
