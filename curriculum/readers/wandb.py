"""Weights & Biases: the offline log (`run-ID.wandb`) and `wandb-summary.json`.

The log is LevelDB's record format, blocks of 32 KiB whose records may be split over them, after a header of 7 bytes;
each whole record is a protocol-buffer message. Source: LevelDB, doc/log_format.md; wandb_internal.proto.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curriculum.readers.source import Source, is_finite
from curriculum.readers.wire import as_bytes, fields, signed
from frontier_core.errors import DataError

MAGIC = b":W&B"
HEADER_BYTES, BLOCK_BYTES, FRAME_BYTES = 7, 1 << 15, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
RECORD_HISTORY, RECORD_RUN = 2, 17
HISTORY_ITEM, HISTORY_STEP = 1, 2
ITEM_KEY, ITEM_NESTED_KEY, ITEM_VALUE = 1, 2, 16
RUN_ID = 1
OWN_KEYS = ("_timestamp", "_runtime", "_step", "_wandb")


def matches(path: Path, head: bytes) -> bool:
    """Says whether a file is an offline log or a run's summary."""
    return head.startswith(MAGIC) or path.name == "wandb-summary.json"


def read(path: Path, source: Source) -> None:
    """Adds every logged number of a run; of a summary, its last ones."""
    if path.name == "wandb-summary.json":
        _read_summary(path, source)
        return
    run_id = _id_from(path) or f"wandb-{source.digest[:12]}"
    with path.open("rb") as file:
        data = file.read()
    for number, record in enumerate(_records(data, source), 1):
        try:
            for kind, value in fields(record):
                if kind == RECORD_RUN:
                    run_id = _run_id(as_bytes(value)) or run_id
                elif kind == RECORD_HISTORY:
                    _add_history(as_bytes(value), run_id, source)
        except ValueError as error:
            raise DataError(f"record {number} can't be read: {error}", path=str(path), code="wandb") from error


def _records(data: bytes, source: Source) -> Iterator[bytes]:
    at, parts = HEADER_BYTES, bytearray()
    while at < len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < FRAME_BYTES:
            at += left  # too small for a frame: the writer fills it with zeros
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6] if at + 6 < len(data) else 0
        end = at + FRAME_BYTES + size
        if end > len(data) or at + FRAME_BYTES > len(data):
            source.drop("record cut off at the end of the file dropped")
            return
        if kind not in (FULL, FIRST, MIDDLE, LAST):
            if any(data[at:]):
                source.drop("the frame is damaged; what follows it dropped, bytes:", len(data) - at)
            return
        if kind in (FULL, FIRST):
            parts.clear()
        parts += data[at + FRAME_BYTES : end]
        if kind in (FULL, LAST):
            yield bytes(parts)
        at = end


def _run_id(data: bytes) -> str:
    return next((as_bytes(value).decode("utf-8", "replace") for number, value in fields(data) if number == RUN_ID), "")


def _id_from(path: Path) -> str:
    """run-ID.wandb, or the folder run-DATE_TIME-ID."""
    name = path.stem if path.suffix == ".wandb" else path.parent.name
    return name.rpartition("-")[2] if name.startswith(("run-", "offline-run-")) else ""


def _add_history(data: bytes, run_id: str, source: Source) -> None:
    values: dict[str, Any] = {}
    step = None
    for number, value in fields(data):
        if number == HISTORY_STEP:
            step = next((signed(v) for n, v in fields(as_bytes(value)) if n == 1), 0)
        elif number == HISTORY_ITEM:
            name, logged = _item(as_bytes(value))
            values[name] = logged
    # The client counts its own calls; transformers says beside them at which optimizer step they were made.
    own_step = values.get("train/global_step", values.get("_step"))
    at = own_step if isinstance(own_step, int) else step or 0
    _add_values(values, run_id, at, source)


def _item(data: bytes) -> tuple[str, Any]:
    names: list[str] = []
    text = b"null"
    for number, value in fields(data):
        if number in (ITEM_KEY, ITEM_NESTED_KEY) and value:
            names.append(as_bytes(value).decode("utf-8", "replace"))
        elif number == ITEM_VALUE:
            text = as_bytes(value)
    try:
        return "/".join(names), json.loads(text)  # the standard parser reads the bare NaN the client writes
    except ValueError:
        return "/".join(names), None


def _add_values(values: dict[str, Any], run_id: str, step: int, source: Source, prefix: str = "") -> None:
    for name, value in values.items():
        if name in OWN_KEYS:
            continue
        if isinstance(value, dict) and "_type" not in value:
            _add_values(value, run_id, step, source, f"{prefix}{name}/")
        elif is_finite(value) or isinstance(value, float) or value in ("NaN", "Infinity", "-Infinity"):
            source.add_point(run_id, step, prefix + name, value)
        else:
            source.drop("values that are no number not read")


def _read_summary(path: Path, source: Source) -> None:
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"not JSON: {error}", path=str(path), code="wandb") from error
    if not isinstance(values, dict):
        raise DataError("no JSON object", path=str(path), code="wandb")
    run_id = _id_from(path) or f"wandb-{source.digest[:12]}"
    step = values.get("_step", values.get("train/global_step", 0))
    _add_values(values, run_id, step if isinstance(step, int) else 0, source)
