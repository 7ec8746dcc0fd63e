import pytest

from validators.skills.sequence_predict import solve, verify


def asked(terms):
    return {"messages": [{"role": "user", "content": f"What comes next? {terms}"}]}


@pytest.mark.parametrize(
    ("terms", "answer"),
    [
        ("2, 4, 6, 8, 10, 12", "14"),
        ("12, 10, 8, 6, 4, 2", "0"),
        ("5, 4, 3, 2, 1, 0", "-1"),
        ("1, 2, 4, 8, 16, 32", "64"),
        ("1, -2, 4, -8, 16, -32", "64"),
        ("1, 2, 3, 6, 9, 18", "27"),
        ("3, 7, 3, 7, 3, 7", "3"),
        ("1, 2, 9, 1, 2, 9", "1"),
        ("1, 5, 2, 6, 3, 7", "4"),
        ("1, 100, 3, 90, 5, 80", "7"),
        ("4, 9, 2, 8, 0, 7", "-2"),
        ("1, 1, 2, 3, 5, 8", "13"),
        ("1, 4, 9, 16, 25, 36", "49"),
        ("1, 3, 7, 15, 31, 63", "127"),
        ("1, 2, 5, 10, 13, 26", "29"),
    ],
)
def test_each_rule_of_the_family_is_found(terms, answer):
    assert solve(f"What comes next? {terms}") == answer
    assert verify(asked(terms), answer).ok


@pytest.mark.parametrize(
    "answer",
    [
        "13", "15", "12", "16", "24", "-14", "41", "140", "1", "4", "014", "+14", "14.0", "fourteen", "14, 16",
        "12, 14", "The next is 14", "", "1 4", "１４", "14..", "n + 2",
    ],
)  # fmt: skip
def test_mutations_of_the_right_term_are_refused(answer):
    assert verify(asked("2, 4, 6, 8, 10, 12"), answer).code in ("wrong_answer", "not_a_number")


@pytest.mark.parametrize(
    ("terms", "code", "message"),
    [
        ("2, 4, 6", "unparsable_prompt", "needs 6 to 12 terms, has 3"),
        ("2, 4, 6, 8, 10, x", "unparsable_prompt", "not a sequence question"),
        ("3, 1, 4, 1, 5, 9", "no_rule", "no known rule gives these terms"),
        ("32, 16, 8, 4, 2, 1", "no_rule", "the next term is no whole number: 1/2"),
        ("0, 3, 0, 3, 0, 0", "ambiguous_prompt", "the terms can go on as -3, 0"),
    ],
)
def test_a_sequence_without_one_whole_continuation_is_the_records_fault(terms, code, message):
    verdict = verify(asked(terms), "4")
    assert verdict.code == code
    assert message in verdict.message
