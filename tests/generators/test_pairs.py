"""Pairs are made only of answers to the same problem, and say why the worse one failed."""

from __future__ import annotations

from typing import Any

import pytest

from frontier_core.errors import DataError
from frontier_core.jsonl import dumps
from generators.pairs import Failures, answered, preferences, sparring
from validators.schema_gate import SchemaGate

EMOJI = "\U0001f914" * 4 + "\n"


def plan(command: str, *, instruction: str = "Count the lines.", text: str = "a\n") -> dict[str, Any]:
    return {
        "instruction": instruction,
        "output": [{"command": command}],
        "fixture": {"files": {"f": {"text": text}}},
        "metadata": {"skill": "shell_text_processing", "level": 1},
    }


def chat(asked: str, answer: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "metadata": {"skill": "binary", "level": 1}}


def failures(*lines: dict[str, Any]) -> Failures:
    held = Failures()
    for line in lines:
        held.add(line)
    return held


def rejected(record: dict[str, Any], code: str) -> dict[str, Any]:
    return {"path": "c.jsonl", "line": 3, "code": code, "message": "", "raw": dumps(record).decode()}


def test_verified_plan_stands_above_the_one_that_failed() -> None:
    held = failures(rejected(plan("wc -c f"), "wrong_stdout"))
    pairs = list(preferences([answered(plan("wc -l < f"))], held, profile="emoji_think"))
    assert pairs == [
        {
            "prompt": [{"role": "user", "content": "Count the lines."}],
            "chosen": [{"role": "assistant", "content": EMOJI + 'EXECUTING_PLAN: [{"command":"wc -l < f"}]'}],
            "rejected": [{"role": "assistant", "content": EMOJI + 'EXECUTING_PLAN: [{"command":"wc -c f"}]'}],
            "metadata": {"skill": "shell_text_processing", "level": 1, "rejected_because": "wrong_stdout"},
        }
    ]
    assert SchemaGate().check(pairs[0])[1] == ()


def test_same_words_in_another_world_are_another_problem() -> None:
    held = failures(rejected(plan("wc -c f", text="b\n"), "wrong_stdout"))
    assert list(preferences([answered(plan("wc -l < f"))], held, profile="plain")) == []


def test_candidate_that_was_never_judged_is_no_mistake() -> None:
    held = failures(rejected(plan("wc -c f"), "sandbox_error"))
    assert list(preferences([answered(plan("wc -l < f"))], held, profile="plain")) == []


def test_answer_equal_to_the_right_one_is_no_mistake_and_each_text_counts_once() -> None:
    wrong = [chat("2+2?", "5"), chat("2+2?", EMOJI + "5"), chat("2+2?", "4"), chat("2+2?", "3")]
    right = answered(chat("2+2?", EMOJI + "4"))
    pairs = list(preferences([right], failures(*wrong), profile="plain", most=9))
    assert [pair["rejected"][0]["content"] for pair in pairs] == ["5", "3"]


def test_sparring_gives_three_records_a_mistake() -> None:
    held = failures(rejected(chat("3+3?", "7"), "wrong_answer"))
    records = list(sparring([answered(chat("2+2?", "4")), answered(chat("3+3?", "6"))], held, profile="plain"))
    shown = [(r["type"], r["messages"][0]["content"], r["messages"][1]["content"]) for r in records]
    assert shown == [
        (
            "sparring_identify_incorrect",
            "3+3?\n\nProposed answer:\n7\n\nIs this answer correct?",
            "It is incorrect.",
        ),
        (
            "sparring_correction",
            "3+3?\n\nProposed answer:\n7\n\nThis answer is incorrect. Give the right answer.",
            "6",
        ),
        ("sparring_confirm_correct", "2+2?\n\nProposed answer:\n4\n\nIs this answer correct?", "It is correct."),
    ]
    assert all(SchemaGate().check(record)[1] == () for record in records)


def test_record_without_an_answer_is_refused() -> None:
    with pytest.raises(DataError, match="does not end in an answer"):
        answered({"messages": [{"role": "user", "content": "a"}], "metadata": {"skill": "x"}})
