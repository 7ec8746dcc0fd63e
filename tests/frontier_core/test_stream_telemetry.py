"""`submit_telemetry`: what a loop pushes can be read by the loop's next step."""

import json
import math

import jsonschema_rs
import pytest

from curriculum.ingest import read_telemetry
from frontier_core.errors import ConfigError
from frontier_core.schemas import load_schema
from frontier_core.stream import submit_telemetry


def test_what_is_submitted_is_telemetry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = submit_telemetry(
        {
            "run_id": "run-1",
            "metrics": {"loss": 1.5},
            "tag_stats": {
                "skill=binary,level=1": {"loss": 0.5, "accuracy": {"trials": 8, "successes": 6}},
                "skill=syllo,level=2": {"loss": {"n": 4, "sum": 6.0, "sum_sq": 9.5, "tokens": 120}},
            },
            "step": 40,
        }
    )
    submit_telemetry({"run_id": "run-1", "metrics": {}, "tag_stats": {}})
    submit_telemetry({"run_id": "run-1", "metrics": {"loss": 1.0}, "step_from": 41, "step_to": 50, "round": 2})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        assert jsonschema_rs.is_valid(load_schema("telemetry_v1"), line)
    about = {"run_id": "run-1", "step_from": 40, "step_to": 40, "source": "submit_telemetry"}
    assert lines[0] == {**about, "tag": "all", "metric": "loss", "n": 1, "sum": 1.5, "sum_sq": 2.25}
    assert lines[2] == {
        **about, "tag": "skill=binary,level=1", "metric": "accuracy", "n": 8, "sum": 0.0, "sum_sq": 0.0,
        "successes": 6, "trials": 8,
    }  # fmt: skip
    assert lines[4]["round"] == 2
    assert [line.key.tag for line in read_telemetry(path)] == [line["tag"] for line in lines]


@pytest.mark.parametrize(
    ("telemetry", "says"),
    [
        ({}, "run_id must be a text"),
        ({"run_id": "a", "metric": {}}, "unknown key 'metric'"),
        ({"run_id": "a", "metrics": {"loss": math.nan}}, "all loss: nan is no finite number"),
        ({"run_id": "a", "metrics": {"loss": True}}, "True is no finite number"),
        ({"run_id": "a", "tag_stats": {"t": 3}}, "'t' must be a tag with metrics"),
        ({"run_id": "a", "tag_stats": {"t": {"loss": {"mean": 3}}}}, "unknown key 'mean'"),
        ({"run_id": "a", "step": -1}, "step must be a whole number"),
    ],
)
def test_what_is_no_telemetry_is_refused_whole(tmp_path, telemetry, says):
    with pytest.raises(ConfigError, match=says):
        submit_telemetry(telemetry, path=tmp_path / "t.jsonl")
    assert not (tmp_path / "t.jsonl").exists()
