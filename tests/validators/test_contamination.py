"""Held-out problems are found in training records in any setting; templates and chance are no contamination."""

from __future__ import annotations

import random

import pytest

from validators.contamination import HeldOut, Overlap, question_of, undressed_text

WORDS = [f"word{number}" for number in range(3000)]
QUESTION = (
    "A farmer sells 12 eggs a day at the market on Elm Street for 3 coins; how many coins does he earn in 9 days?"
)


def chat(prompt: str, answer: str = "It is so.", system: str = "") -> dict:
    turns = [{"role": "system", "content": system}] if system else []
    return {"messages": [*turns, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def compare(held: list[dict], train: list[dict]) -> list[Overlap]:
    index = HeldOut()
    for line, record in enumerate(held, 1):
        index.add(record, "eval.jsonl", line)
    found = index.build()
    found.see([undressed_text(record) for record in train], [question_of(record) for record in train])
    return found.overlaps()


def prose(rng: random.Random, num: int) -> str:
    return " ".join(rng.choices(WORDS, k=num))


EDITED = QUESTION.replace("farmer", "grocer").replace("Elm Street", "Oak Street")


@pytest.mark.parametrize(
    ("record", "how", "share"),
    [
        (chat(QUESTION, "324"), "whole", 1.0),
        (chat(QUESTION.upper().replace(";", " ; ")), "whole", 1.0),
        (chat(f"Consider this. {QUESTION} Explain at length, please."), "ngram", 1.0),
        (chat("Tell me a riddle.", f"Here is one: {QUESTION}"), "ngram", 1.0),
        (chat(f"{QUESTION[:60]} By the way: {QUESTION[60:]}"), "ngram", 1.0),
        (chat(EDITED), "ngram", 0.89),
        ({"text": f"Exam. {QUESTION} Solution: 324"}, "ngram", 1.0),
        ({"instruction": QUESTION, "output": [{"command": "true"}]}, "whole", 1.0),
        ({"prompt": QUESTION, "chosen": "a", "rejected": "b"}, "whole", 1.0),
    ],
)
def test_a_held_out_problem_is_found(record: dict, how: str, share: float) -> None:
    (found,) = compare([chat("Something else entirely."), chat(QUESTION, "324")], [chat("Unlike it."), record])
    assert (found.number, found.item.path, found.item.line, found.how) == (1, "eval.jsonl", 2, how)
    assert found.share == pytest.approx(share, abs=0.005)


def test_an_edited_copy_of_problem_and_answer_is_a_near_duplicate() -> None:
    rng = random.Random(1)
    question, answer = prose(rng, 30).split(), prose(rng, 60)
    question[3::5] = ["changed"] * len(question[3::5])  # no five words in a row are left
    (found,) = compare([chat(" ".join(w for w in question), answer)], [chat(prose(rng, 30), answer)])
    assert found.item.part == "answer"


@pytest.mark.parametrize(
    "prompt",
    [
        "A farmer sells 12 eggs a day. What does he sell?",
        "On Elm Street for 3 coins; how many coins does he earn?",
        "What is the capital of Germany?",
        "3 + 4 + 5?",
        "",
    ],
)
def test_a_shared_phrase_is_no_contamination(prompt: str) -> None:
    held = [chat(QUESTION), chat("What is the capital of France?"), chat("3 + 4?")]
    assert compare(held, [chat(prompt)]) == []


def test_short_problems_must_be_there_completely_and_very_short_ones_alone() -> None:
    held = [chat("What is the capital of France?"), chat("3 + 4?")]
    train = [chat("Quiz: what is the capital of France? Quick."), chat("Add 3 + 4? Yes."), chat("3+4?")]
    assert [(found.number, found.how) for found in compare(held, train)] == [(0, "ngram"), (2, "whole")]


def test_a_shared_system_prompt_is_no_contamination() -> None:
    system = "You are a careful assistant that answers in one short sentence and never makes anything up at all."
    assert compare([chat("Why is the sky blue?", system=system)], [chat("Who painted it?", system=system)]) == []


TEMPLATE = (
    "You are given a list of numbers. Sort them from low to high and print them with commas. The numbers: {}. Begin."
)


@pytest.mark.parametrize("num_held", [3, 60])
def test_a_template_is_no_contamination_but_the_same_problem_is(num_held: int) -> None:
    rng = random.Random(2)
    numbers = [" ".join(str(rng.randrange(1000)) for _ in range(6)) for _ in range(num_held + 300)]
    held = [chat(TEMPLATE.format(text)) for text in numbers[:num_held]]
    train = [chat(TEMPLATE.format(text)) for text in numbers[num_held:]]
    train[7] = chat("Please! " + TEMPLATE.format(numbers[1]))
    assert [(found.number, found.item.line) for found in compare(held, train)] == [(7, 2)]


def test_a_problem_copied_into_many_records_is_found_in_all() -> None:
    train = [chat(f"Number {number}: {QUESTION} And then?") for number in range(40)]
    assert [found.number for found in compare([chat(QUESTION)], train)] == list(range(40))


def test_a_clean_set_gives_none() -> None:
    rng = random.Random(3)
    held = [chat(prose(rng, 25), prose(rng, 60)) for _ in range(200)]
    assert compare(held, [chat(prose(rng, 40), prose(rng, 40)) for _ in range(1500)]) == []


def test_nothing_held_out_nothing_found() -> None:
    assert compare([], [chat(QUESTION)]) == []
    assert compare([chat("")], [chat("", "Yes."), {"messages": []}]) == []


def test_only_user_turns_ask_and_profiles_are_taken_off() -> None:
    record = chat("Q?", "🤔🤔🤔🤔\nA.", system="S.")
    assert question_of(record) == "Q?"
    assert undressed_text(record) == "Q?\nA."
