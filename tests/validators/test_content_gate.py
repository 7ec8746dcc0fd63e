import pytest

from frontier_core.errors import ConfigError
from validators.content_gate import ContentGate, level_named

PREFIX = "🤔🤔🤔🤔\n"


def chat(answer, prompt="What is the capital?", **metadata):
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "metadata": {"skill": "x", **metadata}}


def codes(record, level="standard", profile="emoji_think", spec="chat_sft_v1"):
    return [finding.code for finding in ContentGate(level, profile).check(record, spec, 1)]


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (chat(PREFIX + "Paris"), []),
        (chat("Paris"), ["emoji_prefix"]),
        (chat(PREFIX + "<think>hm</think> Paris"), ["think_tag"]),
        (chat("  "), ["empty_turn"]),
        (chat(PREFIX + "Paris", notes="n" * 201), ["long_notes"]),
        ({**chat(PREFIX + "a"), "messages": chat(PREFIX + "a")["messages"][::-1]}, ["turn_order", "turn_order"]),
    ],
)
def test_quick_judges_profile_and_turns(record, found):
    assert codes(record, "quick") == found


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("The cafÃ© is open", "encoding_damage"),
        ("key AKIAABCDEFGHIJKLMNOP", "secret"),
        ("-----BEGIN RSA PRIVATE KEY-----", "secret"),
        ("see file:///tmp/table.csv", "outside_file"),
        ("see /home/ann/data/table.csv for it", "outside_file"),
        ("no " * 20, "degenerate"),
        ("the same line again\n" * 9, "degenerate"),
    ],
)
def test_standard_finds_what_must_not_be_learnt(answer, code):
    assert codes(chat(PREFIX + answer)) == [code]
    assert codes(chat(PREFIX + answer), "quick") == []


@pytest.mark.parametrize(
    "answer", ["ha ha ha, 1/2 and a/b", "12", "use ~/docs/x and ./home/x/y", "gh and sk- are letters"]
)
def test_standard_leaves_ordinary_text_alone(answer):
    assert codes(chat(PREFIX + answer)) == []


def test_a_plan_may_name_paths():
    plan = {
        "instruction": "list /home/user/docs",
        "output": [{"command": "ls /home/user/docs"}],
        "metadata": {"skill": "s"},
    }
    assert codes(plan, spec="plan_v1") == []


def test_the_second_of_equal_contents_is_a_duplicate_even_with_other_metadata():
    gate = ContentGate("standard", "emoji_think")
    assert gate.check(chat(PREFIX + "a"), "chat_sft_v1", 3) == []
    (finding,) = gate.check(chat(PREFIX + "a", seed=9), "chat_sft_v1", 8)
    assert (finding.code, finding.message) == ("duplicate", "same content as line 3")


def test_a_syllo_answer_must_be_the_json_of_its_contract():
    assert codes(chat(PREFIX + "PARIS", skill="syllo"), spec="syllo_v1") == ["answer_json"]
    assert codes(chat(PREFIX + '{"solutions":[]}', skill="syllo"), spec="syllo_v1") == ["answer_json"]
    good = chat(PREFIX + '{"solutions":[],"inventory_check":{}}', skill="syllo")
    assert codes(good, spec="syllo_v1") == []


def test_a_much_longer_answer_is_pointed_at():
    gate = ContentGate("standard", "plain")
    for number in range(120):
        assert gate.check(chat(f"answer number {number}"), "chat_sft_v1", number) == []
    long = " ".join(str(number) for number in range(400))
    assert [f.code for f in gate.check(chat(long), "chat_sft_v1", 121)] == ["length_outlier"]


def test_deep_finds_leaked_answers_contradictions_and_wrong_ones():
    leaked = chat(PREFIX + "the quick brown fox", prompt="Repeat: the quick brown fox")
    assert codes(leaked, "deep") == ["answer_leak"]
    assert codes(chat(PREFIX + "ok", prompt="Please use <think> tags"), "deep") == ["contradicts_system"]
    wrong = chat(PREFIX + "13", prompt="What is 7 + 5?", skill="binary", level=1)
    assert codes(wrong, "deep") == ["wrong_answer"]
    assert codes(wrong, "standard") == []


def test_a_file_of_nearly_one_tag_gets_a_warning():
    gate = ContentGate("standard", "plain")
    for number in range(19):
        gate.check(chat(f"a{number}", level=1), "chat_sft_v1", number)
    assert gate.whole_file() == []
    gate.check(chat("b", level=2), "chat_sft_v1", 20)
    assert [(f.code, f.severity) for f in gate.whole_file()] == [("imbalance", "warning")]


def test_an_unknown_level_names_the_nearest():
    with pytest.raises(ConfigError) as caught:
        level_named("standrad")
    assert caught.value.hint == "did you mean 'standard'?"
    assert level_named("DEEP") == "deep"
