"""Layer 1, the schema gate: deny by default. A record passes only under a spec that is known and that it fulfils.

JSON Schema is normative (frontier_core/schemas); this module compiles the schemas and turns their errors into findings
with a pointer and a remedy. What a record says is layer 2 (content_gate.py); fast_path.py spares most lines both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from frontier_core.records import Record
from frontier_core.schemas import RECORD_SPECS, guess_spec, known_spec, load_schema, schema_ids
from validators.base import Finding

VALIDATOR_NAME = "spec_validator"
VALIDATOR_VERSION = "1.1.0"

MAX_FINDINGS = 5
"""Schema errors reported per record; the first is what the record is counted by."""

_CODES = {
    "Enum": "bad_value",
    "Type": "bad_type",
    "Required": "missing_key",
    "AdditionalProperties": "unknown_key",
    "MinLength": "empty_value",
    "MinItems": "too_few",
    "Contains": "missing_turn",
    "Minimum": "out_of_range",
    "Maximum": "out_of_range",
    "Pattern": "bad_form",
    "PropertyNames": "bad_path",
    "Not": "bad_path",
    "Constant": "bad_value",
    "MaxProperties": "contradiction",
    "FalseSchema": "contradiction",
}


class SchemaGate:
    """Checks records against one spec, or each against the spec its shape declares.

    Args:
        spec: "auto" or the id of a record spec; an unknown one raises ConfigError naming the nearest.
    """

    def __init__(self, spec: str = "auto") -> None:
        self.spec = spec if spec == "auto" else known_spec(spec)
        self._compiled: dict[str, Any] = {}

    def check(self, record: Record) -> tuple[str, tuple[Finding, ...]]:
        """Gives the spec a record was held against ("" when none fits) and what is wrong with it."""
        spec = guess_spec(record) if self.spec == "auto" else self.spec
        if spec is None:
            from validators.plans import missing_half  # imports all that judges plans

            if missing := missing_half(record):
                return "", (missing,)
            keys = ", ".join(sorted(record)[:6]) or "none"
            return "", (
                Finding(
                    code="unknown_spec",
                    message=f"no known spec has these keys: {keys}",
                    remedy=f"known specs: {', '.join(RECORD_SPECS)}; their shapes are in docs/records.md",
                ),
            )
        validator = self._validator(spec)
        if validator.is_valid(record):
            return spec, ()
        errors = sorted(validator.iter_errors(record), key=lambda error: -len(error.instance_path))
        return spec, tuple(_finding(error, record) for error in errors[:MAX_FINDINGS])

    def _validator(self, spec: str) -> Any:
        if spec not in self._compiled:
            schema = load_schema(spec)
            resources = [(f"frontier:{name}", load_schema(name)) for name in _referenced(schema)]
            self._compiled[spec] = compile_schema(schema, resources)
        return self._compiled[spec]


def compile_schema(schema: Record | bool, resources: Sequence[tuple[str, Any]] = ()) -> Any:
    """Gives a validator of a JSON Schema (draft 2020-12 unless it names another); `format` is an annotation.

    Args:
        schema: the schema.
        resources: (address, schema) of what it may refer to; nothing is ever fetched.
    Raises:
        ValueError: it is no schema, or refers to what is not among `resources`.
    """
    import jsonschema_rs

    registry = jsonschema_rs.Registry(list(resources))
    return jsonschema_rs.validator_for(schema, registry=registry, validate_formats=False)


def _referenced(schema: Record) -> list[str]:
    """The ids a schema refers to, so that only those are compiled."""
    text = str(schema)
    return [name for name in schema_ids() if f"'frontier:{name}'" in text.replace(f"'$id': 'frontier:{name}'", "")]


def _finding(error: Any, record: Record) -> Finding:
    kind = type(error.kind).__name__
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error.instance_path)
    code, message, remedy = _CODES.get(kind, "schema"), error.message, ""
    if code == "missing_turn":
        roles = [turn.get("role") for turn in record.get("messages", []) if isinstance(turn, dict)]
        absent = next((role for role in ("user", "assistant") if role not in roles), "user or assistant")
        message = f"there is no {absent} turn"
        remedy = "a chat needs at least one user and one assistant turn"
    elif pointer.endswith("/role"):
        code, remedy = "wrong_role", "roles are system, user and assistant, in lower case"
    elif code == "missing_key":
        remedy = (
            "metadata with a skill is required on every record" if "metadata" in message or "skill" in message else ""
        )
    elif kind == "MaxProperties":
        message, remedy = "`absent` stands alone: what is gone has no content", "leave out one or the other"
    elif kind == "FalseSchema":
        message = f"{pointer.rpartition('/')[2]} can't stand beside another demand on the same output"
        remedy = "leave out one or the other"
    elif kind == "PropertyNames" and pointer.endswith("/env"):
        code, message = "bad_name", f"no name of a variable: {message}"
    elif kind == "PropertyNames" and pointer.endswith("/pages"):
        code, message = "bad_page", f"a page's path must begin with a slash: {message}"
    elif code == "bad_path":
        message, remedy = f"a path is absolute or leaves the home folder: {_shorten(message)}", "use a relative path"
    elif code == "unknown_key" and pointer:
        remedy = "docs/records.md lists the keys"
    elif code == "unknown_key":
        remedy = "move extra keys into metadata, where any key is kept"
    return Finding(code=code, message=_shorten(message), pointer=pointer, remedy=remedy)


def _shorten(message: str, limit: int = 160) -> str:
    return message if len(message) <= limit else f"{message[: limit - 30]} ... {message[-24:]}"
