"""What a simulated service is: pure tools over a JSON state, declared by JSON Schema, with the errors of a real API.

    (state, tool name, arguments) -> (state, result)        the given state is never changed
    result = {...} or {"error": {"code", "message", ...}}   a failed call changes nothing but a used-up fault

`state` is `{"now", "user", "<service>": {...}, ..., "faults"?}`. Nothing here draws random numbers or reads a clock,
so that a judge can run every call of a trace again. Which services there are is validators/services/table.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any, NamedTuple

import orjson

Json = dict[str, Any]

Run = Callable[[Json, Json, Json], Json]
"""(the service's own part of the state, arguments, whole state) -> result; only the first may be changed."""

FAULTS: dict[str, Json] = {
    "rate_limited": {"message": "too many requests, retry after 2 seconds", "retry_after_s": 2},
    "unavailable": {"message": "the service is temporarily unavailable, try again"},
    "timeout": {"message": "the request timed out before it was processed, try again"},
}
"""Passing failures that a state can hold in store for a tool, and what the service answers then."""


class ToolError(Exception):
    """A call that a service refuses; becomes the result `{"error": {"code", "message", **details}}`."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.body: Json = {"code": code, "message": message, **details}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One function of a service; `parameters` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: Json
    run: Run
    is_read_only: bool = True

    @property
    def declaration(self) -> Json:
        """The tool as a chat request declares it."""
        about = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": about}


class Cast(NamedTuple):
    """Who a seeded world is about: the user, the people around, and the time, ISO 8601 to the minute, no zone."""

    user: Json
    people: list[Json]
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A set of tools over one part of the state; `seed` draws that part."""

    name: str
    about: str
    tools: tuple[Tool, ...]
    seed: Callable[[Random, Cast], Json]
    by_name: dict[str, Tool] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {tool.name: tool for tool in self.tools})


def tool(
    name: str,
    description: str,
    run: Run,
    *,
    required: Mapping[str, Json] | None = None,
    optional: Mapping[str, Json] | None = None,
    writes: bool = False,
) -> Tool:
    """Gives a tool whose arguments are an object with these properties and no others."""
    needed = dict(required or {})
    parameters = {
        "type": "object",
        "properties": {**needed, **(optional or {})},
        "required": list(needed),
        "additionalProperties": False,
    }
    return Tool(name=name, description=description, parameters=parameters, run=run, is_read_only=not writes)


def text(description: str, **rules: Any) -> Json:
    """Gives the schema of a text that is not empty."""
    return {"type": "string", "minLength": 1, **rules, "description": description}


def whole(description: str, minimum: int, maximum: int) -> Json:
    """Gives the schema of a whole number in a range, ends included."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "description": description}


def one_of(description: str, *values: str) -> Json:
    """Gives the schema of a choice."""
    return {"type": "string", "enum": list(values), "description": description}


def day(description: str) -> Json:
    """Gives the schema of a date, YYYY-MM-DD."""
    return {"type": "string", "format": "date", "description": description}


def minute(description: str) -> Json:
    """Gives the schema of a local time to the minute, YYYY-MM-DDTHH:MM."""
    pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$"
    return {"type": "string", "pattern": pattern, "description": description}


def address(description: str) -> Json:
    """Gives the schema of a mail address."""
    return {"type": "string", "format": "email", "description": description}


def found(items: Mapping[str, Json], key: str, what: str) -> Json:
    """Gives the item of that key, or raises ToolError `not_found` as an API would word it."""
    item = items.get(key)
    if item is None:
        raise ToolError("not_found", f"no {what} {key!r}")
    return item


def new_id(own: Json, prefix: str) -> str:
    """Gives the next id of a service (`evt_7`) and counts it as used."""
    number = own["next_id"]
    own["next_id"] = number + 1
    return f"{prefix}{number}"


def call_tool(known: Tool, service: str, state: Json, arguments: Json) -> tuple[Json, Json]:
    """Runs one tool whose arguments are valid: the new state and the result. The given state stays as it is."""
    own = state[service]
    if not known.is_read_only:
        own = orjson.loads(orjson.dumps(own))
    try:
        result = known.run(own, arguments, state)
    except ToolError as error:
        return state, {"error": error.body}
    return (state if known.is_read_only else {**state, service: own}), result


def take_fault(state: Json, name: str) -> tuple[Json, Json | None]:
    """Gives the state without the fault that waits for this tool, and the error it answers with; None without one."""
    waiting = state.get("faults", {}).get(name)
    if not waiting:
        return state, None
    rest = {**state["faults"], name: waiting[1:]}
    rest = {tool_name: codes for tool_name, codes in rest.items() if codes}
    fault = FAULTS[waiting[0]]
    return {**state, "faults": rest}, {"error": {"code": waiting[0], **fault}}


def error_of(result: Any) -> Json | None:
    """Gives the error that a result is, None when the call succeeded."""
    error = result.get("error") if isinstance(result, dict) and len(result) == 1 else None
    return error if isinstance(error, dict) and "code" in error and "message" in error else None


def digest(state: Json) -> str:
    """Gives the sha256 of a state in canonical form (keys sorted, no white space)."""
    return sha256(canonical(state)).hexdigest()


def canonical(value: Any) -> bytes:
    """Gives the canonical JSON bytes of a value; equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def differences(before: Any, after: Any, path: str = "") -> list[Json]:
    """Gives how one state became another: `{"path", "value"}` or `{"path", "gone": true}`, in the order of paths.

    Objects are compared key by key, anything else as a whole; `path` is a JSON pointer.
    """
    if before is after or canonical(before) == canonical(after):
        return []
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [{"path": path, "value": after}]
    found_here: list[Json] = []
    for key in sorted({*before, *after}):
        place = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in after:
            found_here.append({"path": place, "gone": True})
        elif key not in before:
            found_here.append({"path": place, "value": after[key]})
        else:
            found_here += differences(before[key], after[key], place)
    return found_here
