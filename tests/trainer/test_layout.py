"""The flat layout: nothing lost, nothing leaked, what is shared written once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.layout import flatten, split_flat


def example(ids: list[int], first: int) -> Any:
    """An example whose tokens from place `first` on are supervised."""
    return SimpleNamespace(ids=ids, is_supervised=[place >= first for place in range(len(ids))])


@st.composite
def examples(draw: Any) -> list[Any]:
    stem = draw(st.lists(st.integers(0, 3), min_size=0, max_size=12))
    found = []
    for _ in range(draw(st.integers(1, 6))):
        ids = stem[: draw(st.integers(0, len(stem)))] + draw(st.lists(st.integers(0, 3), min_size=2, max_size=8))
        found.append(example(ids, draw(st.integers(1, len(ids) - 1))))
    return found


@given(examples(), st.integers(1, 5))
def test_every_prediction_sees_exactly_its_own_text_up_to_itself(rows: list[Any], least: int) -> None:
    batch = flatten(rows, min_shared_tokens=least)
    segment_T, sees_GG = batch.segment_T(), batch.sees()
    place = 0
    for index, row in enumerate(rows):
        for position in range(1, len(row.ids)):
            if not row.is_supervised[position]:
                continue
            flat_row = batch.row_R[batch.pick_N[place]]
            seen = sees_GG[segment_T[flat_row], segment_T] & (batch.position_T <= batch.position_T[flat_row])
            order = np.argsort(batch.position_T[seen], kind="stable")
            assert batch.ids_T[seen][order].tolist() == row.ids[:position]
            assert batch.position_T[seen][order].tolist() == list(range(position))
            assert (batch.target_N[place], batch.sample_N[place]) == (row.ids[position], index)
            place += 1
    assert place == len(batch.target_N)


def test_system_prompt_and_prompt_of_a_pair_are_written_once() -> None:
    system, one, two = [1] * 20, [2] * 10, [3] * 10
    rows = [
        example(system + one + [4, 5], 30),
        example(system + one + [6, 7, 8], 30),
        example(system + two + [9, 9], 30),
    ]
    batch = flatten(rows)
    # The last answer token of each is only ever a target.
    assert [span.end - span.start for span in batch.segments] == [20, 10, 1, 2, 11]
    assert [span.parent for span in batch.segments] == [-1, 0, 1, 1, 0]
    assert (len(batch.ids_T), batch.num_input_tokens) == (44, 94)
    plain = flatten(rows, is_sharing=False)
    assert plain.cu_seqlens().tolist() == [0, 31, 63, 94]
    assert not plain.is_shared


def test_text_that_another_begins_with_needs_no_tokens_of_its_own() -> None:
    long = list(range(30))
    batch = flatten([example(long, 25), example(long[:20], 15), example(long, 25)])
    assert len(batch.ids_T) == 29
    assert batch.sample_N.tolist() == [0] * 5 + [1] * 5 + [2] * 5


@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=2), min_size=1, max_size=12), st.integers(1, 90))
def test_passes_hold_each_unit_once_and_within_the_limit(lengths: list[list[int]], limit: int) -> None:
    units = [[example([0] * size, 1) for size in sizes] for sizes in lengths]
    passes = split_flat(units, limit)
    assert sorted(index for group in passes for index in group) == list(range(len(units)))
    assert all(len(group) == 1 or sum(sum(lengths[index]) for index in group) <= limit for group in passes)
