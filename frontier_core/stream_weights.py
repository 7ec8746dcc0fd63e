"""The weight log: which weights hold from which block on; append-only, each entry sealed by all before it.

A stream is a function of seed, corpus, this log and the position, so whoever has the log can draw any batch of a run
again. Kept in a file, the log is one JSON line an entry; every process of a run reads it at block borders.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from math import fsum, isfinite
from pathlib import Path
from typing import Any

import orjson

from frontier_core.atomic import explain_os_error
from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import append_line


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightEntry:
    """Weights that hold from `block` on; `source` says where they came from (a policy's sha256, "set", "profile")."""

    block: int
    weights: dict[str, float]
    source: str
    digest: str

    def to_record(self) -> dict[str, Any]:
        """Gives the entry as a line of the log file."""
        return {"block": self.block, "weights": self.weights, "source": self.source, "digest": self.digest}


def check_weights(weights: Mapping[str, Any]) -> dict[str, float]:
    """Gives weights as floats.

    Raises:
        ConfigError: one is no number, is below 0, or none is above.
    """
    for name, value in weights.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
            raise ConfigError(f"weight of {name!r}: {value!r} is no number from 0 up")
    if not fsum(weights.values()) > 0:
        raise ConfigError("no weight is above 0", hint="a stream needs a domain to draw from")
    return {name: float(value) for name, value in weights.items()}


class WeightLog:
    """An append-only list of weights by block, in memory or in a file.

    Args:
        path: where it is kept; None keeps it in memory. An existing file is read.
    Raises:
        DataError: the file is no weight log, or was changed: a digest does not follow from the lines before it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.entries: list[WeightEntry] = []
        self._read = 0
        self.refresh()

    @property
    def digest(self) -> str:
        """Digest of all entries."""
        return self.entries[-1].digest if self.entries else "0" * 16

    def append(self, block: int, weights: Mapping[str, float], source: str) -> WeightEntry:
        """Adds weights from `block` on, durably when the log is a file.

        Raises:
            ConfigError: the block lies before that of the last entry, or the weights are none.
        """
        checked = check_weights(weights)
        if self.entries and block < self.entries[-1].block:
            last = self.entries[-1].block
            raise ConfigError(f"weights from block {block} on can't follow those from block {last} on")
        entry = WeightEntry(block=block, weights=checked, source=source, digest=_seal(self.digest, block, checked))
        if self.path is not None:
            append_line(self.path, entry.to_record())
            self._read = self.path.stat().st_size
        self.entries.append(entry)
        return entry

    def begin(self, weights: Mapping[str, float], source: str) -> None:
        """Makes sure that the log begins with these weights from block 0 on; of several processes one writes them.

        Raises:
            ConfigError: it begins with others: this is the log of another run.
        """
        checked = check_weights(weights)
        if self.path is None:
            if not self.entries:
                self.append(0, checked, source)
        else:
            with _exclusive(self.path):
                self.refresh()
                if not self.entries:
                    self.append(0, checked, source)
        if self.entries[0].weights != checked:
            hint = "give the run a log of its own, or the weights it began with"
            raise ConfigError(f"{self.path or 'the weight log'}: begins with other weights", hint=hint)

    def refresh(self) -> list[WeightEntry]:
        """Reads what another process appended; gives the new entries. A torn last line waits until it is whole."""
        if self.path is None:
            return []
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            return []
        if size <= self._read:
            return []
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return [self._entry(line) for line in whole.splitlines() if line.strip()]

    def _entry(self, line: bytes) -> WeightEntry:
        try:
            record = orjson.loads(line)
            block, weights, digest = record["block"], record["weights"], record["digest"]
            entry = WeightEntry(block=block, weights=weights, source=str(record["source"]), digest=digest)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                "is no line of a weight log", path=str(self.path), line=len(self.entries) + 1, code="weight_log"
            ) from error
        if _seal(self.digest, block, weights) != digest or (self.entries and block < self.entries[-1].block):
            raise DataError(
                "does not follow from the lines before it", path=str(self.path), line=len(self.entries) + 1,
                code="weight_log", hint="a weight log is append-only; give the run another one",
            )  # fmt: skip
        self.entries.append(entry)
        return entry

    def holds(self, digest: str) -> bool:
        """Says whether the log began with the entries that a digest stands for."""
        return digest == "0" * 16 or any(entry.digest == digest for entry in self.entries)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise explain_os_error(error, path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _seal(before: str, block: int, weights: Mapping[str, float]) -> str:
    text = orjson.dumps([before, block, dict(weights)], option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=8).hexdigest()
