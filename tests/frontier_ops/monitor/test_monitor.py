"""What the monitor tells of a loop's files, over HTTP and on a terminal."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from frontier_ops.monitor import rounds, views
from frontier_ops.monitor.api import monitor_api
from frontier_ops.monitor.dashboard import dashboard
from frontier_ops.monitor.top import lines, snapshot


@pytest.fixture
def http(home):
    return TestClient(monitor_api(home))


def test_accuracy_is_told_by_skill_and_round_with_its_interval(http):
    binary, syllo = http.get("/api/skills").json()
    assert binary["skill"] == "binary"
    assert [(entry["round"], entry["value"], entry["n"]) for entry in binary["rounds"]] == [(1, 0.25, 4), (2, 0.75, 4)]
    assert round(binary["rounds"][1]["low"], 3) == 0.301
    assert syllo["rounds"][1]["value"] == 0.0


def test_weights_come_with_the_reason_of_each_change(http):
    binary, _ = http.get("/api/curriculum").json()
    assert (binary["tag"], binary["weight"], binary["reason"]) == ("skill=binary,level=1", 0.7, "reason 2")
    assert [entry["reason"] for entry in binary["rounds"]] == ["reason 1", "reason 2"]


def test_models_are_ranked_by_the_mean_over_skills(http):
    best, other = http.get("/api/models").json()
    assert (best["model"], best["accuracy"], best["step"], best["loss"]) == ("rounds/0002/run", 0.375, 20, 2.0)
    assert other["accuracy"] == 0.125


def test_the_queue_its_warnings_and_its_history_are_told(http):
    newest, failed = http.get("/api/jobs").json()
    assert (newest["id"], newest["state"], newest["command"]) == ("report-2", "queued", "true")
    assert (failed["state"], failed["reason"]) == ("failed", "exit code 3")
    assert http.get("/api/jobs/warnings").json()["summary"] == {"total": 0, "critical": 0, "warning": 0}
    events = [event["event"] for event in http.get("/vault/ledger").json()]
    assert events == ["submitted", "submitted", "claimed", "finished"]


def test_files_are_assets_known_by_their_digest(http):
    assets = http.get("/vault/assets", params={"name": "0001/train"}).json()
    assert [(entry["file"], entry["bytes"]) for entry in assets] == [("rounds/0001/train.jsonl", 13)]
    assert http.get(f"/vault/assets/{assets[0]['sha256'][:12]}").json() == assets[0]
    assert http.get("/vault/assets/000000").status_code == 404


def test_the_lineage_is_a_graph_of_the_files(http):
    graph = http.get("/api/lineage").json()
    assert ["rounds/0002/train.jsonl", "rounds/0002/eval.jsonl"] in graph["edges"]
    assert {node["round"] for node in graph["nodes"]} == {1, 2}


def test_the_lineage_tells_what_the_gates_refused(http, home):
    nothing = {"total": 0, "passed": 0, "failed": 0, "fail_rate": 0.0, "top_reasons": {}}
    assert http.get("/api/lineage").json()["summary"] == nothing
    tally = {"total": 4, "passed": 3, "failed": 1, "fail_rate": 0.25, "top_reasons": {"empty": 1}}
    path = home / "status/data_lineage.json"
    path.write_text(json.dumps({"schema": "data_lineage_v1", "summary": tally, "generators": {"binary@2.0.0": tally}}))
    told = http.get("/api/lineage").json()
    assert (told["summary"], told["generators"]) == (tally, {"binary@2.0.0": tally})


def test_a_job_can_be_queued_and_a_bad_one_is_refused(http):
    made = http.post("/vault/jobs", json={"type": "report", "argv": ["true"], "priority": "high"})
    assert (made.status_code, made.json()["id"]) == (201, "report-3")
    assert http.get("/vault/jobs/report-3").json()["state"] == "queued"
    assert http.get("/vault/jobs/report-99").status_code == 404
    refused = http.post("/vault/jobs", json={"type": "reprot", "argv": ["true"]})
    assert (refused.status_code, refused.json()["detail"].split(" did")[0]) == (400, "unknown job type 'reprot'")
    assert http.post("/vault/jobs", json={"type": "report", "argv": []}).status_code == 422


def test_prometheus_gets_figures(http):
    text = http.get("/metrics").text
    assert 'frontier_jobs{state="failed"} 1.0' in text
    assert 'frontier_skill_accuracy_ratio{skill="binary"} 0.75' in text
    assert 'frontier_weight_ratio{tag="skill=binary,level=1"} 0.7' in text
    assert "frontier_daemon_up 0.0" in text


def test_an_empty_folder_has_empty_views_and_no_errors(tmp_path):
    http = TestClient(monitor_api(tmp_path))
    for name in http.get("/api").json():
        answer = http.get(f"/api/{name}")
        assert (name, answer.status_code, "error" in answer.text) == (name, 200, False)
    assert http.get("/api/nonsense").status_code == 404
    assert list(tmp_path.iterdir()) == []


def test_a_view_that_fails_does_not_take_the_others_down(home, monkeypatch):
    def broken(_):
        raise RuntimeError("boom")

    monkeypatch.setitem(views.VIEWS._builtin, "mine", "tests.nowhere:nothing")
    monkeypatch.setattr(type(views.VIEWS), "get", lambda _, name: broken if name == "mine" else views.jobs)
    assert views.view("mine", home) == {"error": "RuntimeError: boom", "hint": "the view mine failed"}
    assert len(views.view("jobs", home)) == 2


def test_half_written_files_are_passed_over(home):
    path = home / "rounds/0002/eval.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    assert [len(entry["rounds"]) for entry in rounds.skills(home)] == [1, 1]


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere(home):
    http = TestClient(dashboard(home, model_url="http://127.0.0.1:9"))
    page = http.get("/")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert re.findall(r"(?:src|href)=\"(?!data:)", page.text) == []
    answer = http.post("/chat", json={"question": "What is 3 + 5?"})
    assert answer.status_code == 502


def test_the_picture_fits_a_terminal_of_80_by_24(home):
    picture = lines(snapshot(home), width=80, height=24)
    assert len(picture) <= 24
    assert max(map(len, picture)) <= 80
    assert picture[0] == "frontier  not running  between rounds  1 queued, 1 failed"
    assert "binary                ########..  75.0% +     70.0%" in picture
    assert "report-1         failed     true" in picture
