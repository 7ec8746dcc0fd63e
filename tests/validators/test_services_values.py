"""Values drawn from a schema fulfil it, or the schema is refused: nothing is made up around it."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators.services.arguments import argument_problem
from validators.services.values import Unsupported, value_of

SCHEMAS = [
    {"const": [1, {"a": None}]},
    {"enum": ["a", None, 3]},
    {"type": "null"},
    {"type": "boolean"},
    {"type": "integer", "minimum": -3, "maximum": -1},
    {"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6},
    {"type": "integer", "maximum": -50},
    {"type": "integer", "minimum": 7, "multipleOf": 5},
    {"type": "number", "minimum": 0.5, "maximum": 1, "multipleOf": 0.25},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 90},
    {"type": ["string", "null"], "minLength": 30},
    {"type": "string", "maxLength": 4},
    {"type": "string", "examples": ["fixed"]},
    *({"type": "string", "format": form} for form in ("date", "date-time", "time", "uuid", "email", "uri")),
    {"type": "array", "items": {"type": "integer"}, "minItems": 5},
    {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "maxItems": 2},
    {"type": "array", "items": {"type": "string", "pattern": "^x$"}},
    {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    {"oneOf": [{"type": "null"}]},
    {"items": {"type": "string"}},
    {
        "properties": {
            "owner": {"type": "string"},
            "city": {"type": "string"},
            "order_id": {"type": "string"},
            "odd": {"type": "string", "pattern": "^x$"},
            "inner": {"type": "object", "required": ["a"], "properties": {"a": {"type": "object"}, "b": {"enum": [1]}}},
        },
        "required": ["owner", "inner"],
        "additionalProperties": False,
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_values_fulfil_their_schema_and_hang_on_the_seed_alone(schema, seed):
    value = value_of(schema, Random(seed))
    assert argument_problem(schema, value) == ""
    assert value_of(schema, Random(seed)) == value


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({}, "names no type"),
        ({"type": "string", "pattern": "^x$"}, "pattern is not supported"),
        ({"type": "string", "format": "binary"}, "format binary is not supported"),
        ({"type": "string", "format": "date", "maxLength": 4}, "a date of at most 4 characters"),
        ({"type": "array"}, "an array without items"),
        ({"type": "array", "minItems": 1, "items": {}}, "names no type"),
        ({"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "boolean"}}, "too few unique items"),
        ({"type": "object", "required": ["x"]}, "required 'x' has no schema"),
        ({"type": "object", "required": ["x"], "properties": {"x": {}}}, "names no type"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no number lies in the bounds"),
        ({"type": "array", "minItems": 10**9, "items": {"type": "integer"}}, "too many to draw"),
        ({"type": "string", "minLength": 10**9}, "too many to draw"),
        ({"not": {}}, "not is not supported"),
    ],
)
def test_what_no_value_is_known_for_is_refused(schema, says):
    with pytest.raises(Unsupported, match=says):
        value_of(schema, Random(1))


def test_nesting_has_an_end():
    deep = {"type": "integer"}
    for _ in range(9):
        deep = {"type": "object", "required": ["x"], "properties": {"x": deep}}
    with pytest.raises(Unsupported, match="nesting is not supported"):
        value_of(deep, Random(1))
