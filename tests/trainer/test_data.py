"""Reading, checking and ordering training data: no model, no torch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import DataError
from trainer.data import PASS_TOKENS, plan_batches, read_training_data, split_by_length, texts_of

Write = Callable[..., Path]
USER = {"role": "user", "content": "2 + 3?"}
THINK = "\N{THINKING FACE}" * 4 + "\n"


def record(*messages: Any, **metadata: Any) -> dict[str, Any]:
    return {"messages": list(messages), "metadata": {"skill": "add", **metadata}}


def test_profile_is_put_on_assistant_turns_once_and_tags_are_read(write: Write) -> None:
    path = write(
        [
            record(USER, {"role": "assistant", "content": "5"}, level=1),
            record(USER, {"role": "assistant", "content": THINK + "5"}),
        ]
    )
    data = read_training_data([path], "emoji_think")
    assert [sample.messages[1]["content"] for sample in data.samples] == [THINK + "5", THINK + "5"]
    assert [sample.messages[0]["content"] for sample in data.samples] == ["2 + 3?", "2 + 3?"]
    assert [sample.tag for sample in data.samples] == ["skill=add,level=1", "skill=add"]
    assert [sample.line for sample in data.samples] == [1, 2]


def test_plain_text_records_are_read_as_text(write: Write) -> None:
    path = write([{"text": "once upon a time", "metadata": {"skill": "prose"}}])
    (sample,) = read_training_data([path], "emoji_think").samples
    assert (sample.text, sample.messages) == ("once upon a time", ())
    assert list(texts_of([path], "emoji_think")) == ["once upon a time"]


@pytest.mark.parametrize(
    ("bad", "place", "problem"),
    [
        (record(USER, {"role": "asistant", "content": "5"}), "/messages/1/role", "unknown role 'asistant'"),
        (record(USER, {"content": "5"}), "/messages/1/role", "unknown role None"),
        (record(USER), "/messages", "no assistant turn: nothing to learn"),
        (record(), "/messages", "no assistant turn: nothing to learn"),
        (
            record(USER, {"role": "assistant", "content": THINK}),
            "/messages/1/content",
            "the assistant text is empty: nothing to learn",
        ),
        (record(USER, {"role": "assistant", "content": 5}), "/messages/1/content", "must be a text"),
        (record("hello"), "/messages/0", "must be an object with role and content"),
        ({"messages": "hello", "metadata": {}}, "/messages", "must be an array of turns"),
        ({"text": " ", "metadata": {}}, "/text", "must be a text that is not empty"),
        ({"instruction": "list", "output": []}, "", "a record of shape plan_v1 can't be trained on"),
        ({"foo": 1}, "", "a record of shape unknown can't be trained on"),
    ],
)
def test_unfit_record_names_file_line_and_pointer(write: Write, bad: Any, place: str, problem: str) -> None:
    path = write([record(USER, {"role": "assistant", "content": "5"}), bad])
    with pytest.raises(DataError) as error:
        read_training_data([path], "emoji_think")
    assert (error.value.path, error.value.line, error.value.pointer) == (str(path), 2, place)
    assert error.value.problem == problem


def test_unreadable_row_stops_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"messages":[{"role":"user","content":"\xff"}]}\n')
    with pytest.raises(DataError, match=r"t.jsonl:1: invalid UTF-8"):
        read_training_data([path], "plain")


def test_digest_follows_the_lines_not_the_file_names(write: Write) -> None:
    rows = [record(USER, {"role": "assistant", "content": "5"})]
    one, same = write(rows, name="a.jsonl"), write(rows, name="b.jsonl")
    other = write(rows * 2, name="c.jsonl")
    digests = [read_training_data([path], "plain").sha for path in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


@given(
    num_examples=st.integers(1, 40), batch_size=st.integers(1, 17), num_steps=st.integers(1, 30), seed=st.integers(0, 9)
)
def test_every_pass_over_the_data_sees_every_example_once(
    num_examples: int, batch_size: int, num_steps: int, seed: int
) -> None:
    batches = plan_batches(num_examples, batch_size, num_steps, seed=seed)
    assert [len(batch) for batch in batches] == [batch_size] * num_steps
    flat = [index for batch in batches for index in batch]
    for start in range(0, len(flat) - num_examples + 1, num_examples):
        assert sorted(flat[start : start + num_examples]) == list(range(num_examples))
    assert batches == plan_batches(num_examples, batch_size, num_steps, seed=seed)


def test_another_seed_gives_another_order() -> None:
    assert plan_batches(100, 10, 10, seed=1) != plan_batches(100, 10, 10, seed=2)


def cost(groups: list[list[int]], lengths: list[int]) -> int:
    return sum(max(lengths[index] for index in group) * len(group) + PASS_TOKENS for group in groups)


@given(lengths=st.lists(st.integers(1, 600), min_size=1, max_size=40), limit=st.integers(1, 2000))
def test_forward_passes_hold_each_example_once_and_within_the_limit(lengths: list[int], limit: int) -> None:
    groups = split_by_length(lengths, limit)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or max(lengths[index] for index in group) * len(group) <= limit


@given(lengths=st.lists(st.integers(1, 600), min_size=1, max_size=9))
def test_no_other_cut_of_the_sorted_examples_costs_less(lengths: list[int]) -> None:
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    least = min(
        cost([order[a:b] for a, b in pairwise([0, *cuts, len(order)])], lengths)
        for size in range(len(order))
        for cuts in combinations(range(1, len(order)), size)
    )
    assert cost(split_by_length(lengths, 10**6), lengths) == least


def test_short_examples_do_not_pay_for_a_long_one() -> None:
    assert split_by_length([20, 500, 22, 21], 8192) == [[1], [2, 3, 0]]
    assert split_by_length([40, 50, 45], 8192) == [[1, 2, 0]]
