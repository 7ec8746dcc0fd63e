"""Our own cases of every class that the public suites try, and the runner that takes a checkout of either."""

import json

import pytest

from frontier_core.jsonl import dumps, loads
from tests.peers.__main__ import accepts, main
from validators.schema_gate import compile_schema

MUST_ACCEPT = {
    "array_empty": b"[]", "array_spaces": b" [ 1 , 2 ] ", "array_nulls": b"[null,null]", "array_mixed": b'[null,1,"1",{}]',
    "number_0": b"0", "number_minus_0": b"-0", "number_minus_int": b"-17", "number_fraction": b"[1.50]",
    "number_exponent": b"[1e3,1E3,1e+3,1E-3,0e9]", "number_beyond_64_bits": b"[1180591620717411303424]",
    "number_400_digits": b"[" + b"9" * 400 + b"]", "number_tiny": b"[-0." + b"0" * 70 + b"1]",
    "object_empty": b"{}", "object_duplicate": b'{"k":1,"k":2}', "object_same_twice": b'{"k":1,"k":1}',
    "object_empty_key": b'{"":0}', "object_escaped_null_key": b'{"a\\u0000b":1}', "object_long": b'{"' + b"k" * 5000 + b'":1}',
    "string_escapes": b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]', "string_pair": b'["\\ud834\\udd1e"]', "string_utf8": "[\"é€𝄞\"]".encode(),
    "string_del": b'["\x7f"]', "string_null_escape": b'["\\u0000"]', "string_last_pair": b'["\\uDBFF\\uDFFF"]',
    "string_line_separator": "[\"\u2028\u2029\"]".encode(), "string_nonchar": b'["\\uFFFF"]', "string_comment": b'["/*x*/"]',
    "lone_string": b'"x"', "lone_true": b"true", "lone_false": b"false", "lone_null": b"null", "lone_negative": b"-1",
    "space_around": b"\t\r\n {} \n", "newline_at_end": b'["a"]\n', "nested": b"[" * 200 + b"]" * 200,
}  # fmt: skip
MUST_REFUSE = {
    "array_extra_comma": b"[1,]", "array_double_comma": b"[1,,2]", "array_only_comma": b"[,]", "array_open": b"[1",
    "array_inner_missing": b"[1 true]", "array_colon": b'["a":1]', "array_closed_twice": b"[1]]", "array_formfeed": b"[\x0c]",
    "number_leading_zero": b"[012]", "number_plus": b"[+1]", "number_dot_first": b"[.5]", "number_dot_last": b"[1.]",
    "number_no_exponent": b"[1e]", "number_double_e": b"[1e2e3]", "number_hex": b"[0x1F]", "number_minus_only": b"[-]",
    "number_nan": b"[NaN]", "number_infinity": b"[-Infinity]", "number_letters": b"[1a]", "number_fullwidth": "[１]".encode(),
    "number_minus_space": b"[- 1]", "number_long_leading_zero": b"[0" + b"1" * 30 + b"]", "number_long_junk": b"[" + b"1" * 30 + b"x]",
    "object_bare_key": b"{k:1}", "object_single_quotes": b"{'k':1}", "object_trailing_comma": b'{"k":1,}', "object_no_value": b'{"k":}',
    "object_no_colon": b'{"k" 1}', "object_number_key": b"{1:1}", "object_comment": b'{"k":1}/**/', "object_open": b'{"k":1',
    "object_two_colons": b'{"k"::1}', "object_bad_value": b'{"k":truth}', "object_garbage": b'{"k":1}#',
    "string_unknown_escape": b'["\\x00"]', "string_short_escape": b'["\\u00A"]', "string_raw_tab": b'["\t"]', "string_raw_newline": b'["\n"]',
    "string_raw_null": b'["\x00"]', "string_open": b'["x', "string_backslash_last": b'["\\"]', "string_bad_utf8_escape": b'["\\\xff"]',
    "string_single": b"['x']", "string_invalid_utf8": b'["\xff"]', "string_overlong": b'["\xc0\xaf"]', "string_cut_utf8": b'["\xe2\x82"]',
    "string_half_pair_then_bad": b'["\\ud800\\u"]', "true_wrong": b"[True]", "null_cut": b"[nul]", "empty": b"", "space_only": b" ",
    "bom_alone": b"\xef\xbb\xbf", "two_values": b"1 2", "null_byte_after": b"1\x00", "no_break_space": b"[\xc2\xa0]", "vertical_tab": b"[\x0b1]",
    "unclosed_deep": b"[" * 100_000, "unclosed_objects": b'[{"":' * 50_000, "closing_first": b"]", "only_escape": b"\\u0031", "angle": b"<.>",
}  # fmt: skip
EITHER = {
    "number_out_of_range": b"[1e999]", "lone_surrogate": b'["\\ud800"]', "pair_the_wrong_way": b'["\\udc00\\ud800"]',
    "bom": b"\xef\xbb\xbf{}", "utf16": "[]".encode("utf-16"), "deep": b"[" * 1100 + b"]" * 1100, "surrogate_utf8": b'["\xed\xa0\x80"]',
    "integer_of_5000_digits": b"9" * 5000,
}  # fmt: skip


@pytest.mark.parametrize("name", MUST_ACCEPT)
def test_what_json_allows_is_read(name):
    assert accepts(MUST_ACCEPT[name])


