from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.profiles import undress
from generators.procedural.sequence_predict import GENERATOR, goes_on_otherwise
from validators.skills.dialogue import PromptError
from validators.skills.sequence_predict import solve


@pytest.mark.parametrize(
    "terms",
    [
        (2, 4, 6, 8, 10, 12, 14),
        (1, 2, 4, 8, 16, 32, 64),
        (3, 7, 3, 7, 3, 7, 3),
        (1, 1, 2, 3, 5, 8, 13),
        (1, 4, 9, 16, 25, 36, 49),
        (5, 100, 7, 90, 9, 80, 11),
        (1, 3, 7, 15, 31, 63, 127),
    ],
)
def test_well_known_sequences_go_on_one_way_only(terms):
    assert not goes_on_otherwise(terms)


@pytest.mark.parametrize(
    "terms",
    [
        (2, 4, 6, 8, 10, 12, 15),  # the steps say 14
        (1, 2, 4, 8, 16, 32, 63),  # the ratio says 64
        (1, 2, 3, 1, 2, 3, 4),  # the cycle says 1
        (1, 1, 2, 3, 5, 8, 12),  # the recurrence says 13
        (2, 5, 4, 10, 6, 20, 9),  # the streams 2, 4, 6 and 5, 10, 20 say 8
        (1, 2, 5, 10, 13, 26, 28),  # times 2, plus 3, in turns, say 29
    ],
)
def test_a_rule_that_goes_on_otherwise_is_noticed(terms):
    assert goes_on_otherwise(terms)


@given(
    a=st.integers(-9, 9),
    b=st.integers(-9, 9),
    p=st.integers(-3, 3),
    q=st.integers(-3, 3),
    r=st.integers(-5, 5),
)
def test_generator_and_verifier_agree_on_what_is_ambiguous(a, b, p, q, r):
    terms = [a, b]
    while len(terms) < 7:
        terms.append(p * terms[-1] + q * terms[-2] + r)
    question = "What comes next? " + ", ".join(map(str, terms[:6]))
    if goes_on_otherwise(tuple(terms)):
        with pytest.raises(PromptError, match="the terms can go on as"):
            solve(question)
    else:
        assert solve(question) == str(terms[6])


def test_every_problem_the_capacity_of_level_one_counts_is_unambiguous():
    for start, step in product(range(61), range(1, 11)):
        rising = tuple(start + step * n for n in range(7))
        falling = tuple(start + 6 * step - step * n for n in range(7))
        assert not goes_on_otherwise(rising)
        assert not goes_on_otherwise(falling)
    for a, b in product(range(1, 26), repeat=2):
        assert a == b or not goes_on_otherwise((a, b, a, b, a, b, a))
    for start, ratio in product(range(1, 31), (2, 3, 4, 5, -2, -3)):
        assert not goes_on_otherwise(tuple(start * ratio**n for n in range(7)))
    assert GENERATOR.capacity(1) == 61 * 10 * 2 + 25 * 24 + 20


def test_scenarios_of_each_level():
    seen = {
        level: {GENERATOR.sample(6, index, level)["metadata"]["scenario"] for index in range(300)}
        for level in (1, 2, 3)
    }
    assert seen == {
        1: {"arithmetic", "alternating", "geometric"},
        2: {"arithmetic", "alternating", "geometric", "recurrence"},
        3: {"arithmetic", "alternating", "geometric", "recurrence", "quadratic"},
    }


def test_a_prompt_shows_six_terms_and_the_answer_is_bare():
    record = GENERATOR.sample(1, 0, 1)
    assert record["messages"][0]["content"].count(",") == 5
    int(undress(record["messages"][1]["content"]))
