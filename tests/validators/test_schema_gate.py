import pytest

from frontier_core.errors import ConfigError
from validators.schema_gate import SchemaGate

CHAT = {
    "messages": [{"role": "user", "content": "7 + 5?"}, {"role": "assistant", "content": "12"}],
    "metadata": {"skill": "binary", "own_key": [1, None]},
}
PLAN = {
    "instruction": "make a folder",
    "output": [{"command": "mkdir a"}],
    "fixture": {"files": {"b/c.txt": {"text": "x", "mode": "0644"}}},
    "expect": {"files": {"a": {"dir": True}}},
    "metadata": {"skill": "shell_file_system"},
}
SAMPLES = {
    "chat_sft_v1": CHAT,
    "syllo_v1": {**CHAT, "metadata": {"skill": "syllo", "level": 1}},
    "plan_v1": PLAN,
    "completion_v1": {"text": "once", "metadata": {"skill": "web"}},
    "preference_v1": {"prompt": "p", "chosen": "a", "rejected": "b", "metadata": {"skill": "x"}},
    "reward_v1": {"prompt": "p", "response": "a", "reward": 0.5, "metadata": {"skill": "x"}},
    "sparring_v1": {**CHAT, "type": "sparring_correction"},
    "trace_v1": {
        "messages": [
            {"role": "user", "content": "weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
            {"role": "assistant", "content": "rain"},
        ],
        "metadata": {"skill": "tools"},
    },
    "graph_v1": {**CHAT, "nodes": [{"id": "a"}], "edges": []},
}


@pytest.mark.parametrize(("spec", "record"), SAMPLES.items())
def test_a_record_of_each_spec_is_recognised_and_passes(spec, record):
    assert SchemaGate().check(record) == (spec, ())


@pytest.mark.parametrize(
    ("record", "code", "pointer"),
    [
        (
            {**CHAT, "messages": [{"role": "User", "content": "a"}, CHAT["messages"][1]]},
            "wrong_role",
            "/messages/0/role",
        ),
        ({**CHAT, "messages": [CHAT["messages"][0]] * 2}, "missing_turn", "/messages"),
        ({**CHAT, "messages": []}, "too_few", "/messages"),
        ({**CHAT, "messages": [{"role": "user"}, CHAT["messages"][1]]}, "missing_key", "/messages/0"),
        (
            {**CHAT, "messages": [{"role": "user", "content": 7}, CHAT["messages"][1]]},
            "bad_type",
            "/messages/0/content",
        ),
        ({"messages": CHAT["messages"]}, "missing_key", ""),
        ({**CHAT, "metadata": {}}, "missing_key", "/metadata"),
        ({**CHAT, "metadata": {"skill": "x", "level": -1}}, "out_of_range", "/metadata/level"),
        ({**CHAT, "extra": 1}, "unknown_key", ""),
        ({**PLAN, "output": []}, "too_few", "/output"),
        ({**PLAN, "fixture": {"files": {"/etc/passwd": {"text": "x"}}}}, "bad_path", "/fixture/files"),
        ({**PLAN, "fixture": {"files": {"a/../../b": {"text": "x"}}}}, "bad_path", "/fixture/files"),
        ({"foo": 1}, "unknown_spec", ""),
    ],
)
def test_a_broken_record_is_refused_with_its_place(record, code, pointer):
    _, findings = SchemaGate().check(record)
    assert (findings[0].code, findings[0].pointer) == (code, pointer)
    assert findings[0].severity == "error"


def test_a_fixed_spec_refuses_records_of_another():
    assert SchemaGate("plan_v1").check(CHAT)[1] != ()


def test_an_unknown_spec_names_the_nearest():
    with pytest.raises(ConfigError) as caught:
        SchemaGate("chat_sft_v2")
    assert caught.value.hint == "did you mean 'chat_sft_v1'?"
