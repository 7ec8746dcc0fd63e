import pytest

from frontier_core.profiles import EMOJI_PREFIX
from validators.skills.discrimination import verify


def claim(proposal, question="What is 7 + 5?"):
    return f"Question: {question}\nProposed answer: {proposal}\nIs it right? Reply CORRECT or INCORRECT."


def record(*texts):
    return {
        "messages": [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    }


def corrected(proposal="13", verdict="INCORRECT", follow_up="What is the right answer?"):
    return record(claim(proposal), EMOJI_PREFIX + verdict, follow_up, EMOJI_PREFIX + "12")


@pytest.mark.parametrize(
    ("question", "proposal", "word"),
    [
        ("What is 7 + 5?", "12", "CORRECT"),
        ("What is 7 + 5?", "13", "INCORRECT"),
        ("What is 7 + 5?", "012", "INCORRECT"),
        ("Write 5 in binary.", "101", "CORRECT"),
        ("Write 5 in binary.", "111", "INCORRECT"),
        ("What comes next? 2, 4, 6, 8, 10, 12", "14", "CORRECT"),
        ("What comes next? 2, 4, 6, 8, 10, 12", "16", "INCORRECT"),
    ],
)
def test_the_proposal_is_compared_with_the_solution(question, proposal, word):
    other = {"CORRECT": "INCORRECT", "INCORRECT": "CORRECT"}[word]
    assert verify(record(claim(proposal, question)), word).ok
    verdict = verify(record(claim(proposal, question)), other)
    assert verdict.code == "wrong_answer"
    assert verdict.message == f"expected {word}, got {other}"
    assert verdict.findings[0].pointer == "/messages/1/content"


@pytest.mark.parametrize(
    "answer",
    [
        "CORRECT", "incorrect", "Incorrect", "IN CORRECT", "INCORRECT!", "NOT CORRECT", "WRONG", "NO", "FALSE",
        "12", "13", "", "INCORRECT, it is 12", "It is INCORRECT", "CORRECT INCORRECT", "INCORRECT CORRECT",
        "INCORECT", "IN-CORRECT", "INCORRECT..", "INCORRECT\n12", "<b>INCORRECT</b>", "X",
    ],
)  # fmt: skip
def test_mutations_of_the_right_verdict_are_refused(answer):
    assert verify(record(claim("13")), answer).code in ("wrong_answer", "not_a_verdict")


def test_the_last_answer_of_four_turns_is_judged_in_its_context():
    assert verify(corrected(), "12").ok
    verdict = verify(corrected(), "13")
    assert verdict.message == "expected 12, got 13"
    assert verdict.findings[0].pointer == "/messages/3/content"
    assert verify(corrected(), "INCORRECT").code == "wrong_answer"


def test_the_verdict_before_the_correction_is_judged_too():
    verdict = verify(corrected(verdict="CORRECT"), "12")
    assert verdict.code == "wrong_answer"
    assert verdict.findings[0].pointer == "/messages/1/content"
    assert verify(corrected(verdict="maybe"), "12").code == "not_a_verdict"


def test_a_right_proposal_has_nothing_to_correct():
    verdict = verify(corrected(proposal="12", verdict="CORRECT"), "12")
    assert verdict.code == "needless_correction"
    assert verdict.findings[0].pointer == "/messages/2/content"


@pytest.mark.parametrize(
    "bad",
    [
        record("Is 7 + 5 = 12?"),
        record(claim("12", "What is love?")),
        corrected(follow_up="Why?"),
        record(claim("13"), "INCORRECT", "What is the right answer?", "12", "Sure?", "yes"),
    ],
)
def test_other_dialogues_are_not_guessed_at(bad):
    assert verify(bad, "CORRECT").code == "unparsable_prompt"


def test_an_ambiguous_quoted_sequence_is_the_records_fault():
    question = "What comes next? 0, 3, 0, 3, 0, 0"
    assert verify(record(claim("0", question)), "CORRECT").code == "ambiguous_prompt"
