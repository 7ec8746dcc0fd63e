"""Rendering and the response-only mask: what is learnt, and that training and generation see the same ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontier_core.errors import ConfigError
from trainer.chat_template import apply_profile, encode, injects_think, plain_chatml, prompt_ids, render, render_prompt
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
