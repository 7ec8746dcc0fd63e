"""Telemetry lines read in blocks: what a file of millions of ordinary rows takes, in constant memory.

A block whose every line is an ordinary telemetry line is decoded and added up at once; any other block is handed back
for the careful reader of ingest.py, line by line. Sums are the same to the bit either way: they are exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from math import fsum
from operator import attrgetter
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from curriculum.readers.source import Source, Sums
from frontier_core.events import Key
from frontier_core.records import TagStats

BLOCK_BYTES = 8 << 20

Text = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class _Line(msgspec.Struct, gc=False):
    """An ordinary telemetry line; what differs in any way is left to the careful reader."""

    run_id: Text
    step_from: Count
    step_to: Count
    tag: Text
    metric: Text
    n: Count
    sum: float = 0.0
    sum_sq: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    tokens: Count = 0
    successes: Count = 0
    trials: Count = 0
    round: Count | None = None
    source: str = ""
    source_sha256: str = ""
    kind: msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_Line)
_Place = tuple[str, int, int, str, str, int | None, str, str]
_PLACE = attrgetter("run_id", "step_from", "step_to", "tag", "metric", "round", "source", "source_sha256")


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yields a file in blocks of whole lines, a few MiB each; the last one may lack its line end."""
    rest = b""
    while data := file.read(BLOCK_BYTES):
        end = data.rfind(b"\n") + 1
        if end == 0:
            rest += data
            continue
        yield rest + data[:end]
        rest = data[end:]
    if rest:
        yield rest


def read_bulk(path: Path, source: Source, careful: Callable[[bytes, int], None]) -> bool:
    """Adds up a file of telemetry lines.

    Args:
        path: a plain file.
        source: what is filled.
        careful: called with a line and its number for each line of a block that is not all ordinary.
    Returns:
        False, with nothing added, when the file's first line is no ordinary telemetry line or its line ends are odd:
        then the careful reader has the whole file, and the verdict on it.
    """
    number = 0
    with path.open("rb") as file:
        for block in blocks(file):
            odd = b"\r" in block or b"\n\n" in block or block.startswith(b"\n")
            if number == 0 and (odd or not _is_ordinary(block.partition(b"\n")[0])):
                return False
            lines = None if odd or not block.endswith(b"\n") else _decoded(block)
            if lines is not None:
                _add(lines, source)
                number += len(lines)
                continue
            for line in block.removesuffix(b"\n").split(b"\n"):
                number += 1
                if line.strip():
                    careful(line.rstrip(b"\r"), number)
    return number > 0


def _is_ordinary(line: bytes) -> bool:
    return _decoded(line) is not None


def _decoded(block: bytes) -> list[_Line] | None:
    try:
        lines = _DECODER.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a ValidationError is a DecodeError
        return None
    is_fine = all([line.successes <= line.trials and line.step_from <= line.step_to for line in lines])  # noqa: C419
    return lines if is_fine else None


def _add(lines: list[_Line], source: Source) -> None:
    grouped: defaultdict[_Place, list[_Line]] = defaultdict(list)
    for place, line in zip(map(_PLACE, lines), lines, strict=True):
        grouped[place].append(line)
    for (run_id, first, last, tag, metric, number, name, digest), group in grouped.items():
        origin = (name or source.name, digest) if digest else (source.name, source.digest)
        key = (Key(run_id, first, last, tag, metric), number, *origin)
        sums = source.sums.get(key)
        if sums is None:
            sums = source.sums[key] = Sums()
        sums.counts = sums.counts + TagStats(
            n=sum([line.n for line in group]),
            tokens=sum([line.tokens for line in group]),
            successes=sum([line.successes for line in group]),
            trials=sum([line.trials for line in group]),
        )
        sums.totals = exact_parts([*sums.totals, *[line.sum for line in group]])
        sums.squares = exact_parts([*sums.squares, *[line.sum_sq for line in group]])


def exact_parts(values: list[float]) -> list[float]:
    """Gives few floats whose exact sum is that of many: the rounded sum, then what rounding lost, until nothing is.

    Source: after Shewchuk (1997), with Python's correctly rounded fsum as the building block.
    """
    parts: list[float] = []
    while rest := fsum(values):
        parts.append(rest)
        values.append(-rest)
    return parts
