"""The order: whole counts by error diffusion, permutations without lists, everything by seed and place."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier_core.stream_counts import BLOCK, ONE, Progress, next_counts, whole_weights
from frontier_core.stream_order import SMALL, Order, Permutation

WEIGHT = st.one_of(st.just(0.0), st.floats(1e-6, 1.0))


def mixes(size):
    return st.lists(
        st.tuples(
            st.lists(WEIGHT, min_size=size, max_size=size).filter(lambda weights: sum(weights) > 0), st.integers(1, 6)
        ),
        min_size=1,
        max_size=4,
    )


@given(st.integers(2, 9).flatmap(lambda size: st.tuples(st.just(size), mixes(size))))
@settings(max_examples=60, deadline=None)
def test_every_block_end_is_within_a_sample_of_the_mix_through_changes_of_weights(case):
    size, regimes = case
    names = [str(place) for place in range(size)]
    progress = Progress([0] * size, [0] * size, [0] * size)
    asked = [Fraction(0)] * size
    for weights, num_blocks in regimes:
        whole = whole_weights(dict(zip(names, weights, strict=True)), names)
        assert sum(whole) == ONE
        if whole != progress.weights:  # the same weights again are no change
            served_then, asked_then = list(progress.served), list(asked)
        for _ in range(num_blocks):
            counts = next_counts(progress, whole, [None] * size)
            assert sum(counts) == BLOCK
            assert all(count == 0 for count, weight in zip(counts, whole, strict=True) if weight == 0)
            asked = [have + Fraction(BLOCK * weight, ONE) for have, weight in zip(asked, whole, strict=True)]
            for place in range(size):
                from_start = progress.served[place] - asked[place]
                assert abs(from_start) <= 1
                assert abs(from_start - (served_then[place] - asked_then[place])) <= 1


def test_counts_of_known_weights_are_those_by_hand():
    whole = whole_weights({"a": 0.5, "b": 0.25, "c": 0.25}, ["a", "b", "c"])
    assert whole == [ONE // 2, ONE // 4, ONE // 4]
    progress = Progress([0] * 3, [0] * 3, [0] * 3)
    assert next_counts(progress, whole, [None] * 3) == [512, 256, 256]
    thirds = whole_weights({"a": 1, "b": 1, "c": 1}, ["a", "b", "c"])
    progress = Progress([0] * 3, [0] * 3, [0] * 3)
    assert [next_counts(progress, thirds, [None] * 3) for _ in range(3)] == [
        [342, 341, 341],
        [341, 342, 341],
        [341, 341, 342],
    ]


@given(st.integers(2, 9).flatmap(lambda size: st.tuples(st.just(size), mixes(size))), st.booleans(), st.randoms())
@settings(max_examples=60, deadline=None)
def test_many_domains_are_counted_as_few_are(case, has_limits, draw):
    size, regimes = case
    names = [str(place) for place in range(size)]
    few, many = Progress.start(size), Progress(*(np.zeros(size, np.int64) for _ in range(3)))
    limits = [draw.choice([None, 700, 3000]) if has_limits else None for _ in range(size)]
    for weights, num_blocks in regimes:
        whole = whole_weights(dict(zip(names, weights, strict=True)), names)
        for _ in range(num_blocks):
            assert next_counts(many, whole, limits) == next_counts(few, whole, limits)
            assert (many.served.tolist(), many.debt.tolist()) == (few.served, few.debt)


def test_a_hundred_domains_keep_their_shares():
    sizes = [20 + place for place in range(100)]
    order = order_of(sizes, weights={f"d{place}": float(1 + place % 7) for place in range(100)})
    total = sum(1 + place % 7 for place in range(100))
    seen = np.zeros(100, int)
    for block in range(4):
        plan = order.plan(block)
        seen += np.bincount(plan.domains, minlength=100)
        for place in range(100):
            assert abs(seen[place] - (block + 1) * BLOCK * (1 + place % 7) / total) <= 1
        drawn = order_of(sizes, weights={f"d{place}": float(1 + place % 7) for place in range(100)}).plan(block)
        assert np.array_equal(drawn.elements, plan.elements)
        assert np.array_equal(drawn.epochs, plan.epochs)


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="no weight"):
        whole_weights(weights, ["a", "b"])


@given(st.one_of(st.integers(1, 300), st.integers(SMALL - 3, SMALL + 300), st.just(66_049)), st.integers(0, 2**64 - 1))
@settings(max_examples=40, deadline=None)
def test_a_permutation_holds_every_element_once_however_it_is_read(num, key):
    whole = Permutation(num, key).take(0, num)
    assert np.array_equal(np.sort(whole), np.arange(num))
    again, middle = Permutation(num, key), num // 3
    parts = [again.take(middle, num), again.take(0, middle)]
    assert np.array_equal(np.concatenate(parts[::-1]), whole)


def test_permutations_look_random():
    num = 20_000
    order = Permutation(num, 7).take(0, num).astype(float)
    places = np.arange(num)
    assert abs(np.corrcoef(order, places)[0, 1]) < 0.03
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.03
    quarters = np.histogram2d(order, places, bins=8)[0]
    expected = num / 64
    chi2 = ((quarters - expected) ** 2 / expected).sum()
    assert 20 < chi2 < 90  # 49 degrees of freedom
    assert not np.array_equal(order, Permutation(num, 8).take(0, num))


def order_of(sizes, limits=None, seed=3, weights=None):
    names = [f"d{place}" for place in range(len(sizes))]
    order = Order(seed, names, sizes, limits or [None] * len(sizes))
    order.set_weights(0, whole_weights(weights or dict.fromkeys(names, 1.0), names))
    return order


def test_each_sample_comes_once_per_epoch_of_its_domain():
    order = order_of([5, 300, 2000])
    seen = {0: [], 1: [], 2: []}
    for block in range(7):
        plan = order.plan(block)
        for domain, element, epoch in zip(plan.domains, plan.elements, plan.epochs, strict=True):
            seen[int(domain)].append((int(epoch), int(element)))
    for domain, size in enumerate([5, 300, 2000]):
        epochs = [epoch for epoch, _ in seen[domain]]
        assert epochs == sorted(epochs)
        for epoch in range(epochs[-1]):
            assert sorted(element for number, element in seen[domain] if number == epoch) == list(range(size))
        last = [element for number, element in seen[domain] if number == epochs[-1]]
        assert len(set(last)) == len(last)
    first, second = ([e for n, e in seen[1] if n == epoch] for epoch in (0, 1))
    assert first != second


def test_a_block_is_the_same_whatever_was_read_before():
    straight = order_of([100, 9000])
    plans = [straight.plan(block) for block in range(8)]
    for block in (6, 1, 7, 0):
        plan = order_of([100, 9000]).plan(block)
        assert np.array_equal(plan.domains, plans[block].domains)
        assert np.array_equal(plan.elements, plans[block].elements)
        again = straight.plan(block)
        assert np.array_equal(again.elements, plans[block].elements)


def test_the_seed_is_in_everything_and_another_domain_changes_nothing_inside_one():
    one, other = order_of([9000], seed=1).plan(0), order_of([9000], seed=2).plan(0)
    assert not np.array_equal(one.elements, other.elements)
    both = order_of([9000, 50], seed=1).plan(0)
    assert np.array_equal(both.elements[both.domains == 0], one.elements[: (both.domains == 0).sum()])


def test_limits_end_a_domain_and_then_the_stream():
    order = order_of([100, 3000], limits=[250, 3000])
    plans = [order.plan(block) for block in range(5)]
    assert [plan.num for plan in plans] == [1024, 1024, 1024, 178, 0]
    domains = np.concatenate([plan.domains for plan in plans])
    assert [int((domains == place).sum()) for place in (0, 1)] == [250, 3000]
    assert plans[0].counts == [250, 774]


def test_the_numbers_of_an_order_stay_what_they_are():
    """A stored run must be drawn again by any later version: these were written down once."""
    plan = order_of([40, 50_000], seed=42, weights={"d0": 0.4, "d1": 0.6}).plan(3)
    assert plan.counts == [409, 615]
    assert plan.domains[:12].tolist() == FROZEN_DOMAINS
    assert plan.elements[:12].tolist() == FROZEN_ELEMENTS


FROZEN_DOMAINS = [1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1]
FROZEN_ELEMENTS = [48514, 0, 45023, 4936, 2107, 11, 34840, 2214, 14766, 25, 27, 46875]
