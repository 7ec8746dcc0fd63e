import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import dumps
from generators.formats import convert, form_named
from validators.content_gate import ContentGate
from validators.plans import plan_in
from validators.schema_gate import SchemaGate

PLAN = {
    "instruction": "Move the PDFs to papers",
    "output": [{"command": "mkdir -p papers"}, {"command": "mv *.pdf papers/"}],
    "fixture": {"files": {"a.pdf": {"text": "x"}}},
    "expect": {"files": {"a.pdf": {"absent": True}}},
    "metadata": {"skill": "shell_file_system"},
}
CHAT = {
    "messages": [{"role": "user", "content": "7 + 5?"}, {"role": "assistant", "content": "🤔🤔🤔🤔\n12"}],
    "metadata": {"skill": "binary"},
}


def test_delta_is_the_instruction_and_its_commands():
    assert convert(PLAN, "delta") == {
        "instruction": "Move the PDFs to papers",
        "output": [{"command": "mkdir -p papers"}, {"command": "mv *.pdf papers/"}],
        "metadata": {"skill": "shell_file_system"},
    }


def test_chat_is_one_turn_that_ends_in_the_plan():
    assert convert(PLAN, "chat")["messages"] == [
        {"role": "user", "content": "Move the PDFs to papers"},
        {
            "role": "assistant",
            "content": '🤔🤔🤔🤔\nEXECUTING_PLAN: [{"command":"mkdir -p papers"},{"command":"mv *.pdf papers/"}]',
        },
    ]


def test_echo_asks_before_it_acts():
    turns = convert(PLAN, "echo", profile="plain")["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"]
    assert "2 steps with `mkdir`, `mv`" in turns[1]["content"]
    assert turns[1]["content"].endswith("?")
    assert turns[3]["content"] == 'EXECUTING_PLAN: [{"command":"mkdir -p papers"},{"command":"mv *.pdf papers/"}]'
    assert convert(PLAN, "echo") == convert(PLAN, "echo")


@pytest.mark.parametrize("form", ["delta", "echo", "chat"])
def test_every_form_passes_both_gates(form):
    record = convert(PLAN, form)
    spec, findings = SchemaGate().check(record)
    assert findings == ()
    assert ContentGate("deep", "emoji_think").check(record, spec, 1) == []


def test_chat_records_pass_through_and_have_no_delta():
    assert convert(CHAT, "echo") == convert(CHAT, "chat") == CHAT
    with pytest.raises(DataError, match="has no Delta form"):
        convert(CHAT, "delta")
    with pytest.raises(DataError, match="neither a plan nor a chat"):
        convert({"text": "x", "metadata": {}}, "chat")


def test_an_unknown_form_names_the_nearest():
    with pytest.raises(ConfigError) as caught:
        form_named("ecco")
    assert caught.value.hint == "did you mean 'echo'?"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_a_plan_is_read_back_from_the_answer(commands):
    output = [{"command": command} for command in commands]
    assert plan_in(f"EXECUTING_PLAN: {dumps(output).decode()}") == commands


@pytest.mark.parametrize(
    "answer",
    ["", "mkdir a", "EXECUTING_PLAN: [", "EXECUTING_PLAN: []", 'EXECUTING_PLAN: [{"cmd":"a"}]', "EXECUTING_PLAN: [1]"],
)
def test_what_holds_no_plan_is_none(answer):
    assert plan_in(answer) is None
