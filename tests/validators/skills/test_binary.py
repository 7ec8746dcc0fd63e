import pytest

from validators.skills.binary import solve, verify
from validators.skills.dialogue import PromptError


def asked(question):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "?"}]}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 7 + 5?", "12"),
        ("What is 7 - 5?", "2"),
        ("What is 5 - 7?", "-2"),
        ("What is 99999 * 9?", "899991"),
        ("Which is larger, 7 or 5?", "7"),
        ("Which is smaller, 7 or 15?", "7"),
        ("Which is largest, 7, 15 or 9?", "15"),
        ("Which is smallest, 9, 15 or 7?", "7"),
        ("What is 2 + 3 + 4?", "9"),
        ("Write 5 in binary.", "101"),
        ("Write 0 in binary.", "0"),
        ("Write 100000 in binary.", "11000011010100000"),
        ("Write binary 101 in decimal.", "5"),
        ("Write binary 0 in decimal.", "0"),
        ("What comes after 9?", "10"),
        ("What comes before 10?", "9"),
        ("True or false: 17 + 5 = 22", "true"),
        ("True or false: 17 - 5 = 22", "false"),
        ("Fill in the blank: 17 + ___ = 22", "5"),
        ("Fill in the blank: ___ - 17 = 5", "22"),
        ("Fill in the blank: 22 - ___ = 17", "5"),
        ("Find the wrong step: 1) 17 + 5 = 22 2) 22 - 4 = 16 3) 16 + 9 = 25", "2"),
        ("Put <, > or = between 17 + 5 and 20 + 2.", "="),
        ("Put <, > or = between 17 + 5 and 20 + 3.", "<"),
        ("Put <, > or = between 17 + 5 and 20 + 1.", ">"),
        ("Write the digits of 1024 backwards.", "4201"),
        ("What is 123456789012345678901234567890 + 1?", "123456789012345678901234567891"),
    ],
)
def test_each_kind_of_question_is_computed(question, answer):
    assert solve(question) == answer
    assert verify(asked(question), answer).ok
    assert verify(asked(question), f" {answer}.\n").ok


WRONG_TWELVES = {
    "one more": ("13", "wrong_answer"),
    "one less": ("11", "wrong_answer"),
    "off by ten": ("22", "wrong_answer"),
    "negated": ("-12", "wrong_answer"),
    "swapped digits": ("21", "wrong_answer"),
    "a digit more": ("120", "wrong_answer"),
    "a digit less": ("1", "wrong_answer"),
    "another operation": ("35", "wrong_answer"),
    "huge": ("9" * 5000, "wrong_answer"),
    "leading zero": ("012", "not_a_number"),
    "plus sign": ("+12", "not_a_number"),
    "decimal": ("12.0", "not_a_number"),
    "exponent": ("1.2e1", "not_a_number"),
    "word": ("twelve", "not_a_number"),
    "prose": ("The answer is 12", "not_a_number"),
    "two answers": ("12 or 13", "not_a_number"),
    "empty": ("", "not_a_number"),
    "inner space": ("1 2", "not_a_number"),
    "underscore": ("1_2", "not_a_number"),
    "full-width digits": ("１２", "not_a_number"),
    "arabic-indic digits": ("١٢", "not_a_number"),
    "two full stops": ("12..", "not_a_number"),
    "hexadecimal": ("0xc", "not_a_number"),
    "quoted": ('"12"', "not_a_number"),
    "equation": ("7 + 5 = 12", "not_a_number"),
    "unit": ("12 apples", "not_a_number"),
    "second line": ("12\n13", "not_a_number"),
}


@pytest.mark.parametrize("kind", WRONG_TWELVES)
def test_mutations_of_the_right_number_are_refused(kind):
    answer, code = WRONG_TWELVES[kind]
    assert verify(asked("What is 7 + 5?"), answer).code == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("100", "wrong_answer"), ("111", "wrong_answer"), ("10", "wrong_answer"), ("1010", "wrong_answer"),
        ("0101", "not_binary"), ("0b101", "not_binary"), ("5", "not_binary"), ("-101", "not_binary"),
        ("1 0 1", "not_binary"), ("102", "not_binary"), ("", "not_binary"), ("101 (five)", "not_binary"),
    ],
)  # fmt: skip
def test_mutations_of_the_right_bits_are_refused(answer, code):
    assert verify(asked("Write 5 in binary."), answer).code == code


def test_a_refusal_says_what_was_expected_and_where():
    verdict = verify(asked("What is 7 + 5?"), "13")
    assert verdict.message == "expected 12, got 13"
    assert verdict.findings[0].pointer == "/messages/1/content"
    assert verify(asked("What is 7 + 5?"), "x").message == "expected a whole number, got 'x'"


@pytest.mark.parametrize(
    "question",
    [
        "What is 7 / 5?", "What is seven plus 5?", "What is 7 + 5? Think aloud.", "Which is larger, 7 or 7?",
        "Write 5.5 in binary.", "Write binary 102 in decimal.", "What is 7 + 5 - 1?",
        "Which is largest, 7, 5 or 7?", "What is " + "9" * 5000 + " + 1?",
    ],
)  # fmt: skip
def test_other_questions_are_not_guessed_at(question):
    with pytest.raises(PromptError):
        solve(question)
    assert verify(asked(question), "12").code == "unparsable_prompt"


def test_the_stored_answer_is_never_looked_at():
    record = asked("What is 7 + 5?")
    record["messages"][1]["content"] = "13"
    record["metadata"] = {"answer": "13"}
    assert verify(record, "12").ok
    assert not verify(record, "13").ok


@pytest.mark.parametrize(
    ("question", "answer", "code"),
    [
        ("True or false: 17 + 5 = 22", "false", "wrong_answer"),
        ("True or false: 17 + 5 = 22", "True", "not_a_choice"),
        ("True or false: 17 + 5 = 22", "yes", "not_a_choice"),
        ("Put <, > or = between 17 + 5 and 20 + 2.", "<", "wrong_answer"),
        ("Put <, > or = between 17 + 5 and 20 + 2.", "==", "not_a_choice"),
        ("Find the wrong step: 1) 17 + 5 = 22 2) 22 - 4 = 16 3) 16 + 9 = 25", "3", "wrong_answer"),
        ("Find the wrong step: 1) 17 + 5 = 22 2) 22 - 4 = 16 3) 16 + 9 = 25", "step 2", "not_a_choice"),
        ("Find the wrong step: 1) 17 + 5 = 22 2) 22 - 4 = 16 3) 16 + 9 = 26", "2", "ambiguous_prompt"),
        ("Find the wrong step: 1) 17 + 5 = 22 2) 22 - 4 = 18 3) 18 + 9 = 27", "2", "ambiguous_prompt"),
        ("Write the digits of 1024 backwards.", "04201", "not_a_number"),
        ("Write the digits of 1020 backwards.", "201", "unparsable_prompt"),
        ("Fill in the blank: 17 + 5 = 22", "5", "unparsable_prompt"),
        ("Fill in the blank: ___ + ___ = 22", "5", "unparsable_prompt"),
        ("Fill in the blank: 30 + ___ = 22", "5", "unparsable_prompt"),
    ],
)
def test_auxiliary_tasks_are_held_to_their_form(question, answer, code):
    assert verify(asked(question), answer).code == code
