from random import Random

from hypothesis import given
from hypothesis import strategies as st

from frontier_core.seeds import QuickRandom, child_random, child_seed, is_held_out, record_random


def test_a_child_seed_is_the_same_everywhere():
    # printf 'binary\x1f1.0.0\x1f7\x1f1\x1f0' | b2sum -l 64
    assert child_seed("binary", "1.0.0", 7, 1, 0) == 0xDE3D3AA5EACD78B8


def test_neighbouring_seeds_share_nothing():
    first = {child_random("x", 42, index).random() for index in range(500)}
    second = {child_random("x", 43, index).random() for index in range(500)}
    assert first.isdisjoint(second)


def test_the_parts_of_a_path_do_not_run_together():
    assert child_seed("a", 12, 3) != child_seed("a", 1, 23)


def test_about_a_tenth_is_held_out():
    assert 900 < sum(is_held_out(f"What is {number} + 1?") for number in range(10_000)) < 1100


@given(st.text())
def test_case_and_spacing_do_not_move_a_problem_to_the_other_split(text):
    assert is_held_out(text) == is_held_out(f"  {text.lower()}\n")


@given(st.integers(0, 2**64 - 1), st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.integers(0, 6))
def test_quick_draws_are_those_of_python(seed, low, width, count):
    quick, plain = QuickRandom(seed), Random(seed)
    population = range(low, low + width + 6)
    for _ in range(3):
        assert quick.randint(low, low + width) == plain.randint(low, low + width)
        assert quick.sample(population, count) == plain.sample(population, count)
        assert quick.choice(population) == plain.choice(population)
        assert quick.gauss(0, 1) == plain.gauss(0, 1)
    assert quick.getstate() == plain.getstate()


@given(st.integers(), st.integers(0, 9), st.integers(0))
def test_the_generator_of_a_record_is_the_child_of_its_place(seed, level, index):
    quick = record_random("binary", "2.0.0", seed, level, index)
    assert quick.getstate() == child_random("binary", "2.0.0", seed, level, index).getstate()
