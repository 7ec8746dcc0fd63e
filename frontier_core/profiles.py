"""Answer profiles: what every assistant turn looks like in training data and at serving time.

`emoji_think` is the default of the training data contract: the text begins with four thinking emoji and holds no
`<think>` block; in its random mode half the answers begin with another emoji, as often as the user turn asks for, and
may end with a stop signal. `regime3` wraps the answer in markers. `plain` asks for neither. Pure text functions; logit
penalties are not covered here.
"""

from __future__ import annotations

import re
from random import Random
from typing import Literal, get_args

from frontier_core.errors import ConfigError

ProfileName = Literal["emoji_think", "regime3", "plain"]
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)

EMOJI_PREFIX = "\N{THINKING FACE}" * 4 + "\n"
ANSWER_START = "<<ANS_START>>"
ANSWER_END = "<<ANS_END>>"
THINKING = tuple("🤔💭🧠💡🎯🔍🤨🧐⚡✨")
"""What an answer may begin with in random mode, two to eight times."""
STOPS = ("🛑", "⛔", "🚫", "❌", "🔴", "⏹️", "🔚", "✋", "🚦", "🛡️")
"""What an answer may end with in random mode, two to four times."""
_TIMES = ("", "once", "twice", "three times", "four times", "five times", "six times", "seven times", "eight times")
_RANDOM_PREFIX = re.compile(f"({'|'.join(THINKING)})\\1+\n")
_STOP_SUFFIX = re.compile(f"\n({'|'.join(STOPS)})\\1{{1,3}}$")
THINK_TAGS = ("<think>", "</think>")


def profile_named(name: str) -> ProfileName:
    """Gives the profile of that name, or raises ConfigError with the names there are."""
    for known in PROFILES:
        if name == known:
            return known
    raise ConfigError(f"unknown profile {name!r}", hint=f"choose one of: {', '.join(PROFILES)}")


def dress(answer: str, profile: ProfileName) -> str:
    """Gives the assistant text that carries `answer` under `profile`; dressing twice changes nothing."""
    bare = undress(answer)
    if profile == "emoji_think":
        return EMOJI_PREFIX + bare
    if profile == "regime3":
        return f"{ANSWER_START} {bare} {ANSWER_END}"
    return bare


def dress_at_random(answer: str, rng: Random, *, is_stopping: bool) -> tuple[str, str]:
    """Gives an assistant text of `emoji_think`'s random mode, and what the user turn before it is told, "" for nothing.

    Half the answers stay bare; so a model learns to begin with an emoji when it is asked to, not always.

    Args:
        answer: bare or dressed.
        rng: draws mode, emoji and counts.
        is_stopping: whether an answer that begins with an emoji also ends with a stop signal.
    """
    bare = undress(answer)
    if rng.random() < 0.5:
        return bare, ""
    emoji, count = rng.choice(THINKING), rng.randint(2, 8)
    text, told = emoji * count + "\n" + bare, f"For this task, think with {emoji} {_TIMES[count]}."
    if is_stopping:
        emoji, count = rng.choice(STOPS), rng.randint(2, 4)
        text += "\n" + emoji * count
        told += f"\nWhen finished, emit {emoji} {_TIMES[count]} to signal completion."
    return text, told


def undress(text: str) -> str:
    """Gives the bare answer of an assistant text: no prefix, markers or `<think>` blocks, whatever the profile."""
    rest = text
    while THINK_TAGS[0] in rest and THINK_TAGS[1] in rest.split(THINK_TAGS[0], 1)[1]:
        before, _, after = rest.partition(THINK_TAGS[0])
        rest = before + after.partition(THINK_TAGS[1])[2].lstrip("\n")
    if rest.startswith("\N{THINKING FACE}"):
        rest = _STOP_SUFFIX.sub("", rest.lstrip("\N{THINKING FACE}").lstrip("\n"))
    elif found := _RANDOM_PREFIX.match(rest):
        rest = _STOP_SUFFIX.sub("", rest[found.end() :])
    if ANSWER_START in rest:
        rest = rest.partition(ANSWER_START)[2].partition(ANSWER_END)[0].strip()
    return rest


def violation(text: str, profile: ProfileName) -> tuple[str, str] | None:
    """Says how an assistant text breaks its profile, as (code, message), or None when it keeps it.

    Source: training data contract, section 2 (assistant outputs).
    """
    if profile == "plain":
        return None
    for tag in THINK_TAGS:
        if tag in text:
            return "think_tag", f"assistant text holds {tag}"
    if profile == "emoji_think" and not text.startswith(EMOJI_PREFIX):
        return "emoji_prefix", "assistant text does not begin with four thinking emoji and a newline"
    if profile == "regime3":
        start, end = text.find(ANSWER_START), text.find(ANSWER_END)
        if start < 0 or end < start:
            return "answer_markers", f"assistant text lacks {ANSWER_START} ... {ANSWER_END}"
        body = text[start + len(ANSWER_START) : end].strip()
        if not (body.startswith("(") and ")" in body):
            return "canonical_form", "the text between the answer markers is not the form (op a b)"
    return None
