"""Answers in their own prompts are found, and what only looks like one is not."""

from __future__ import annotations

import pytest

from validators.contradictions import contradictions
from validators.leakage import leaks

LONG = "The river bends twice before it meets the old stone bridge, and there the miller keeps his boats all winter."


def chat(prompt: str, answer: str, *, system: str = "") -> dict:
    turns = [{"role": "system", "content": system}] if system else []
    turns += [{"role": "user", "content": prompt}, {"role": "assistant", "content": f"🤔🤔🤔🤔\n{answer}"}]
    return {"messages": turns, "metadata": {"skill": "x"}}


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Repeat: the quick brown fox", "the quick brown fox"),
        ("Say it.\nTHE  QUICK, BROWN -- FOX runs", "The quick brown fox runs."),
        ("Run `find . -name '*.tmp' -delete`", "find . -name '*.tmp' -delete"),
        ("What is 6 * 7? The answer is 42.", "42"),
        ("What is 6 * 7? (Answer: 42)", "So 6 * 7 = 42.\n#### 42"),
        ("What is 6 * 7?\nExpected output: **42**", "42."),
        ("Capital of France? Hint: the correct answer is 'Paris'.", "Paris"),
        ("Is it so? The solution -> yes; explain nothing.", "Yes"),
        ("Solve. result = 17", r"Adding up gives \boxed{17}"),
    ],
)
def test_an_answer_in_the_prompt_is_a_leak(prompt: str, answer: str) -> None:
    (found,) = leaks(chat(prompt, answer))
    assert (found.code, found.severity, found.pointer) == ("answer_leak", "error", "/messages/1/content")


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("What is 6 * 7?", "42"),
        ("I have 42 apples and buy 1. How many?", "43"),
        ("There are 42 of them. How many are there?", "42"),
        ("Which?\nA) a very long first option\nB) a very long second option", "a very long second option"),
        ("Which?\nA) a very long first option\nB) a very long second option", "B) a very long second option"),
        ("Question: 2+2?\nAnswer: 4\n\nQuestion: 1+3?\nAnswer:", "4"),
        ("If it rains, the answer is no. Otherwise, the answer is yes. It rains.", "no"),
        ("Reply with a label: positive or negative. Answer: yes or no.", "yes"),
        ("Proposed answer: 5. Is it right? Give the right answer.", "5"),
        ("A student's answer is 12. Grade it.", "12"),
        ("The answer is 421. Sure?", "42"),
        ("Nothing here", ""),
    ],
)
def test_what_only_looks_like_a_leak_is_none(prompt: str, answer: str) -> None:
    assert list(leaks(chat(prompt, answer))) == []


def test_a_leak_in_the_system_turn_counts() -> None:
    (found,) = leaks(chat("And?", LONG, system=f"You know this: {LONG}"))
    assert found.code == "answer_leak"


def test_most_of_a_long_answer_in_the_prompt_is_a_warning() -> None:
    edited = LONG.replace("twice", "once")
    (found,) = leaks(chat(f"Mend this: {LONG}", edited))
    assert (found.code, found.severity, found.message) == (
        "answer_overlap", "warning", "80% of the answer stands in the prompt",
    )  # fmt: skip


def test_plans_pairs_and_rewards_are_read_too() -> None:
    plan = {"instruction": "Run rm -rf build/cache now", "output": [{"command": "rm -rf build/cache"}]}
    pair = {"prompt": f"Copy: {LONG}", "chosen": LONG, "rejected": "no"}
    assert [next(leaks(record)).pointer for record in (plan, pair)] == ["/output", "/chosen"]
    assert list(leaks({"text": LONG})) == []
    assert list(leaks({"messages": [{"role": "user", "content": LONG}]})) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Please use <think> tags.", "contradicts_system"),
        ("Think step by step inside <think>...</think> first", "contradicts_system"),
        ("Could you put your reasoning between <think> and </think>?", "contradicts_system"),
        ("Show your work in think tags", "contradicts_system"),
        ("Answer without any emoji.", "contradicts_prefix"),
    ],
)
def test_a_turn_that_asks_for_what_is_forbidden_contradicts(text: str, code: str) -> None:
    for record in (chat(text, "ok"), chat("Hi", "ok", system=text)):
        assert [found.code for found in contradictions(record, "emoji_think")] == [code]
        assert list(contradictions(record, "plain")) == []


@pytest.mark.parametrize(
    "text",
    [
        "Do not use <think> tags.",
        "You no longer use <think> or write </think>.",
        "What does it mean to use <think> tags?",
        "I think that tags are useful.",
        "Explain how models write <think> blocks.",
        "Use emoji freely.",
    ],
)
def test_a_turn_that_mentions_or_forbids_it_does_not(text: str) -> None:
    assert list(contradictions(chat(text, "ok"), "emoji_think")) == []


def test_a_plan_that_asks_for_think_blocks_is_pointed_at() -> None:
    (found,) = contradictions({"instruction": "Use <think> here", "output": []}, "regime3")
    assert found.pointer == "/instruction"
