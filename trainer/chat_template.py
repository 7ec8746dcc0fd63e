"""How chat turns become text and token ids, the same for training, evaluation and serving.

The supervised spans come from the template itself: each assistant turn is rendered with everything before it, once up
to the generation prompt and once with the answer; what the answer adds is what the model is to write. So the ids
before an answer in training are by construction the ids of the prompt at generation. Does not cover tool calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from frontier_core.errors import ConfigError
from frontier_core.profiles import ProfileName
from frontier_core.records import Message
from frontier_core.resources import shipped

IM_START, IM_END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
_THINK_MARKS = ("<think>", "</think>", "reasoning_content", "enable_thinking")
_OVERRIDING: tuple[ProfileName, ...] = ("emoji_think", "regime3")


class Segment(NamedTuple):
    """A piece of a rendered conversation; `is_supervised` pieces are what the model learns to write."""

    text: str
    is_supervised: bool


@lru_cache(maxsize=1)
def plain_chatml() -> str:
    """Gives the plain ChatML template that ships (templates/chat/chatml.jinja)."""
    return shipped("templates/chat/chatml.jinja").read_text(encoding="utf-8").rstrip("\n")


def injects_think(template: str) -> bool:
    """Says whether a chat template writes or handles `<think>` blocks, as those of reasoning models do."""
    return any(mark in template for mark in _THINK_MARKS)


def apply_profile(tokenizer: Any, profile: ProfileName) -> bool:
    """Replaces the tokenizer's chat template by plain ChatML where the profile forbids its `<think>` blocks.

    A tokenizer without any template gets plain ChatML too. Other templates stay as they are.

    Args:
        tokenizer: a transformers tokenizer; changed in place.
        profile: the answer profile of the run.
    Returns:
        True when the template was replaced.
    Raises:
        ConfigError: ChatML is needed but the tokenizer does not know its marks as single tokens.
    """
    template = tokenizer.chat_template
    template = template.get("default", "") if isinstance(template, dict) else template or ""
    if template and not (profile in _OVERRIDING and injects_think(template)):
        return False
    for mark in (IM_START, IM_END):
        if len(tokenizer.encode(mark, add_special_tokens=False)) != 1:
            raise ConfigError(
                f"the tokenizer does not know {mark}, which profile {profile} needs for its ChatML template",
                hint="choose profile plain, or a model with ChatML marks",
            )
    tokenizer.chat_template = plain_chatml()
    return True


def render(tokenizer: Any, messages: Sequence[Message]) -> list[Segment]:
    """Gives a conversation as segments; joined they are the template's own text, cut after the last answer.

    The last segment is the last assistant turn, end mark included; what the template writes after it (a newline) and
    any later turns are left out, since nothing there is learnt.

    Raises:
        ConfigError: the template renders earlier turns differently once later ones are there, so that no training
            text can agree with what is seen at generation.
    """
    if tokenizer.chat_template == plain_chatml():
        return _chatml(messages)
    segments: list[Segment] = []
    done = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _text(tokenizer, messages[:index], is_prompt=True)
        after = _text(tokenizer, messages[: index + 1], is_prompt=False)
        if not before.startswith(done) or not after.startswith(before):
            raise ConfigError(
                "the model's chat template does not render a conversation turn by turn",
                hint="choose profile emoji_think, which trains with plain ChatML, or split the conversation",
            )
        answer = after[len(before) :].rstrip()
        segments += [Segment(before[len(done) :], False), Segment(answer, True)]
        done = before + answer
    return segments


def _chatml(messages: Sequence[Message]) -> list[Segment]:
    """Gives what `render` gives under plain ChatML, without the template engine: the most used template by far."""
    segments: list[Segment] = []
    before = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            before += f"{IM_START}{message['role']}\n{message['content']}{IM_END}\n"
            continue
        # As the template does, an opening answer has no past, not even its own role mark.
        opening = f"{IM_START}assistant\n"
        answer = f"{message['content']}{IM_END}"
        segments.append(Segment(before + opening if index else "", False))
        segments.append(Segment(answer if index else opening + answer, True))
        before = "\n"
    return segments


def render_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[Segment]:
    """Gives the generation prompt after `messages`: the very segments training has before the next answer.

    Raises:
        ConfigError: as `render`.
    """
    segments = render(tokenizer, messages)
    done = "".join(segment.text for segment in segments)
    whole = _text(tokenizer, messages, is_prompt=True)
    if not whole.startswith(done):
        raise ConfigError(
            "the model's chat template does not render a conversation turn by turn",
            hint="choose profile emoji_think, which uses plain ChatML",
        )
    return [*segments, Segment(whole[len(done) :], False)]


def encode(tokenizer: Any, conversations: Sequence[Sequence[Segment]]) -> list[tuple[list[int], list[bool]]]:
    """Gives (ids, is_supervised) per conversation, both of length T.

    Segments are encoded one by one, so that no merge ever spans the border between prompt and answer; a segment that
    many conversations share is encoded once.
    """
    texts = list(dict.fromkeys(segment.text for segments in conversations for segment in segments))
    encoded = dict(zip(texts, _ids(tokenizer, texts), strict=True))
    rows: list[tuple[list[int], list[bool]]] = []
    for segments in conversations:
        ids: list[int] = []
        mask: list[bool] = []
        for segment in segments:
            part = encoded[segment.text]
            ids += part
            mask += [segment.is_supervised] * len(part)
        rows.append((ids, mask))
    return rows


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Gives the ids of texts; straight from the Rust tokenizer where there is one, which takes half the time."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return list(tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []
    return [found.ids for found in backend.encode_batch_fast(texts, add_special_tokens=False)]


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Gives the token ids of the generation prompt after `messages`."""
    return encode(tokenizer, [render_prompt(tokenizer, messages)])[0][0]


def _text(tokenizer: Any, messages: Sequence[Message], *, is_prompt: bool) -> str:
    if not messages:
        # Many templates index messages[0]; a conversation that opens with the model has an empty past.
        return ""
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=is_prompt)
    return text
