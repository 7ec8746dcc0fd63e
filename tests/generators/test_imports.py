"""Rows of other tools become records of the contract; what a record has no place for is kept, nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from frontier_core.errors import ConfigError, DataError
from generators.imports import Importer, form_named, sniff
from validators.schema_gate import SchemaGate

ASK, TELL = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
CHAT = [ASK, TELL]
SYSTEM = {"role": "system", "content": "Be short."}
CALL = {"id": "call_1_0", "type": "function", "function": {"name": "add", "arguments": '{"a":2}'}}
SAID = '{"name":"add","arguments":{"a":2}}'
WEIGHED = {"role": "user", "content": [{"type": "text", "value": "2+2?"}], "loss_weight": 0.0}
ADD = {"type": "function", "function": {"name": "add"}}

SHAPES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "openai": ({"messages": CHAT, "id": 7}, "openai", {"messages": CHAT, "extra": {"id": 7}}),
    "metadata as text": (
        {"messages": CHAT, "metadata": '{"system": "x"}'}, "openai", {"messages": CHAT, "metadata.system": "x"},
    ),
    "many names of roles": (
        {"messages": [{"role": "Developer", "content": "Be short."}, {"role": "human", "content": "2+2?"}, TELL]},
        "openai", {"messages": [SYSTEM, *CHAT]},
    ),
    "weights of turns": (
        {"messages": [ASK, {**TELL, "weight": 0}]}, "openai",
        {"messages": CHAT, "extra": {"turns": [{"turn": 1, "weight": 0}]}},
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}], "system": "Be short."},
        "sharegpt", {"messages": [SYSTEM, *CHAT]},
    ),
    "sharegpt with roles": ({"conversations": CHAT}, "sharegpt", {"messages": CHAT}),
    "sharegpt by exchange": ({"conversation": [{"human": "2+2?", "assistant": "4"}]}, "sharegpt", {"messages": CHAT}),
    "alpaca": (
        {"instruction": "Add.", "input": "2+2?", "output": "4", "history": [["2+2?", "4"]], "system": "Be short."},
        "alpaca", {"messages": [SYSTEM, *CHAT, {"role": "user", "content": "Add.\n2+2?"}, TELL]},
    ),
    "prompt-completion": (
        {"prompt": "2+2?", "completion": "4", "use_for_training": True}, "prompt-completion",
        {"messages": CHAT, "extra": {"use_for_training": True}},
    ),
    "prompt-completion of turns": ({"prompt": [ASK], "completion": [TELL]}, "prompt-completion", {"messages": CHAT}),
    "query-response": (
        {"query": "2+2?", "response": "4", "history": [["a", "b"]], "lang": "en"}, "query-response",
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, *CHAT],
         "extra": {"lang": "en"}},
    ),
    "question and answer": ({"question": "2+2?", "answer": "4"}, "query-response", {"messages": CHAT}),
    "list of turns": (CHAT, "messages-list", {"messages": CHAT}),
    "content in parts": (
        [ASK, {"role": "assistant", "content": [
            {"type": "text", "text": "Let me see. "}, {"type": "tool_call", "tool_name": "add", "arguments": {"a": 2}},
            {"type": "tool_result", "tool_name": "add", "output": {"value": 4}}, {"type": "text", "text": "It is 4."},
        ]}],
        "messages-list",
        {"messages": [
            ASK, {"role": "assistant", "content": "Let me see. ", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1_0", "content": '{"value":4}'},
            {"role": "assistant", "content": "It is 4."},
        ]},
    ),
    "old function calls": (
        {"messages": [ASK, {"role": "assistant", "content": None, "function_call": CALL["function"]},
                      {"role": "function", "name": "add", "content": "4"}, TELL], "functions": [{"name": "add"}]},
        "tool-calls",
        {"messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                      {"role": "tool", "tool_call_id": "call_1_0", "content": "4"}, TELL],
         "tools": [ADD], "extra": {"turns": [{"turn": 2, "name": "add"}]}},
    ),
    "calls of parsed arguments": (
        {"messages": [ASK, {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 2}}}]},
                      {"role": "tool", "content": "4"}, TELL], "tools": '[{"name": "add"}]'},
        "tool-calls",
        {"messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                      {"role": "tool", "tool_call_id": "call_1_0", "content": "4"}, TELL], "tools": [ADD]},
    ),
    "preference": (
        {"prompt": "2+2?", "chosen": "4", "rejected": "5", "score_chosen": 9}, "preference",
        {"prompt": "2+2?", "chosen": "4", "rejected": "5", "extra": {"score_chosen": 9}},
    ),
    "preference that repeats its prompt": (
        {"prompt": "2+2?", "chosen": CHAT, "rejected": [ASK, {"role": "assistant", "content": "5"}]}, "preference",
        {"prompt": [ASK], "chosen": [TELL], "rejected": [{"role": "assistant", "content": "5"}]},
    ),
    "preference in parts with weights": (
        {"chosen_messages": [WEIGHED, TELL],
         "rejected_messages": [WEIGHED,
                               {"role": "assistant", "content": "5"}]},
        "preference",
        {"prompt": [ASK], "chosen": [TELL], "rejected": [{"role": "assistant", "content": "5"}],
         "extra": {"prompt_turns": [{"turn": 0, "loss_weight": 0.0}]}},
    ),
    "preference as a transcript": (
        {"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5"}, "preference",
        {"prompt": [ASK], "chosen": [TELL], "rejected": [{"role": "assistant", "content": "5"}]},
    ),
    "rejected response": (
        {"messages": CHAT, "rejected_response": "5"}, "preference",
        {"prompt": [ASK], "chosen": [TELL], "rejected": "5"},
    ),
    "preference after a call": (
        {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "function_call", "value": SAID},
                           {"from": "observation", "value": "4"}],
         "tools": '[{"name": "add"}]', "chosen": "4", "rejected": {"from": "gpt", "value": "5"}},
        "preference",
        {"prompt": [ASK, {"role": "assistant", "content": SAID}, {"role": "user", "content": "4"}],
         "chosen": "4", "rejected": "5",
         "extra": {"tools": [ADD], "prompt_as_given": [
             ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]},
             {"role": "tool", "content": "4", "tool_call_id": "call_1_0"}]}},
    ),
    "kto": (
        {"prompt": "2+2?", "completion": "5", "label": False}, "kto",
        {"prompt": "2+2?", "response": "5", "reward": 0.0, "metadata.label": False},
    ),
    "kto of turns": (
        {"prompt": [ASK], "completion": [TELL], "label": True}, "kto",
        {"prompt": [ASK], "response": "4", "reward": 1.0, "metadata.label": True},
    ),
    "our own": (
        {"messages": CHAT, "metadata": {"skill": "sum", "level": 3}}, "contract",
        {"messages": CHAT, "metadata.skill": "sum", "metadata.level": 3},
    ),
    "a plain text": ({"text": "Once."}, "contract", {"text": "Once."}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_row_of_each_shape_becomes_a_record(name: str) -> None:
    row, form, wanted = SHAPES[name]
    got, record = Importer(defaults={"skill": "school"}).take(row, source="f.jsonl")
    assert got == form
    metadata = {"skill": "school", "source": "f.jsonl"}
    metadata |= {key.removeprefix("metadata."): value for key, value in wanted.items() if key.startswith("metadata.")}
    metadata |= {"extra": wanted["extra"]} if "extra" in wanted else {}
    body = {key: value for key, value in wanted.items() if key != "extra" and not key.startswith("metadata.")}
    assert record == {**body, "metadata": metadata}
    assert SchemaGate().check(record)[1] == ()


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"user_name": "x", "api_call": "y"}, "unknown_form"),
        (7, "not_an_object"),
        ([1, 2], "not_an_object"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown_role"),
        ({"messages": [ASK, {"role": "assistant", "content": None}]}, "no_text"),
        ({"messages": [ASK, {"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}]}, "media"),
        ({"messages": [ASK, {"role": "assistant", "tool_calls": [{"function": {}}]}]}, "missing_key"),
        ({"conversations": "not json"}, "bad_json"),
        ({"question": "x", "answer": ["a"]}, "wrong_type"),
        ({"prompt": "x", "completion": 3, "label": True}, "wrong_type"),
        ({"chosen": "a", "rejected": "b"}, "missing_key"),
        ({"prompt": "x", "chosen": "a"}, "missing_key"),
    ],
)
def test_a_row_that_can_not_be_taken_says_why(row: Any, code: str) -> None:
    with pytest.raises(DataError) as caught:
        Importer().take(row)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "stripped", "num"),
    [
        ("<think>\nhm\n</think>\n\n4", "4", 1),
        ("hm\n</think>\n\n4", "4", 1),
        ("a <thinking>b</thinking>c", "a c", 1),
        ("4", "4", 0),
    ],
)
def test_thoughts_are_taken_out_or_kept_by_choice(text: str, stripped: str, num: int) -> None:
    row = {"messages": [ASK, {"role": "assistant", "content": text}]}
    out, keep = Importer(), Importer(think="keep")
    assert out.take(row)[1]["messages"][1]["content"] == stripped
    assert out.num_stripped == num
    assert keep.take(row)[1]["messages"][1]["content"] == text


def test_thoughts_beside_the_text_are_kept_either_way() -> None:
    row = {"messages": [ASK, {**TELL, "reasoning_content": "hm"}]}
    record = Importer().take(row)[1]
    assert record["messages"][1] == TELL
    assert record["metadata"]["extra"] == {"turns": [{"turn": 1, "reasoning_content": "hm"}]}
    assert Importer(think="keep").take(row)[1]["messages"][1]["content"] == "<think>\nhm\n</think>\n\n4"


def test_a_named_form_is_taken_at_its_word() -> None:
    assert form_named("kto") == "kto"
    assert [form_named(name) for name in ("auto", "parquet", "hf-dataset-dir")] == [None, None, None]
    with pytest.raises(ConfigError) as caught:
        form_named("sharegtp")
    assert caught.value.hint == "did you mean 'sharegpt'?"
    with pytest.raises(DataError):
        Importer("alpaca").take({"messages": CHAT})


def test_the_row_itself_is_not_changed() -> None:
    row = {"messages": [ASK, {"role": "assistant", "content": "<think>x</think>4"}], "functions": []}
    before = repr(row)
    Importer().take(row)
    assert repr(row) == before


def test_sniffing_a_plan_and_an_alpaca_row_apart() -> None:
    assert sniff({"instruction": "x", "output": [{"command": "ls"}]}) == "contract"
    assert sniff({"instruction": "x", "output": "y"}) == "alpaca"
