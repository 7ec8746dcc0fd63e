import pytest
from hypothesis import given
from hypothesis import strategies as st

from generators.procedural.chat_skill import Problem
from generators.procedural.slips import slips_of_bits, slips_of_number, slips_of_problem


@given(st.integers(-(10**6), 10**12))
def test_slips_of_a_number_are_distinct_and_wrong(answer):
    slips = slips_of_number(answer)
    assert len(slips) >= 4
    assert len(set(slips)) == len(slips)
    assert answer not in slips


@given(st.integers(1, 10**6))
def test_slips_of_bits_are_other_canonical_numbers(number):
    slips = slips_of_bits(f"{number:b}")
    assert slips
    assert all(int(slip, 2) != number and slip[0] == "1" for slip in slips)


def test_swapped_digits_and_a_lost_digit_are_among_the_slips():
    assert 4351 not in slips_of_number(4315)[:8]
    assert {4351, 431} <= set(slips_of_number(4315))


@pytest.mark.parametrize(
    ("question", "answer", "scenario", "slip"),
    [
        ("What is 7 * 5?", "35", "multiply", "12"),
        ("What is 7 + 5?", "12", "add", "35"),
        ("What is 7 - 5?", "2", "subtract", "12"),
        ("Which is larger, 7 or 5?", "7", "compare", "5"),
        ("Write 5 in binary.", "101", "to_binary", "111"),
        ("True or false: 7 + 5 = 12", "true", "true_false", "false"),
        ("Fill in the blank: 7 + ___ = 12", "5", "fill_blank", "19"),
        ("Find the wrong step: 1) 7 + 5 = 12 2) 12 - 5 = 8 3) 8 + 5 = 13", "2", "find_error", "3"),
        ("Put <, > or = between 7 + 5 and 6 + 6.", "=", "relate", "<"),
        ("Write the digits of 123 backwards.", "321", "reverse", "123"),
        ("What is 25% of 80?", "20", "percent", "21"),
        ("What comes next? 1, 2, 4, 8, 16, 32", "64", "geometric", "33"),
    ],
)
def test_a_problem_invites_the_slip_of_its_kind(question, answer, scenario, slip):
    slips = slips_of_problem(Problem(question, answer, scenario))
    assert slip in slips
    assert answer not in slips
