from collections import Counter, defaultdict

import pytest

from frontier_core.profiles import undress
from generators.procedural.math_mc import GENERATOR


def options_of(record):
    return [int(line.split()[1]) for line in record["messages"][0]["content"].split("\n")[1:5]]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_options_are_four_distinct_numbers_and_letters_are_balanced(level):
    letters = Counter()
    for index in range(2000):
        record = GENERATOR.sample(5, index, level)
        assert len(set(options_of(record))) == 4
        letters[undress(record["messages"][1]["content"])] += 1
    assert set(letters) == set("ABCD")
    assert max(letters.values()) < 600


def test_the_rank_of_the_right_option_gives_nothing_away():
    ranks = defaultdict(Counter)
    for index in range(4000):
        record = GENERATOR.sample(6, index, 2)
        options = options_of(record)
        right = options["ABCD".index(undress(record["messages"][1]["content"]))]
        ranks[record["metadata"]["scenario"]][sorted(options).index(right)] += 1
    for name in ("order", "missing", "percent"):
        assert max(ranks[name].values()) / ranks[name].total() < 0.36


def test_the_problem_is_the_question_without_its_options():
    problems = [GENERATOR.problem(GENERATOR.sample(7, index, 1)) for index in range(100)]
    assert all("\n" not in problem and ")" not in problem for problem in problems)
    extreme = next(problem for problem in problems if problem.startswith("Which number is"))
    assert len(extreme.split("?")[1].split()) == 4


def test_the_first_level_asks_the_questions_of_binary_in_the_same_words():
    from validators.skills.binary import solve

    for index in range(100):
        record = GENERATOR.sample(8, index, 1)
        if record["metadata"]["scenario"] != "extreme":
            assert int(solve(GENERATOR.problem(record))) in options_of(record)
