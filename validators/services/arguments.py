"""Holds a call's arguments against its tool's JSON Schema and words the first problem as an API would."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from validators.services.base import Json, canonical

_MAX_SHOWN = 120


def argument_problem(parameters: Json, arguments: Any) -> str:
    """Gives what is wrong with the arguments, `start: "9" does not match ...`; "" when they fulfil the schema."""
    validator = _validator(canonical(parameters))
    if validator.is_valid(arguments):
        return ""
    # The deepest error is the one inside the argument that is wrong; ties keep the schema's order.
    error = max(validator.iter_errors(arguments), key=lambda found: len(found.instance_path))
    place = ".".join(map(str, error.instance_path))
    message = str(error.message)
    message = message if len(message) <= _MAX_SHOWN else message[: _MAX_SHOWN - 3] + "..."
    return f"{place}: {message}" if place else message


@lru_cache(maxsize=512)
def _validator(schema: bytes) -> Any:
    import jsonschema_rs
    import orjson

    return jsonschema_rs.Draft202012Validator(orjson.loads(schema), validate_formats=True)
