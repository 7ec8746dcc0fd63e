"""A skill over HTTP: the bytes of `synth gen`, verdicts, and what it says of wrong requests."""

from __future__ import annotations

import json
import threading

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from frontier_core.errors import ServiceHttpError, UsageError
from frontier_ops.hosts import Service
from frontier_ops.services import ServiceClient
from frontier_ops.skill_service import SkillClient, SkillService
from frontier_ops.web import Guarded, serve_app


def no_sandbox():
    raise AssertionError("nothing here needs a sandbox")


@pytest.fixture
def http():
    return TestClient(SkillService("binary", no_sandbox).app())


def test_it_says_what_it_serves(http):
    assert http.get("/health").json() == {"status": "ok", "skill": "binary"}
    assert http.get("/info").json()["levels"] == [1, 2, 3, 4, 5, 6, 7]
    levels = http.get("/levels").json()["levels"]
    assert [entry["level"] for entry in levels] == [1, 2, 3, 4, 5, 6, 7]
    assert all(entry["capacity"] > 0 for entry in levels)


def test_the_same_request_gives_the_bytes_of_synth_gen(http, tmp_path, monkeypatch):
    from frontier_cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.yaml").write_text("domains:\n  - {name: binary, skill: binary, levels: [2], weight: 1.0}\n")
    assert main(["synth", "gen", "--domains", "d.yaml", "-n", "20", "--seed", "7", "-o", "here.jsonl"]) == 0
    answer = http.post("/generate", json={"level": 2, "count": 20, "seed": 7})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.content == (tmp_path / "here.jsonl").read_bytes()


def test_a_right_answer_is_correct_and_a_wrong_one_is_not(http):
    record = json.loads(http.post("/generate", json={"count": 1, "seed": 3}).text)
    right = record["messages"][-1]["content"]
    assert http.post("/eval", json={"record": record, "answer": right}).json()["correct"] is True
    wrong = http.post("/eval", json={"record": record, "answer": right + "9"}).json()
    assert wrong["correct"] is False
    assert wrong["code"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/generate", {"level": 99}, "binary has no level 99"),
        ("/generate", {"count": 0}, "count is 0; it must be 1 to 10000"),
        ("/generate", {"cuont": 1}, "unknown key 'cuont'"),
        ("/generate", {"seed": "x"}, "seed must be of type int"),
        ("/generate", {"split": "test"}, "unknown split 'test'"),
        ("/eval", {"answer": "1"}, "needs a record and an answer"),
        ("/eval", {"record": {"metadata": {"skill": "syllo"}}, "answer": "1"}, "the record is not of the skill binary"),
        ("/eval", {"record": {"metadata": {"skill": "binary"}}, "answer": "1"}, "the record can't be judged"),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(http, path, body, message):
    answer = http.post(path, json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_body_that_is_no_json_object_is_refused(http):
    assert http.post("/generate", content=b"[1]").status_code == 400
    assert http.post("/generate", content=b"{").status_code == 400


def test_a_token_is_asked_for_everywhere_but_at_the_health_check():
    http = TestClient(Guarded(SkillService("binary", no_sandbox).app(), "secret"))
    assert http.get("/health").status_code == 200
    assert http.get("/info").status_code == 401
    assert http.get("/info", headers={"Authorization": "Bearer secret"}).status_code == 200
    assert http.get("/info?token=secret").status_code == 200
    assert http.get("/levels").status_code == 200  # the cookie of the request before


def test_strangers_are_not_let_in_without_a_token():
    with pytest.raises(UsageError, match="anybody could reach that"):
        serve_app(SkillService("binary", no_sandbox).app(), host="0.0.0.0", port=0)


def test_the_client_gets_records_and_verdicts_over_a_real_connection():
    ready, url = threading.Event(), []

    def on_ready(address):
        url.append(address)
        ready.set()

    app = SkillService("binary", no_sandbox).app()
    threading.Thread(
        target=serve_app, args=[app], kwargs={"host": "127.0.0.1", "port": 0, "on_ready": on_ready}, daemon=True
    ).start()
    assert ready.wait(240)
    with ServiceClient(Service(name="skill", url=url[0])) as http:
        client = SkillClient(http)
        records = client.records(level=1, count=5, seed=1)
        assert [record["metadata"]["index"] for record in records] == sorted(
            record["metadata"]["index"] for record in records
        )
        assert client.info()["skill"] == "binary"
        assert client.evaluate(records[0], records[0]["messages"][-1]["content"])["correct"] is True
        with pytest.raises(ServiceHttpError) as error:
            client.records(level=99, count=1, seed=1)
        assert error.value.status == 400
