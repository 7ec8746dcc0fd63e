"""TensorBoard event files: every scalar point, none sampled away.

A file is a chain of records, each framed by its length and checksums; a record is an Event message. The framing of a
file that is still written, or was killed, ends in the middle of a record: what stands before it is read.
Source: tensorflow/core/lib/io/record_writer.h; event.proto, summary.proto, tensor.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from curriculum.readers.source import Source
from curriculum.readers.wire import as_bytes, fields, floats, signed
from frontier_core.errors import DataError

EVENT_STEP, EVENT_SUMMARY = 2, 5
VALUE_TAG, VALUE_SIMPLE, VALUE_TENSOR = 1, 2, 8
TENSOR_TYPE, TENSOR_CONTENT, TENSOR_FLOATS, TENSOR_DOUBLES = 1, 4, 5, 6
FLOAT, DOUBLE = 1, 2
FIRST_VERSION = b"brain.Event:"


def matches(path: Path, head: bytes) -> bool:
    """Says whether a file begins like an event file: a framed record that holds the version."""
    return ".tfevents." in path.name or FIRST_VERSION in head[:64]


def read(path: Path, source: Source) -> None:
    """Adds every scalar point of a file."""
    run_id = f"tb-{source.digest[:12]}"
    with path.open("rb") as file:
        for number, data in enumerate(_records(file.read(), source), 1):
            try:
                _add_event(data, run_id, source)
            except (ValueError, struct.error) as error:
                raise DataError(f"record {number} is no event: {error}", path=str(path), code="tensorboard") from error


def _records(data: bytes, source: Source) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        start, end = at + 12, at + 12 + size
        if end + 4 > len(data):
            source.drop("record cut off at the end of the file dropped")
            return
        if masked_crc32c(data[at : at + 8]) != int.from_bytes(data[at + 8 : at + 12], "little"):
            source.drop("the frame is damaged; what follows it dropped, bytes:", len(data) - at)
            return
        yield data[start:end]
        at = end + 4


def _add_event(data: bytes, run_id: str, source: Source) -> None:
    step, summaries = 0, []
    for number, value in fields(data):
        if number == EVENT_STEP:
            step = signed(value)
        elif number == EVENT_SUMMARY:
            summaries.append(as_bytes(value))
    for summary in summaries:
        for _, item in fields(summary):
            name, scalar = _scalar(as_bytes(item))
            if scalar is None:
                source.drop("values that are no scalar not read")
            elif step < 0:
                source.drop("points before step 0 dropped")
            else:
                source.add_point(run_id, step, name, scalar)


def _scalar(data: bytes) -> tuple[str, float | None]:
    name, scalar = "", None
    for number, value in fields(data):
        if number == VALUE_TAG:
            name = as_bytes(value).decode("utf-8", "replace")
        elif number == VALUE_SIMPLE:
            scalar = floats(as_bytes(value), "f")[0]
        elif number == VALUE_TENSOR:
            scalar = _tensor(as_bytes(value))
    return name, scalar


def _tensor(data: bytes) -> float | None:
    """Gives a tensor of one number; None for any other."""
    kind, values = 0, []
    for number, value in fields(data):
        if number == TENSOR_TYPE:
            kind = signed(value)
        elif number == TENSOR_FLOATS:
            values += floats(as_bytes(value), "f")
        elif number == TENSOR_DOUBLES:
            values += floats(as_bytes(value), "d")
        elif number == TENSOR_CONTENT and kind in (FLOAT, DOUBLE):
            values += floats(as_bytes(value), "f" if kind == FLOAT else "d")
    return values[0] if len(values) == 1 else None


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _table()


def masked_crc32c(data: bytes) -> int:
    """Gives the masked CRC-32C of a frame. Source: RFC 3720, appendix B.4; tensorflow/core/lib/hash/crc32c.h."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
