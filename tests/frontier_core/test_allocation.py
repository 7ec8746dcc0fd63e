import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.allocation import allocate
from frontier_core.errors import ConfigError


def test_largest_remainders_get_the_rest():
    assert allocate({"a": 0.5, "b": 0.3, "c": 0.2}, 7) == {"a": 4, "b": 2, "c": 1}


def test_equal_remainders_go_to_the_earlier_tag():
    assert allocate({"a": 1, "b": 1, "c": 1}, 4) == {"a": 2, "b": 1, "c": 1}


def test_weight_zero_gets_nothing():
    assert allocate({"a": 0.0, "b": 2.0}, 5) == {"a": 0, "b": 5}


@pytest.mark.parametrize("weights", [{"a": 0.0}, {"a": 1.0, "b": -0.1}])
def test_weights_that_make_no_mix_are_refused(weights):
    with pytest.raises(ConfigError, match="weights must be at least 0"):
        allocate(weights, 3)


@given(st.dictionaries(st.text(min_size=1), st.floats(1e-6, 1e6), min_size=1), st.integers(0, 10_000))
def test_counts_sum_to_the_whole_and_stay_within_one_of_the_share(weights, num):
    counts = allocate(weights, num)
    total = sum(weights.values())
    assert sum(counts.values()) == num
    assert all(abs(counts[tag] - num * weights[tag] / total) <= 1 + 1e-6 for tag in weights)
