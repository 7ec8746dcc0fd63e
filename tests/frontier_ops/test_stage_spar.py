"""A model's mistakes become records: three each, of this checkpoint, about problems of the training split."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from frontier_core.domains import Domain
from frontier_ops.answering import Model
from frontier_ops.stage_files import Target
from frontier_ops.stage_spar import Bout, session_checkpoint, session_time, spar
from generators.synth import Request
from generators.teachers.wire import parse_teacher
from validators.schema_gate import SchemaGate

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from llm_server import Server, serving


@pytest.fixture
def bout(monkeypatch, tmp_path):
    """A bout over four problems against a model that says 10 to everything, the answer to the first alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Server, "answer", lambda self, api, body, *_: api.answer(body, "10", "stop", 1, 1))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    requests = [Request(domain=Domain(name="a", skill="binary", levels=(1,)), level=1, count=4)]

    def run(form="sparring", output="out.jsonl"):
        with serving() as server:
            model = Model(run_id="r7", step=40, endpoint=parse_teacher(f"openai:m@{server.url}"))
            result = spar(Bout(model=model, requests=requests, form=form, profile="plain"), Target(output=output))
        return result, [json.loads(line) for line in Path(output).read_text().splitlines()]

    return run


def test_each_mistake_gives_three_records_and_a_right_answer_none(bout):
    result, records = bout()
    assert (result.num_in, result.report["num_mistakes"], result.num_out) == (4, 3, 9)
    assert [record["type"].removeprefix("sparring_") for record in records[:3]] == [
        "identify_incorrect",
        "correction",
        "confirm_correct",
    ]
    identify, correction, confirm = (record["messages"] for record in records[:3])
    assert "Proposed answer:\n10\n" in identify[0]["content"]
    assert identify[1]["content"] == "It is incorrect."
    assert correction[0]["content"].endswith("This answer is incorrect. Give the right answer.")
    assert confirm[1]["content"] == "It is correct."


def test_the_confirmed_pair_is_of_another_problem_and_never_the_same_twice(bout):
    _, records = bout()
    confirmed = [record["messages"][0]["content"] for record in records if record["type"].endswith("confirm_correct")]
    assert len(set(confirmed)) == len(confirmed) == 3
    for identify, confirm in zip(records[::3], records[2::3], strict=True):
        assert identify["metadata"]["problem"] != confirm["metadata"]["problem"]


def test_records_say_whose_mistake_they_are_and_pass_the_gate(bout):
    _, records = bout()
    for record in records:
        assert SchemaGate().check(record)[1] == ()
        metadata = record["metadata"]
        assert (metadata["skill"], metadata["level"], metadata["priority"]) == ("binary", 1, "high")
        assert (metadata["generator_id"], metadata["generator_version"]) == ("sparring", "1.0.0")
        assert metadata["session_checkpoint"] == "r7/checkpoint-40"
        assert metadata["session_timestamp"] == "2023-11-14T22:13:20+00:00"
        assert metadata["problem"]["generator_id"] == "binary"


def test_a_mistake_makes_a_preference_pair_too(bout):
    _, records = bout("preference")
    assert len(records) == 3
    for record in records:
        assert SchemaGate().check(record)[1] == ()
        assert record["rejected"] == [{"role": "assistant", "content": "10"}]
        assert record["chosen"][0]["content"] not in ("", "10")


def test_nothing_is_left_beside_the_output(bout, tmp_path):
    bout()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.meta.json"]
    meta = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert meta["params"]["mistakes"] == {"wrong_answer": 3}


def test_a_bare_model_is_named_by_itself(monkeypatch):
    assert session_checkpoint(Model(run_id="tiny")) == "tiny"
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert session_time().endswith("+00:00")
