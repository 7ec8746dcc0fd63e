"""Questions to folders and endpoints: many at a time, never twice, and what was answered before a crash is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from frontier_core.domains import Domain
from frontier_core.errors import ServiceError, ServiceUnavailable
from frontier_ops import answering
from frontier_ops.answering import Model, answer_all, identify
from frontier_ops.evaluation import eval_requests, evaluate, journal_path, tally_cells
from generators.teachers.journal import Journal
from generators.teachers.wire import parse_teacher

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from llm_server import serving

BINARY = Domain(name="a", skill="binary", levels=(1, 2))


def endpoint(server, **settings):
    return Model(run_id="m", endpoint=parse_teacher(f"openai:m@{server.url}"), **settings)


def ask(model, texts, journal):
    turns = [[{"role": "user", "content": text}] for text in texts]
    return answer_all(model, turns, [64] * len(texts), profile="plain", journal=journal)


def test_an_endpoint_is_asked_many_at_a_time_and_answers_stay_in_order():
    texts = [f"number {index} @say{{{index}}}@" for index in range(24)]
    with serving(latency_s=0.05) as server, Journal(None) as journal:
        assert ask(endpoint(server, concurrency=8), texts, journal) == [f"{{{index}}}" for index in range(24)]
        assert server.num_requests == 24
        assert server.max_in_flight >= 4
        assert {body["temperature"] for body in server.bodies} == {0.0}


def test_what_was_answered_before_a_crash_is_not_asked_again(tmp_path):
    texts = [f"number {index} @say{{{index}}}@" for index in range(8)]
    with serving() as server:
        with Journal(tmp_path / "j") as journal:
            ask(endpoint(server), texts[:5], journal)
        # the rest of a line that a kill cut short
        with (tmp_path / "j").open("ab") as file:
            file.write(b'{"key":"00')
        with Journal(tmp_path / "j") as journal:
            assert ask(endpoint(server), texts, journal) == [f"{{{index}}}" for index in range(8)]
        assert server.num_requests == 8


def test_answers_of_another_endpoint_are_no_answers_of_this_one(tmp_path):
    with serving() as first, serving() as second, Journal(tmp_path / "j") as journal:
        ask(endpoint(first), ["hello"], journal)
        ask(endpoint(second), ["hello"], journal)
        assert (first.num_requests, second.num_requests) == (1, 1)


def test_a_refused_question_ends_the_evaluation_and_keeps_the_others(tmp_path):
    with serving() as server, Journal(tmp_path / "j") as journal:
        with pytest.raises(ServiceError):
            ask(endpoint(server, concurrency=1), ["one @say{1}@", "two @404"], journal)
        assert len(journal) == 1


def test_an_evaluation_of_an_endpoint_judges_like_one_of_a_folder():
    with serving() as server:
        items = list(evaluate(endpoint(server), eval_requests([BINARY], 3), seed=0))
    assert {item["run_id"] for item in items} == {"m"}
    cells = tally_cells(items)
    assert {tag: stats.trials for tag, stats in cells.items()} == {"skill=binary,level=1": 3, "skill=binary,level=2": 3}


def test_names_of_models_are_told_apart():
    assert answering.is_endpoint("openai:m@http://127.0.0.1:1")
    assert answering.is_endpoint("http://127.0.0.1:1")
    assert not answering.is_endpoint("run/checkpoint-3")
    assert identify("openai:qwen@http://127.0.0.1:1").run_id == "qwen"
    with pytest.raises(ServiceUnavailable):
        identify("http://127.0.0.1:9")


def test_answers_are_kept_beside_a_file_output_only(tmp_path):
    assert journal_path("", "-") is None
    assert journal_path("", "/dev/null") is None
    assert journal_path("", str(tmp_path / "e.jsonl")) == tmp_path / "e.jsonl.answers"
    assert journal_path("j", "-") == Path("j")


@pytest.mark.torch
def test_a_local_evaluation_goes_on_after_a_crash(tiny_model, tmp_path, monkeypatch):
    from trainer import generate

    model, requests, journal = identify(tiny_model), eval_requests([BINARY], 2), tmp_path / "e.answers"
    whole = list(evaluate(model, requests, seed=0))
    real = generate._greedy
    calls = []

    def crash(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(generate, "_greedy", crash)
    monkeypatch.setattr(
        generate.generate_answers, "__kwdefaults__", {**generate.generate_answers.__kwdefaults__, "batch_size": 2}
    )
    with pytest.raises(KeyboardInterrupt):
        list(evaluate(model, requests, seed=0, journal=journal))
    asked = len(calls)
    notes = []
    assert list(evaluate(model, requests, seed=0, journal=journal, on_note=notes.append)) == whole
    assert len(calls) == asked + 1
    assert notes == [f"{journal}: 2 answers from before"]
