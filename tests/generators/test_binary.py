import re
from collections import defaultdict

import pytest

from generators.procedural.binary import GENERATOR, RANGES


@pytest.mark.parametrize(("level", "low", "high"), [(1, 1, 10), (2, 11, 50), (7, 10_001, 100_000)])
def test_numbers_come_from_the_range_of_the_level(level, low, high):
    assert RANGES[level] == (low, high)
    for index in range(300):
        record = GENERATOR.sample(3, index, level)
        if record["metadata"]["scenario"] in ("add", "subtract", "compare", "to_binary", "increment", "reverse"):
            numbers = [int(n) for n in re.findall(r"[0-9]+", record["messages"][0]["content"])]
            assert all(low <= number <= high for number in numbers)


def test_capacity_of_level_one_is_counted_by_hand():
    # add two 100 and three 1000, subtract 55, multiply 100, compare two 2*90 and three 2*720, to and from binary 10
    # each, before and after 20
    assert GENERATOR.capacity(1) == 2915


def test_all_seven_scenarios_occur_with_their_wording():
    shapes = defaultdict(set)
    for index in range(600):
        record = GENERATOR.sample(8, index, 1)
        shapes[record["metadata"]["scenario"]].add(re.sub(r"[0-9]+", "N", record["messages"][0]["content"]))
    assert shapes == {
        "add": {"What is N + N?", "What is N + N + N?"},
        "subtract": {"What is N - N?"},
        "multiply": {"What is N * N?"},
        "compare": {
            "Which is larger, N or N?",
            "Which is smaller, N or N?",
            "Which is largest, N, N or N?",
            "Which is smallest, N, N or N?",
        },
        "to_binary": {"Write N in binary."},
        "from_binary": {"Write binary N in decimal."},
        "increment": {"What comes after N?", "What comes before N?"},
    }


def test_auxiliary_tasks_begin_at_level_three():
    auxiliary = {"true_false", "fill_blank", "find_error", "relate", "reverse"}
    for level in GENERATOR.levels:
        seen = {GENERATOR.sample(8, index, level)["metadata"]["scenario"] for index in range(400)}
        assert auxiliary & seen == (auxiliary if level >= 3 else set())


def test_a_difference_is_never_negative():
    for index in range(500):
        record = GENERATOR.sample(4, index, 2)
        assert "-" not in record["messages"][1]["content"]
