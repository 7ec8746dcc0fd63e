"""Values that fulfil a JSON Schema, drawn from a given random generator: what a service we know only by its
OpenAPI document answers, and what its arguments look like.

Covers what OpenAPI documents use: type, enum, const, default, anyOf/oneOf, objects, arrays, bounds, the common
formats. A schema outside of that (a pattern, `not`, a demand for unique items of few kinds) raises Unsupported; nothing
is ever made up around it. References must be resolved before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil, floor
from random import Random
from typing import Any
from uuid import UUID

from validators.services.base import Json
from validators.services.people import CITIES, FIRST_NAMES, LAST_NAMES, listed

WORDS = listed(
    "amber,basil,cedar,delta,ember,fjord,grove,harbor,indigo,jade,kelp,linen,maple,north,onyx,pearl,quartz,river,"
    "saffron,thistle,umber,velvet,willow,zephyr"
)
MAX_DEPTH = 6
MAX_ITEMS = 3
MAX_LENGTH = 1000
"""Items or characters that a schema may demand at least."""
_REFUSED = ("not", "pattern", "patternProperties", "if", "$ref", "contains", "propertyNames", "allOf")


class Unsupported(ValueError):
    """A schema that no value is drawn for; says why."""


def value_of(schema: Json, rng: Random, *, name: str = "", depth: int = 0) -> Any:
    """Draws one value.

    Args:
        schema: a resolved JSON Schema.
        rng: where choices come from.
        name: what the value is called, so that a `city` is a city.
        depth: how deep it stands; from 1 some optional properties are left out, from 2 all.
    Raises:
        Unsupported: the schema says something this module does not know how to fulfil, or nothing at all.
    """
    refused = next((key for key in _REFUSED if key in schema), None)
    if refused or depth > MAX_DEPTH:
        raise Unsupported(f"{name or 'the value'}: {refused or 'nesting'} is not supported")
    examples = [example for example in schema.get("examples") or () if example not in (None, "")]
    if examples and rng.random() < 0.5:
        return rng.choice(examples)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice([value for value in schema["enum"] if value is not None] or [None])
    for key in ("oneOf", "anyOf"):
        if key in schema:
            options = [option for option in schema[key] if option.get("type") != "null"]
            return value_of(rng.choice(options) if options else {"type": "null"}, rng, name=name, depth=depth + 1)
    kind = _kind(schema, name)
    if kind == "object":
        return _object(schema, rng, name, depth)
    if kind == "array":
        return _array(schema, rng, name, depth)
    if kind == "string":
        return _string(schema, rng, name)
    if kind in ("integer", "number"):
        return _number(schema, rng, is_whole=kind == "integer")
    return rng.random() < 0.5 if kind == "boolean" else None


def _kind(schema: Json, name: str) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((entry for entry in kind if entry != "null"), "null")
    if kind is None and "properties" in schema:
        return "object"
    if kind is None and "items" in schema:
        return "array"
    if not isinstance(kind, str):
        raise Unsupported(f"{name or 'the value'}: the schema names no type")
    return kind


def _object(schema: Json, rng: Random, name: str, depth: int) -> Json:
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    missing = [key for key in required if key not in properties]
    if missing:
        raise Unsupported(f"{name or 'the value'}: required {missing[0]!r} has no schema")
    made = {}
    for key, inner in properties.items():
        if key not in required and (depth >= 2 or (depth == 1 and rng.random() < 0.6)):
            continue
        try:
            made[key] = value_of(inner, rng, name=key, depth=depth + 1)
        except Unsupported:
            if key in required:
                raise
    return made


def _array(schema: Json, rng: Random, name: str, depth: int) -> list[Any]:
    items = schema.get("items")
    if not isinstance(items, dict):
        raise Unsupported(f"{name or 'the value'}: an array without items")
    low = schema.get("minItems", 0)
    if low > MAX_LENGTH:
        raise Unsupported(f"{name or 'the value'}: {low} items are too many to draw")
    high = min(schema.get("maxItems", max(MAX_ITEMS, low)), max(MAX_ITEMS, low))
    length = rng.randint(max(low, min(1, high)), high)
    singular = name[:-1] if name.endswith("s") else name
    try:
        made = [value_of(items, rng, name=singular, depth=depth + 1) for _ in range(length)]
    except Unsupported:
        if low:
            raise
        return []
    if schema.get("uniqueItems"):
        made = [value for place, value in enumerate(made) if value not in made[:place]]
        if len(made) < low:
            raise Unsupported(f"{name}: too few unique items")
    return made


def _number(schema: Json, rng: Random, *, is_whole: bool) -> int | float:
    step = schema.get("multipleOf", 1 if is_whole else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    low = low if low is not None else (1 if high is None or high > 1 else high - 100)
    high = high if high is not None else low + 99
    first, last = ceil(low / step), floor(high / step)
    first += "exclusiveMinimum" in schema and first * step <= schema["exclusiveMinimum"]
    last -= "exclusiveMaximum" in schema and last * step >= schema["exclusiveMaximum"]
    if last < first:
        raise Unsupported("no number lies in the bounds")
    number = rng.randint(first, last) * step
    return int(number) if is_whole else float(number)


def _string(schema: Json, rng: Random, name: str) -> str:
    made = _text(schema.get("format", ""), rng, name)
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    if low > MAX_LENGTH:
        raise Unsupported(f"{name or 'the text'}: {low} characters are too many to draw")
    while len(made) < low:
        made += rng.choice(WORDS)
    if high is not None and len(made) > high:
        if schema.get("format"):
            raise Unsupported(f"{name or 'the text'}: a {schema['format']} of at most {high} characters")
        made = made[:high].rstrip() or "a" * high
    return made


def _text(form: str, rng: Random, name: str) -> str:
    moment = datetime(2025, 1, 1) + timedelta(minutes=15 * rng.randrange(35_000))
    words = [rng.choice(WORDS) for _ in range(2)]
    if form == "date":
        return moment.date().isoformat()
    if form == "date-time":
        return moment.isoformat(timespec="seconds") + "Z"
    if form == "time":
        return moment.time().isoformat() + "Z"
    if form == "uuid":
        return str(UUID(int=rng.getrandbits(128), version=4))
    if form == "email" or name.lower().endswith("email"):
        return f"{words[0]}.{words[1]}@example.com"
    if form in ("uri", "url") or name.lower().endswith("url"):
        return f"https://www.example.com/{words[0]}/{words[1]}"
    if form in ("binary", "byte", "ipv4", "ipv6", "hostname", "duration", "regex"):
        raise Unsupported(f"{name or 'the text'}: format {form} is not supported")
    last = name.lower().rsplit("_", 1)[-1]
    if last in ("owner", "author", "customer", "person", "user", "assignee"):
        return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
    if last == "city":
        return rng.choice(CITIES)
    if last == "id":
        return f"{words[0]}-{rng.randint(100, 999)}"
    return f"{words[0]} {words[1]}"
