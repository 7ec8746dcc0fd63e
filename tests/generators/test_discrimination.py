from collections import Counter

from frontier_core.profiles import undress
from frontier_core.seeds import is_held_out
from generators.procedural import binary
from generators.procedural.discrimination import GENERATOR

NUM = 2000


def scenarios(level):
    return Counter(GENERATOR.sample(11, index, level)["metadata"]["scenario"] for index in range(NUM))


def test_six_in_ten_proposals_are_right_and_half_of_the_wrong_ones_are_corrected():
    for level in (1, 2, 3):
        seen = scenarios(level)
        assert abs(seen["right"] / NUM - 0.6) < 0.04
        assert abs(seen["wrong"] / NUM - 0.2) < 0.04
        assert abs(seen["wrong_corrected"] / NUM - 0.2) < 0.04


def test_levels_above_the_first_quote_three_skills():
    for level in (2, 3):
        questions = [GENERATOR.problem(GENERATOR.sample(5, index, level)) for index in range(300)]
        assert any(question.startswith("What comes next?") for question in questions)
        assert any(question.startswith("Fill in the blank:") for question in questions)
        assert any("remainder" in question or "average" in question for question in questions)


def test_a_corrected_record_has_four_turns_and_ends_in_the_right_answer():
    for index in range(200):
        record = GENERATOR.sample(12, index, 1)
        texts = [undress(turn["content"]) for turn in record["messages"]]
        if record["metadata"]["scenario"] == "wrong_corrected":
            assert len(texts) == 4
            assert texts[1] == "INCORRECT"
            assert texts[2] == "What is the right answer?"
            assert f"Proposed answer: {texts[3]}\n" not in texts[0]
        else:
            assert len(texts) == 2
            assert texts[1] in ("CORRECT", "INCORRECT")


def test_a_quoted_question_is_on_the_same_side_of_the_split_as_in_its_own_skill():
    quoted = {GENERATOR.problem(GENERATOR.sample(1, index, 1)) for index in range(3000)}
    own = {binary.GENERATOR.problem(binary.GENERATOR.sample(2, index, 1)) for index in range(3000)}
    shared = quoted & own
    assert len(shared) > 300
    assert any(is_held_out(question) for question in shared)
