import pytest

from validators.skills.dialogue import PromptError
from validators.skills.math_mc import solve, value_of, verify


def asked(stem, *options):
    lines = [f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=True)]
    return {"messages": [{"role": "user", "content": "\n".join([stem, *lines, "Reply A, B, C or D."])}]}


@pytest.mark.parametrize(
    ("stem", "value"),
    [
        ("What is 6 + 7?", 13),
        ("What is (3 + 4) * 5?", 35),
        ("What is -3 - 8?", -11),
        ("What is 7 * 8 - 6 * 5?", 26),
        ("What is the remainder of 17 divided by 5?", 2),
        ("What is the average of 4, 8 and 12?", 8),
        ("What is 25% of 80?", 20),
        ("What is 3/4 of 20?", 15),
        ("Which number makes ? + 7 = 15 true?", 8),
        ("If 3x + 4 = 19, what is x?", 5),
    ],
)
def test_each_kind_of_question_is_computed(stem, value):
    assert value_of(stem) == value
    assert verify(asked(stem, value + 1, value, value - 1, value + 10), "B").ok


@pytest.mark.parametrize(("stem", "letter"), [("Which number is largest?", "C"), ("Which number is smallest?", "A")])
def test_extremes_are_found_among_the_options(stem, letter):
    assert verify(asked(stem, 4, 31, 44, 17), letter).ok


WRONG = [
    ("A", "wrong_answer"), ("C", "wrong_answer"), ("D", "wrong_answer"), ("b", "not_a_choice"), ("E", "not_a_choice"),
    ("B)", "not_a_choice"), ("(B)", "not_a_choice"), ("13", "not_a_choice"), ("B) 13", "not_a_choice"),
    ("B 13", "not_a_choice"), ("Option B", "not_a_choice"), ("The answer is B", "not_a_choice"),
    ("B or C", "not_a_choice"), ("BC", "not_a_choice"), ("BB", "not_a_choice"), ("", "not_a_choice"),
    ("ABCD", "not_a_choice"), ("Ｂ", "not_a_choice"), ("В", "not_a_choice"), ("B..", "not_a_choice"),
    ("'B'", "not_a_choice"), ("A\nB", "not_a_choice"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "code"), WRONG)
def test_mutations_of_the_right_letter_are_refused(answer, code):
    verdict = verify(asked("What is 6 + 7?", 12, 13, 14, 1), answer)
    assert verdict.code == code


def test_a_letter_with_a_full_stop_is_accepted_and_a_wrong_one_explained():
    record = asked("What is 6 + 7?", 12, 13, 14, 1)
    assert verify(record, " B. ").ok
    assert verify(record, "C").message == "expected B, got C"


@pytest.mark.parametrize(
    ("options", "message"),
    [((12, 14, 15, 16), "no option is 13"), ((13, 13, 14, 15), "two options are the same")],
)
def test_options_without_exactly_one_right_are_the_records_fault(options, message):
    verdict = verify(asked("What is 6 + 7?", *options), "A")
    assert verdict.code == "bad_options"
    assert verdict.message == message


@pytest.mark.parametrize(
    "question",
    [
        "What is 6 + 7?",
        "What is 6 + 7?\nA) 12\nB) 13\nC) 14\nReply A, B, C or D.",
        "What is 6 + 7?\nA) 12\nB) x\nC) 14\nD) 1\nReply A, B, C or D.",
        "What is love?\nA) 12\nB) 13\nC) 14\nD) 1\nReply A, B, C or D.",
        "What is 3/0 of 20?\nA) 12\nB) 13\nC) 14\nD) 1\nReply A, B, C or D.",
        "What is the remainder of 17 divided by 0?\nA) 12\nB) 13\nC) 14\nD) 1\nReply A, B, C or D.",
    ],
)
def test_other_questions_are_not_guessed_at(question):
    with pytest.raises(PromptError):
        solve(question)


def test_a_value_that_is_no_whole_number_matches_no_option():
    assert verify(asked("What is 3/4 of 10?", 7, 8, 6, 5), "A").message == "no option is 15/2"