@pytest.mark.parametrize("name", MUST_REFUSE)
def test_what_json_forbids_is_refused(name):
    assert not accepts(MUST_REFUSE[name])


@pytest.mark.parametrize("name", EITHER)
def test_what_json_leaves_open_ends_cleanly_and_is_refused_here(name):
    assert not accepts(EITHER[name])


@pytest.mark.parametrize("number", [2**70, -(2**70), 2**63, 2**64, 10**400])
def test_an_integer_survives_the_round_trip(number):
    line = b'{"n":%d}' % number
    assert loads(line) == {"n": number}
    assert dumps(loads(line)) == line


BASE = "http://localhost:1234/"
SCHEMAS = [
    ("type integer takes 1.0", {"type": "integer"}, [(1.0, True), (1.5, False), (2**70, True), (True, False)]),
    ("const tells false from 0", {"const": False}, [(False, True), (0, False)]),
    ("enum compares numbers", {"enum": [1]}, [(1.0, True), (True, False)]),
    ("multipleOf of a small float", {"multipleOf": 0.01}, [(4.35, True), (4.355, False)]),
    ("minLength counts code points", {"minLength": 2}, [("\U0001f4a9", False), ("ab", True)]),
    ("uniqueItems", {"uniqueItems": True}, [([1, True], True), ([1, 1.0], False), ([{"a": 1}, {"a": 1}], False)]),
    ("prefixItems and items", {"prefixItems": [{"type": "string"}], "items": False}, [(["a"], True), (["a", 1], False)]),
    ("contains with bounds", {"contains": {"const": 1}, "minContains": 2, "maxContains": 2}, [([1, 1], True), ([1], False)]),
    ("dependentRequired", {"dependentRequired": {"a": ["b"]}}, [({"a": 1}, False), ({"a": 1, "b": 2}, True)]),
    ("if then else", {"if": {"const": 1}, "then": False, "else": True}, [(1, False), (2, True)]),
    ("propertyNames", {"propertyNames": {"pattern": "^a"}}, [({"ab": 1}, True), ({"b": 1}, False)]),
    ("unevaluatedProperties sees through allOf",
     {"allOf": [{"properties": {"a": True}}], "unevaluatedProperties": False}, [({"a": 1}, True), ({"b": 1}, False)]),
    ("unevaluatedItems", {"prefixItems": [True], "unevaluatedItems": False}, [([1], True), ([1, 2], False)]),
    ("an anchor", {"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "null"}}}, [(None, True), (1, False)]),
    ("an embedded resource", {"$id": BASE + "root", "$ref": "child", "$defs": {"c": {"$id": "child", "const": 1}}}, [(1, True), (2, False)]),
    ("a recursive tree", {"$dynamicRef": "#node", "$defs": {"n": {"$dynamicAnchor": "node", "type": "object",
     "additionalProperties": {"$dynamicRef": "#node"}}}}, [({"a": {"b": {}}}, True), ({"a": {"b": 1}}, False)]),
    ("format is an annotation", {"format": "email"}, [("no address", True)]),
    ("a remote schema", {"$ref": BASE + "whole.json"}, [(1, True), ("x", False)]),
    ("false refuses all", False, [(None, False)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "schema", "cases"), SCHEMAS, ids=[name for name, _, _ in SCHEMAS])
def test_schemas_mean_what_the_draft_says(name, schema, cases):
    validator = compile_schema(schema, [(BASE + "whole.json", {"type": "integer"})])
    assert [validator.is_valid(value) for value, _ in cases] == [expected for _, expected in cases]


def test_a_schema_that_refers_to_nothing_known_is_an_error():
    with pytest.raises(ValueError, match="nowhere"):
        compile_schema({"$ref": "http://localhost:1/nowhere.json"})


def test_the_runner_takes_a_parsing_suite(tmp_path, capsys):
    folder = tmp_path / "test_parsing"
    folder.mkdir()
    for name, content in {"y_fine": b"[]", "n_bad": b"[", "i_open": b"[1e999]"}.items():
        (folder / f"{name}.json").write_bytes(content)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 disagreements (1 i_ refused, 1 n_ refused, 1 y_ accepted)\n"
    (folder / "n_wrong.json").write_bytes(b"[]")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("n_wrong.json: accepted\n1 disagreements")


def test_the_runner_takes_a_schema_suite_with_its_remotes(tmp_path, capsys):
    (tmp_path / "tests/draft2020-12").mkdir(parents=True)
    (tmp_path / "remotes").mkdir()
    (tmp_path / "remotes/whole.json").write_text('{"type": "integer"}')
    cases = [
        {"description": "an integer", "data": 1, "valid": True},
        {"description": "a text", "data": "x", "valid": False},
    ]
    group = {"description": "remote", "schema": {"$ref": BASE + "whole.json"}, "tests": cases}
    (tmp_path / "tests/draft2020-12/refRemote.json").write_text(json.dumps([group]))
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 disagreements (2 required cases)\n"
    cases[0]["valid"] = False
    (tmp_path / "tests/draft2020-12/refRemote.json").write_text(json.dumps([group]))
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("refRemote.json: remote: an integer: accepted\n")


def test_the_runner_wants_a_suite(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
