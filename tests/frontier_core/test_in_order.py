"""Results in input order, bounded reading, and an end that leaves nothing running."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.in_order import in_order


@given(items=st.lists(st.integers(), max_size=40), workers=st.integers(1, 5), ahead=st.integers(1, 9))
def test_results_come_in_input_order_whatever_the_threads_do(items, workers, ahead):
    assert list(in_order(items, lambda item: item * 2, workers=workers, look_ahead=ahead)) == [2 * i for i in items]


def test_a_slow_first_item_holds_back_results_but_not_work():
    second_ran = threading.Event()

    def work(item):
        if item == 0:
            assert second_ran.wait(5)
        else:
            second_ran.set()
        return item

    assert list(in_order([0, 1], work, workers=2, look_ahead=2)) == [0, 1]


def test_no_more_is_read_than_the_look_ahead():
    read = []

    def items():
        for number in range(1000):
            read.append(number)
            yield number

    results = in_order(items(), lambda item: item, workers=2, look_ahead=3)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    results.close()
    assert len(read) <= 5 + 3


def test_an_error_of_the_input_comes_after_the_results_before_it():
    def items():
        yield 1
        raise ValueError("the input broke")

    results = in_order(items(), lambda item: item, workers=2, look_ahead=4)
    assert next(results) == 1
    with pytest.raises(ValueError, match="the input broke"):
        next(results)


def test_an_error_of_the_work_is_raised_in_its_items_turn():
    def work(item):
        if item == 1:
            raise ValueError("item 1")
        return item

    results = in_order([0, 1, 2], work, workers=1, look_ahead=3)
    assert next(results) == 0
    with pytest.raises(ValueError, match="item 1"):
        next(results)


def test_leaving_early_stops_what_runs_and_closes_the_input():
    stopped, closed = threading.Event(), threading.Event()

    def items():
        try:
            yield 0
            while True:
                yield 1
        finally:
            closed.set()

    def work(item):
        if item:
            assert stopped.wait(5)
        return item

    results = in_order(items(), work, workers=2, look_ahead=4, stop=stopped.set)
    assert next(results) == 0
    results.close()
    assert closed.wait(5)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("in-order")] == []
