"""Schemas of an OpenAPI document as plain JSON Schema: references resolved, 3.0's peculiarities translated.

`nullable` becomes a type, boolean exclusive bounds become numbers, `example` becomes `examples`, `allOf` is merged.
A schema that holds itself loses the optional property that leads back, or is refused.
"""

from __future__ import annotations

from typing import Any

from frontier_core.errors import DataError
from validators.services.base import Json
from validators.services.values import Unsupported

_KEPT = (
    "type,enum,const,default,description,format,minimum,maximum,exclusiveMinimum,exclusiveMaximum,multipleOf,minLength,"
    "maxLength,pattern,minItems,maxItems,uniqueItems,minProperties,maxProperties,examples,not,if,contains,propertyNames"
)
KEPT = frozenset(_KEPT.split(","))


def as_media(content: Any) -> Json | None:
    """Gives the schema of a JSON media type out of `content`, None when there is none."""
    for media, about in (content or {}).items():
        kind = media.split(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json") or kind == "*/*":
            schema: Json = about.get("schema") or {}
            return schema
    return None


class Resolver:
    """Follows the references of one document."""

    def __init__(self, document: Json) -> None:
        self._document = document

    def resolve(self, raw: Any) -> Json:
        """Gives an object with its own reference followed; what is inside stays as it is."""
        seen: list[str] = []
        while isinstance(raw, dict) and "$ref" in raw:
            seen.append(raw["$ref"])
            if len(seen) > len(set(seen)):
                raise DataError(f"{seen[-1]} refers to itself", pointer=str(seen[-1]).removeprefix("#"), code="openapi")
            raw = {**self._target(raw["$ref"]), **{key: value for key, value in raw.items() if key != "$ref"}}
        return raw if isinstance(raw, dict) else {}

    def schema(self, raw: Any, *, drop: str = "", trail: tuple[str, ...] = ()) -> Json:
        """Gives a schema with everything inside it resolved.

        Args:
            raw: as it stands in the document; true and missing mean anything.
            drop: leave out properties with this mark, readOnly or writeOnly.
            trail: the references followed so far.
        Raises:
            Unsupported: it must hold itself. DataError: a reference leads nowhere.
        """
        if not isinstance(raw, dict):
            return {}
        if "$ref" in raw:
            if raw["$ref"] in trail:
                raise Unsupported(f"{raw['$ref']} must hold itself")
            trail = (*trail, raw["$ref"])
            raw = {**self._target(raw["$ref"]), **{key: value for key, value in raw.items() if key != "$ref"}}
            return self.schema(raw, drop=drop, trail=trail)
        made = {key: value for key, value in raw.items() if key in KEPT}
        for part in raw.get("allOf") or ():
            made = _merged(made, self.schema(part, drop=drop, trail=trail))
        made = _merged(made, self._inside(raw, drop, trail))
        return _translated(made, raw)

    def _inside(self, raw: Json, drop: str, trail: tuple[str, ...]) -> Json:
        made: Json = {}
        if isinstance(raw.get("properties"), dict):
            made["properties"], made["required"] = self._properties(raw, drop, trail)
        elif "required" in raw:
            made["required"] = list(raw["required"])
        if "items" in raw:
            made["items"] = self.schema(raw["items"], drop=drop, trail=trail)
        for key in ("anyOf", "oneOf"):
            if key in raw:
                made[key] = [self.schema(option, drop=drop, trail=trail) for option in raw[key]]
        if isinstance(raw.get("additionalProperties"), dict):
            made["additionalProperties"] = self.schema(raw["additionalProperties"], drop=drop, trail=trail)
        elif "additionalProperties" in raw:
            made["additionalProperties"] = raw["additionalProperties"]
        return made

    def _properties(self, raw: Json, drop: str, trail: tuple[str, ...]) -> tuple[Json, list[str]]:
        required = list(raw.get("required") or ())
        properties: Json = {}
        for name, inner in raw["properties"].items():
            if drop and self.resolve(inner).get(drop):
                required = [key for key in required if key != name]
                continue
            try:
                properties[name] = self.schema(inner, drop=drop, trail=trail)
            except Unsupported:
                if name in required:
                    raise
        return properties, required

    def _target(self, reference: Any) -> Json:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise DataError(f"{reference!r}: references to other files are not followed", code="openapi")
        value: Any = self._document
        for raw in reference[2:].split("/"):
            part = raw.replace("~1", "/").replace("~0", "~")
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, dict):
            raise DataError(f"{reference!r} leads nowhere", pointer=reference[1:], code="openapi")
        return value


def _merged(first: Json, second: Json) -> Json:
    made = {**first, **second}
    if "properties" in first and "properties" in second:
        made["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first or "required" in second:
        made["required"] = list(dict.fromkeys([*first.get("required", ()), *second.get("required", ())]))
    return made


def _translated(made: Json, raw: Json) -> Json:
    """OpenAPI 3.0's own words in JSON Schema's."""
    for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if made.get(bound) is True and plain in made:
            made[bound] = made.pop(plain)
        elif isinstance(made.get(bound), bool):
            del made[bound]
    if "example" in raw and "examples" not in made:
        made["examples"] = [raw["example"]]
    if raw.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if "enum" in made and None not in made["enum"]:
            made["enum"] = [*made["enum"], None]
    if not made.get("required", True):
        del made["required"]
    return made
