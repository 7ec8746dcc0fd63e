"""A golden probe as it stands in a file or a manifest: read and checked. Making and asking one is probe.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import DataError
from frontier_core.records import Record

SCHEMA = "golden_probe_v1"
PROBE_FILE = "probe.json"
_KEYS = ("messages", "max_tokens", "prompt_ids", "ids", "text", "tokens", "logprobs", "margins")


def read_probe(value: Any, place: str = "") -> Record:
    """Gives a probe as it was read, or raises DataError when it is none."""
    cases = value.get("cases") if isinstance(value, dict) and value.get("schema") == SCHEMA else None
    if not cases or not all(isinstance(case, dict) and all(key in case for key in _KEYS) for case in cases):
        raise DataError(f"is no golden probe of schema {SCHEMA}", path=place, code="probe")
    probe: Record = value
    return probe


def probe_beside(folder: Path) -> Record | None:
    """Gives the probe that was exported with a model folder, None when there is none; DataError when it is broken."""
    path = folder / PROBE_FILE
    if not path.is_file():
        return None
    try:
        return read_probe(orjson.loads(path.read_bytes()), str(path))
    except ValueError as error:
        raise DataError("not valid JSON", path=str(path), code="probe") from error
