import json

import pytest

from frontier_core.jsonl import dumps
from frontier_ops.stage_validate import validate, write_reports
from validators.base import GateSettings

GOOD = {
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    "metadata": {"skill": "<b>"},
}
BAD = {**GOOD, "messages": [{"role": "User", "content": "q"}, GOOD["messages"][1]]}


@pytest.fixture
def report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in data.jsonl").write_bytes(dumps(GOOD) + b"\n" + dumps(BAD) + b"\n{\n")
    return validate("in data.jsonl", None, settings=GateSettings(level="quick", profile="plain")).report


def test_sarif_has_a_rule_per_code_and_a_place_per_result(report, tmp_path):
    write_reports(report, sarif="out.sarif")
    log = json.loads((tmp_path / "out.sarif").read_text())
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["invalid_json", "missing_turn", "wrong_role"]
    first, _, last = run["results"]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("wrong_role", 2, "error")
    assert first["locations"][0] == {
        "physicalLocation": {"artifactLocation": {"uri": "in%20data.jsonl"}, "region": {"startLine": 2}},
        "logicalLocations": [{"fullyQualifiedName": "/messages/0/role", "kind": "value"}],
    }
    assert last["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}


def test_the_page_escapes_what_the_data_says_and_shows_every_count(report, tmp_path):
    write_reports(report, html="out.html")
    page = (tmp_path / "out.html").read_text()
    assert "<h1>1 of 3 records pass</h1>" in page
    assert "skill=&lt;b&gt;" in page
    assert "<b>" not in page
    assert "wrong_role" in page
    assert "invalid_json" in page
    assert "<script" not in page


TEXT = {
    "type": "object",
    "required": ["text"],
    "additionalProperties": False,
    "properties": {"text": {"type": "string"}},
}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
ARTIFACT = {"type": "object", "additionalProperties": False, "properties": {"uri": {"type": "string"}}}
SARIF_AS_WE_WRITE_IT = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "pattern": "sarif-2\\.1\\.0"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/run"}},
    },
    "$defs": {
        "run": {
            "type": "object",
            "required": ["tool", "results"],
            "additionalProperties": False,
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "additionalProperties": False,
                    "properties": {"driver": {"$ref": "#/$defs/toolComponent"}},
                },
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "artifacts": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/artifact"}},
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
                "properties": {"type": "object"},
            },
        },
        "toolComponent": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "rules": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/reportingDescriptor"}},
            },
        },
        "reportingDescriptor": {
            "type": "object",
            "required": ["id"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "string"},
                "shortDescription": TEXT,
                "help": TEXT,
                "defaultConfiguration": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"level": LEVEL},
                },
            },
        },
        "artifact": {"type": "object", "additionalProperties": False, "properties": {"location": ARTIFACT}},
        "result": {
            "type": "object",
            "required": ["message"],
            "additionalProperties": False,
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": -1},
                "level": LEVEL,
                "message": TEXT,
                "locations": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/location"}},
            },
        },
        "location": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "physicalLocation": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "artifactLocation": ARTIFACT,
                        "region": {
                            "type": "object",
                            "required": ["startLine"],
                            "additionalProperties": False,
                            "properties": {"startLine": {"type": "integer", "minimum": 1}},
                        },
                    },
                },
                "logicalLocations": {
                    "type": "array",
                    "uniqueItems": True,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"fullyQualifiedName": {"type": "string"}, "kind": {"type": "string"}},
                    },
                },
            },
        },
    },
}
"""The objects of SARIF 2.1.0 (OASIS) that we write: those names, types and demands of the standard, no others."""


@pytest.mark.parametrize("level", ["quick", "standard"])
def test_sarif_keeps_to_the_structure_of_the_standard(report, tmp_path, level):
    import jsonschema_rs

    (tmp_path / "many.jsonl").write_bytes(dumps(GOOD) + b"\n" + dumps(GOOD) + b"\n{\n")
    again = validate("many.jsonl", None, settings=GateSettings(level=level, profile="plain")).report
    for number, told in enumerate((report, again)):
        write_reports(told, sarif=f"{number}.sarif")
        log = json.loads((tmp_path / f"{number}.sarif").read_text())
        errors = jsonschema_rs.validator_for(SARIF_AS_WE_WRITE_IT).iter_errors(log)
        assert [(list(error.instance_path), error.message) for error in errors] == []
        for result in log["runs"][0]["results"]:
            assert log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
