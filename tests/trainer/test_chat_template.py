"""Rendering and the response-only mask: what is learnt, and that training and generation see the same ids."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontier_core.errors import ConfigError
from frontier_core.profiles import dress
from frontier_ops.serve_text import TokenText
from trainer.chat_template import apply_profile, encode, injects_think, plain_chatml, prompt_ids, render, render_prompt
from trainer.light_tokenizer import LightTokenizer
from trainer.runtime import quiet

pytestmark = pytest.mark.torch

# Like the templates of reasoning models: a think block on the last answer only, none on earlier ones.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A family without ChatML marks, which trims what it is given.
BRACKETS = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content | trim }}</s>"
    "{% else %}[INST] {{ m.content | trim }} [/INST]{% endif %}{% endfor %}"
)
TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "2 + 3?"},
    {"role": "assistant", "content": "5"},
    {"role": "user", "content": "And 4 more?"},
    {"role": "assistant", "content": "9 \n"},
]


@pytest.fixture
def tokenizer(model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(model_dir, local_files_only=True)


def test_supervised_is_each_answer_with_its_end_mark_and_nothing_else(tokenizer: Any) -> None:
    assert render(tokenizer, TALK) == [
        (
            "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\n2 + 3?<|im_end|>\n<|im_start|>assistant\n",
            False,
        ),
        ("5<|im_end|>", True),
        ("\n<|im_start|>user\nAnd 4 more?<|im_end|>\n<|im_start|>assistant\n", False),
        ("9 \n<|im_end|>", True),
    ]


def test_ids_before_an_answer_are_the_ids_of_the_generation_prompt(tokenizer: Any) -> None:
    ids, mask = encode(tokenizer, [render(tokenizer, TALK)])[0]
    first = prompt_ids(tokenizer, TALK[:2])
    second = prompt_ids(tokenizer, TALK[:4])
    assert ids[: len(first)] == first
    assert ids[: len(second)] == second
    assert mask[len(first) - 1 : len(first) + 3] == [False, True, True, False]
    assert tokenizer.decode([token for token, keep in zip(ids, mask, strict=True) if keep]) == (
        "5<|im_end|>9 \n<|im_end|>"
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="<"), min_size=1, max_size=30)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(question=TEXT, answer=TEXT)
def test_pieces_encode_as_the_whole_text_does(tokenizer: Any, question: str, answer: str) -> None:
    # Servers encode the whole prompt at once: with the tokenizer made here the border changes nothing.
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    text = "".join(segment.text for segment in render(tokenizer, turns))
    assert encode(tokenizer, [render(tokenizer, turns)])[0][0] == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("profile", ["emoji_think", "regime3"])
def test_think_injection_is_overridden_by_plain_chatml(tokenizer: Any, profile: Any) -> None:
    tokenizer.chat_template = THINKING
    assert injects_think(THINKING)
    assert apply_profile(tokenizer, profile) is True
    assert tokenizer.chat_template == plain_chatml()
    assert all("<think>" not in segment.text for segment in render(tokenizer, TALK))
    assert apply_profile(tokenizer, profile) is False


def test_plain_profile_and_other_templates_are_left_alone(tokenizer: Any) -> None:
    tokenizer.chat_template = THINKING
    assert apply_profile(tokenizer, "plain") is False
    assert tokenizer.chat_template == THINKING
    tokenizer.chat_template = BRACKETS
    assert apply_profile(tokenizer, "emoji_think") is False
    assert tokenizer.chat_template == BRACKETS


def test_a_tokenizer_without_a_template_gets_plain_chatml(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    assert apply_profile(tokenizer, "plain") is True
    assert tokenizer.chat_template == plain_chatml()


def test_another_familys_template_is_masked_by_construction(tokenizer: Any) -> None:
    tokenizer.chat_template = BRACKETS
    assert render(tokenizer, TALK[1:]) == [
        ("[INST] 2 + 3? [/INST]", False),
        (" 5</s>", True),
        ("[INST] And 4 more? [/INST]", False),
        (" 9</s>", True),
    ]


def test_template_that_rewrites_earlier_turns_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = THINKING
    with pytest.raises(ConfigError, match="does not render a conversation turn by turn"):
        render(tokenizer, TALK)
    assert "".join(segment.text for segment in render_prompt(tokenizer, TALK[:2])).endswith("assistant\n")


def test_chatml_is_refused_for_a_tokenizer_that_does_not_know_its_marks() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE({"a": 0, "<": 1, "|": 2, "?": 3}, [], unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    with pytest.raises(ConfigError, match=r"does not know <\|im_start\|>"):
        apply_profile(PreTrainedTokenizerFast(tokenizer_object=backend), "emoji_think")


def trl_template(name: str) -> str:
    spec = find_spec("trl")
    if spec is None or spec.origin is None:
        pytest.skip("trl is not installed")
    return Path(spec.origin).with_name("chat_templates").joinpath(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["qwen3.jinja", "qwen3_training.jinja"])
def test_real_qwen3_template_leaves_no_think_in_trained_spans_or_prompts(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = trl_template(name)
    assert injects_think(tokenizer.chat_template)
    assert apply_profile(tokenizer, "emoji_think")
    talk = [
        dict(turn, content=dress(turn["content"].strip(), "emoji_think")) if turn["role"] == "assistant" else turn
        for turn in TALK
    ]
    segments = render(tokenizer, talk)
    assert "think>" not in "".join(segment.text for segment in segments)
    ids, mask = encode(tokenizer, [segments])[0]
    for turn in (2, 4):
        prompt = prompt_ids(tokenizer, talk[:turn])
        assert "think>" not in tokenizer.decode(prompt)
        assert ids[: len(prompt)] == prompt
        # What the server writes out for the ids that were trained is the very answer of the record.
        written = TokenText(lambda found: tokenizer.decode(found, skip_special_tokens=True))
        answer = [token for token, keep in zip(ids[len(prompt) :], mask[len(prompt) :], strict=True) if keep]
        first = answer[: answer.index(tokenizer.eos_token_id)]
        assert "".join(map(written.push, first)) + written.flush() == talk[turn]["content"]


def test_template_of_trl_for_training_qwen3_would_train_an_empty_think_in_every_turn(tokenizer: Any) -> None:
    tokenizer.chat_template = trl_template("qwen3_training.jinja")
    text = tokenizer.apply_chat_template(TALK, tokenize=False)
    assert text.count("<think>\n\n</think>") == 2


@pytest.mark.parametrize("name", ["llama3.jinja", "qwen2_5.jinja", "gemma.jinja", "phi3.jinja"])
def test_templates_of_other_families_stay_as_they_are(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = template = trl_template(name)
    assert not apply_profile(tokenizer, "emoji_think")
    assert tokenizer.chat_template == template


@given(st.lists(st.sampled_from(["system", "user", "assistant"]), min_size=1, max_size=6), TEXT)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_plain_chatml_without_the_template_engine_is_the_templates_own_text(
    tokenizer: Any, roles: list[str], text: str
) -> None:
    talk = [{"role": role, "content": text + str(index)} for index, role in enumerate(roles)]
    fast = render(tokenizer, talk)
    tokenizer.chat_template = plain_chatml() + "{# the same, through the engine #}"
    try:
        assert fast == render(tokenizer, talk)
    finally:
        tokenizer.chat_template = plain_chatml()


def test_light_tokenizer_gives_the_full_ones_text_and_ids(tokenizer: Any, model_dir: Path) -> None:
    light = LightTokenizer(model_dir)
    for template in (plain_chatml(), THINKING, BRACKETS, trl_template("qwen3_training.jinja")):
        light.chat_template = tokenizer.chat_template = template
        for is_prompt in (False, True):
            expected = tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=is_prompt)
            assert light.apply_chat_template(TALK, add_generation_prompt=is_prompt) == expected
    light.chat_template = tokenizer.chat_template = plain_chatml()
    assert encode(light, [render(light, TALK)]) == encode(tokenizer, [render(tokenizer, TALK)])
