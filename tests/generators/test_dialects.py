"""Other tools' forms: there and back gives the same record; what a form can't hold is an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import dumps
from generators.dialects import DialectName, dialect_named, from_dialect, sniff, to_dialect, with_profile

META = {"skill": "binary", "level": 2, "notes": "kept"}
CHAT = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3+3?"},
        {"role": "assistant", "content": "6"},
    ],
    "metadata": META,
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
TRACE = {
    "messages": [
        {"role": "user", "content": "Oslo and Rome?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                {"id": "b", "type": "function", "function": {"name": "weather", "arguments": '{ "city": "Rome" }'}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "2"},
        {"role": "tool", "tool_call_id": "b", "content": "19"},
        {"role": "assistant", "content": "2 and 19 degrees."},
    ],
    "tools": [WEATHER],
    "metadata": {"skill": "tool_use"},
}
PLAN = {"instruction": "List it.", "output": [{"command": "ls -a"}], "metadata": {"skill": "shell_file_system"}}


@pytest.mark.parametrize("dialect", ["openai", "sharegpt", "alpaca", "trl"])
def test_chat_comes_back_as_it_was(dialect: DialectName) -> None:
    assert from_dialect(to_dialect(CHAT, dialect), dialect) == CHAT


@pytest.mark.parametrize("dialect", ["openai", "sharegpt", "trl"])
def test_tool_trace_comes_back_with_ids_and_the_spelling_of_its_arguments(dialect: DialectName) -> None:
    assert from_dialect(to_dialect(TRACE, dialect), dialect) == TRACE


def test_sharegpt_says_human_gpt_function_call_and_observation() -> None:
    row = to_dialect(TRACE, "sharegpt")
    assert [turn["from"] for turn in row["conversations"]] == [
        "human", "function_call", "observation", "observation", "gpt",
    ]  # fmt: skip
    assert row["tools"] == '[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]'


def test_alpaca_puts_earlier_exchanges_into_history() -> None:
    assert to_dialect(CHAT, "alpaca") == {
        "instruction": "3+3?",
        "input": "",
        "output": "6",
        "system": "Be short.",
        "history": [["2+2?", "4"]],
        "metadata": META,
    }


def test_trl_parts_the_last_answer_from_its_prompt() -> None:
    row = to_dialect({"messages": CHAT["messages"][1:3], "metadata": META}, "trl")
    assert row == {
        "prompt": [{"role": "user", "content": "2+2?"}],
        "completion": [{"role": "assistant", "content": "4"}],
        "metadata": META,
    }


def test_trl_pair_of_mixed_kinds_becomes_turns() -> None:
    pair = {"prompt": [{"role": "user", "content": "2+2?"}], "chosen": "4", "rejected": "5", "metadata": META}
    row = to_dialect(pair, "trl")
    assert (row["chosen"], row["rejected"]) == (
        [{"role": "assistant", "content": "4"}],
        [{"role": "assistant", "content": "5"}],
    )


@pytest.mark.parametrize("dialect", ["echo", "chat"])
def test_plan_comes_back_from_its_conversation(dialect: DialectName) -> None:
    assert from_dialect(to_dialect(PLAN, dialect), dialect) == PLAN


WORLD = {**PLAN, "fixture": {"dirs": {"a": {}}}, "expect": {"stdout": "a\n"}}
WORLD = {key: WORLD[key] for key in ("instruction", "output", "fixture", "expect", "metadata")}


@pytest.mark.parametrize("dialect", ["openai", "sharegpt", "alpaca", "trl", "delta", "echo", "chat"])
def test_plan_comes_back_with_its_world_from_every_form_and_is_recognised(dialect: DialectName) -> None:
    row = to_dialect(WORLD, dialect)
    assert dumps(from_dialect(row, sniff(row))) == dumps(WORLD)


def test_answer_edited_into_something_else_stays_a_chat() -> None:
    row = to_dialect(WORLD, "openai")
    row["messages"][-1]["content"] = "I would rather not."
    assert from_dialect(row, "openai")["messages"] == row["messages"]


def test_pair_without_a_prompt_gets_the_turns_both_begin_with() -> None:
    asked, good, bad = ({"role": r, "content": c} for r, c in (("user", "a"), ("assistant", "b"), ("assistant", "c")))
    record = from_dialect({"chosen": [asked, good], "rejected": [asked, bad]}, "trl")
    assert (record["prompt"], record["chosen"], record["rejected"]) == ([asked], [good], [bad])
    with pytest.raises(DataError, match="no prompt in common"):
        from_dialect({"chosen": [good], "rejected": [bad]}, "trl")


def test_answer_that_was_labelled_bad_is_no_training_data() -> None:
    with pytest.raises(DataError, match="not to be learned"):
        from_dialect({"prompt": "p", "completion": "bad", "label": False}, "trl")
    kept = from_dialect({"prompt": "p", "completion": "good", "label": True}, "trl")
    assert kept["metadata"]["extra"] == {"label": True}


def test_foreign_key_never_takes_the_place_of_a_forms_own() -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "prompt": "zz", "n": 1}
    out = to_dialect(from_dialect(row, "sharegpt"), "trl")
    assert (out["prompt"], out["n"]) == ([{"role": "user", "content": "a"}], 1)
    assert out["metadata"]["extra"] == {"prompt": "zz"}


FOREIGN: list[tuple[dict[str, Any], DialectName, dict[str, Any]]] = [
    (
        {"system": "S", "conversation": [{"human": "a", "assistant": "b"}]},
        "sharegpt",
        {"messages": [
            {"role": "system", "content": "S"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        ]},
    ),
    (
        {"instruction": "Add.", "input": "1 2", "output": "3", "score": 5},
        "alpaca",
        {"messages": [{"role": "user", "content": "Add.\n1 2"}, {"role": "assistant", "content": "3"}],
         "metadata": {"skill": "theirs", "extra": {"score": 5}}},
    ),
    (
        {"prompt": "2+2?", "completion": "4"},
        "trl",
        {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]},
    ),
    (
        {"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"}, "rejected": "c"},
        "sharegpt",
        {"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"},
    ),
    (
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        "contract",
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("row", "dialect", "wanted"), FOREIGN)
def test_foreign_row_is_recognised_and_nothing_of_it_is_lost(
    row: dict[str, Any], dialect: DialectName, wanted: dict[str, Any]
) -> None:
    assert sniff(row) == dialect
    assert from_dialect(row, dialect, skill="theirs") == {"metadata": {"skill": "theirs"}, **wanted}


def test_keys_of_a_foreign_row_come_back_with_it() -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "score": 5, "id": "x"}
    assert to_dialect(from_dialect(row, "sharegpt"), "sharegpt") == {**row, "metadata": {"skill": "imported"}}


def test_metadata_written_as_text_is_read() -> None:
    asked = {"role": "user", "content": "a"}
    record = from_dialect({"messages": [asked], "metadata": '{"skill":"law","page":3}'}, "contract")
    assert record["metadata"] == {"skill": "law", "page": 3}


WRONG: list[tuple[dict[str, Any], DialectName, str]] = [
    ({"conversations": [{"from": "humn", "value": "a"}]}, "sharegpt", "/conversations/0/from: unknown speaker 'humn'"),
    ({"conversations": [{"from": "human"}]}, "sharegpt", "/conversations/0/value: 'value' is missing"),
    ({"conversations": [{"from": "function_call", "value": "{"}]}, "sharegpt", "the function call is no JSON"),
    ({"instruction": "a", "output": 3}, "alpaca", "/output: 'output' is a int"),
    ({"prompt": "a"}, "trl", "'completion' is missing"),
    ({"messages": [{"role": "user"}], "metadata": "x"}, "contract", "metadata is no object"),
    ({"messages": []}, "contract", "/messages: messages holds no turns"),
    ({"messages": "nope"}, "contract", "/messages: messages holds no turns"),
    ({"messages": ["hi"]}, "contract", "/messages/0: the turn has no role"),
]


@pytest.mark.parametrize(("row", "dialect", "words"), WRONG)
def test_row_in_another_form_is_refused_at_its_key(row: dict[str, Any], dialect: DialectName, words: str) -> None:
    with pytest.raises(DataError) as caught:
        from_dialect(row, dialect)
    assert words in f"{caught.value.pointer}: {caught.value.problem}"


def test_what_a_form_can_not_hold_is_refused() -> None:
    talking = {"messages": [{**TRACE["messages"][1], "content": "Let me look."}], "metadata": META}
    with pytest.raises(DataError, match="either text or tool calls"):
        to_dialect(talking, "sharegpt")
    with pytest.raises(DataError, match="without tools"):
        to_dialect(TRACE, "alpaca")
    asked = {"role": "user", "content": "a"}
    for message, dialect, words in (
        ({"role": "developer", "content": "a"}, "sharegpt", "no speaker for the role 'developer'"),
        ({"role": "assistant", "content": None}, "sharegpt", "no ShareGPT form"),
        ({"role": "assistant", "content": [{"type": "text", "text": "a"}]}, "alpaca", "no Alpaca form"),
        ({"role": "assistant", "content": "b", "weight": 0}, "alpaca", "no place for 'weight'"),
    ):
        with pytest.raises(DataError, match=words):
            to_dialect({"messages": [asked, message], "metadata": META}, dialect)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no sharegpt form"):
        to_dialect({"prompt": "a", "chosen": "b", "rejected": "c", "metadata": META}, "sharegpt")


def test_unknown_names_get_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError) as caught:
        dialect_named("sharegtp")
    assert caught.value.hint == "did you mean 'sharegpt'?"
    with pytest.raises(DataError, match="no known form has the keys foo, bar"):
        sniff({"foo": 1, "bar": 2})


def test_profile_dresses_answers_and_leaves_tool_calls_alone() -> None:
    dressed = with_profile(TRACE, "emoji_think")
    assert dressed["messages"][1] == TRACE["messages"][1]
    assert dressed["messages"][4]["content"] == "\U0001f914" * 4 + "\n2 and 19 degrees."
    assert with_profile(dressed, "plain") == TRACE


TEXTS = st.text(min_size=1)


@given(
    exchanges=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3),
    system=st.none() | TEXTS,
    extra=st.dictionaries(st.sampled_from(["licence", "n"]), st.integers() | TEXTS),
    dialect=st.sampled_from(["openai", "sharegpt", "alpaca", "trl"]),
)
def test_any_chat_comes_back(
    exchanges: list[tuple[str, str]], system: str | None, extra: dict[str, Any], dialect: DialectName
) -> None:
    messages = [{"role": "system", "content": system}] if system else []
    for asked, answer in exchanges:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    record = {"messages": messages, "metadata": {"skill": "s", **({"extra": extra} if extra else {})}}
    assert from_dialect(to_dialect(record, dialect), dialect) == record
