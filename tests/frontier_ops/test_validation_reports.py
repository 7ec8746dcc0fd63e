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
