"""The JSON Schemas of everything on the wire, as files, registered by id: `chat_sft_v1`, `plan_v1`, ...

A spec's id carries its version; a change that would refuse old data gets a new id and a new file. Only reads and
names schemas: compiling and applying them is validators/schema_gate.py.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from frontier_core.records import Record, metadata_of

FOLDER = Path(__file__).parent / "schemas"
SUFFIX = ".schema.json"

RECORD_SPECS = (
    "chat_sft_v1",
    "syllo_v1",
    "completion_v1",
    "plan_v1",
    "preference_v1",
    "reward_v1",
    "sparring_v1",
    "trace_v1",
    "graph_v1",
)
"""Specs a data file may declare; anything else is refused."""


def schema_ids() -> list[str]:
    """Gives the id of every schema that ships, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}"))


@cache
def load_schema(schema_id: str) -> dict[str, Any]:
    """Gives the schema of that id, or raises ConfigError naming the nearest known one."""
    path = FOLDER / f"{schema_id}{SUFFIX}"
    if not path.is_file():
        known = schema_ids()
        raise ConfigError(f"unknown schema {schema_id!r}", hint=did_you_mean(schema_id, known))
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document


def known_spec(name: str) -> str:
    """Gives `name` back when it is a record spec, or raises ConfigError naming the nearest known one."""
    if name in RECORD_SPECS:
        return name
    raise ConfigError(f"unknown spec {name!r}", hint=did_you_mean(name, RECORD_SPECS))


def guess_spec(record: Record) -> str | None:
    """Gives the spec a record's shape declares, None when no spec has that shape (deny by default)."""
    if "instruction" in record and "output" in record:
        return "plan_v1"
    if "chosen" in record or "rejected" in record:
        return "preference_v1"
    if "reward" in record:
        return "reward_v1"
    if "messages" in record:
        return _guess_chat(record)
    if "text" in record:
        return "completion_v1"
    return None


def _guess_chat(record: Record) -> str:
    if "nodes" in record or "edges" in record:
        return "graph_v1"
    if str(record.get("type", "")).startswith("sparring_"):
        return "sparring_v1"
    turns = record["messages"] if isinstance(record["messages"], list) else []
    uses_tools = any(isinstance(turn, dict) and (turn.get("role") == "tool" or "tool_calls" in turn) for turn in turns)
    if "tools" in record or uses_tools:
        return "trace_v1"
    return "syllo_v1" if metadata_of(record).get("skill") == "syllo" else "chat_sft_v1"
