"""Answers that stand in their own prompt: such a record teaches to copy, and only copying.

    answer_leak     the prompt holds the answer word for word, or says "the answer is ..." before it is asked for
    answer_overlap  most of a long answer stands in the prompt (a warning: tasks that edit a text do that by right)

What is compared is the last answer against the system and user turns before it, a plan's commands against its
instruction, a chosen answer against its prompt. Options of a multiple-choice question, examples before the question
and rules ("if it rains, the answer is no") are no leaks. Hints in other words are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from frontier_core.profiles import undress
from frontier_core.records import Record
from validators.base import Finding

MIN_LEAK_CHARS = 16
"""Shorter answers occur in prompts by right (a number, a letter), unless the prompt calls them the answer."""
MAX_CUED_CHARS = 80
MIN_OVERLAP_WORDS = 12
OVERLAP_SHARE = 0.8
_RUN_WORDS = 6
_REMEDY = "take the answer out of the prompt, or drop the record"

_WORD = re.compile(r"\w+")
_CUE = re.compile(
    r"(?i)(?:(?P<whose>proposed|wrong|student'?s?|candidate|given|their|his|her|your|my|old|previous|first|example)\s+)?"
    r"\b(?:answer|solution|result|output|label|answer key)\b\s*(?:is|was|equals|should be|must be|=|:|->|→)+\s*"
)
_QUOTES = " \t\"'`*_$([{\\"
_IF = re.compile(r"(?i)\b(?:if|unless|otherwise|when|whenever|else|in case)\b")
_OPTION = re.compile(r"(?m)^\s*(?:\(?[A-Za-z0-9][).:]|[-*•])\s*(.+?)\s*$")
_FINAL = re.compile(r"(?i)(?:####|\\boxed\{|\b(?:final )?answer\s*(?:is|:|=))\s*([^\n}]+)")


class Posed(NamedTuple):
    """An answer, where it stands, and the texts it was asked by."""

    pointer: str
    answer: str
    prompts: tuple[str, ...]


def leaks(record: Record) -> Iterator[Finding]:
    """Yields at most one finding: how the record's answer stands in its prompt."""
    posed = posed_in(record)
    if posed is None or not posed.answer:
        return
    if _is_quoted(posed):
        message = "the answer stands in the prompt word for word"
        yield Finding(code="answer_leak", message=message, pointer=posed.pointer, remedy=_REMEDY)
    elif said := _is_told(posed):
        message = f"the prompt tells the answer: {said}"
        yield Finding(code="answer_leak", message=message, pointer=posed.pointer, remedy=_REMEDY)
    elif (share := _share_in(posed)) >= OVERLAP_SHARE:
        message = f"{share:.0%} of the answer stands in the prompt"
        yield Finding(code="answer_overlap", message=message, pointer=posed.pointer, severity="warning", remedy=_REMEDY)


def posed_in(record: Record) -> Posed | None:
    """Gives the answer to learn and the texts it was asked by; None when the record has no such pair."""
    if isinstance(record.get("instruction"), str) and isinstance(record.get("output"), list):
        steps = [step.get("command") for step in record["output"] if isinstance(step, dict)]
        commands = [step for step in steps if isinstance(step, str)]
        return Posed("/output", "\n".join(commands).strip(), (record["instruction"],))
    for key in ("chosen", "response"):
        if isinstance(record.get(key), str) and isinstance(record.get("prompt"), str):
            return Posed(f"/{key}", undress(record[key]).strip(), (record["prompt"],))
    messages = record.get("messages")
    turns = [turn if isinstance(turn, dict) else {} for turn in messages] if isinstance(messages, list) else []
    for place in range(len(turns) - 1, -1, -1):
        content = turns[place].get("content")
        if turns[place].get("role") == "assistant" and isinstance(content, str):
            asked = [turn.get("content") for turn in turns[:place] if turn.get("role") in ("system", "user")]
            prompts = tuple(text for text in asked if isinstance(text, str) and text)
            return Posed(f"/messages/{place}/content", undress(content).strip(), prompts)
    return None


def _is_quoted(posed: Posed) -> bool:
    answer = posed.answer
    if len(answer) < MIN_LEAK_CHARS:
        return False
    words = _spelled(answer)
    for prompt in posed.prompts:
        # A text without letters or digits, or one word long, is compared as it is spelled.
        found = answer in prompt or (words.count(" ") > 2 and words in _spelled(prompt))
        if found and not _is_option(answer, prompt):
            return True
    return False


def _spelled(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _is_option(answer: str, prompt: str) -> bool:
    """Says whether the answer is one of at least two options that the prompt offers."""
    options = _OPTION.findall(prompt)
    if len(options) < 2:
        return False
    bare = re.sub(r"^\(?[A-Za-z0-9][).:]\s*", "", answer)
    return any(_spelled(option) in (_spelled(answer), _spelled(bare)) for option in options)


def _is_told(posed: Posed) -> str:
    """Gives the words by which a prompt tells the answer, "" when none does."""
    finals = _FINAL.findall(posed.answer)
    answers = {posed.answer, finals[-1].strip() if finals else ""}
    wanted = {_bare(answer) for answer in answers if 0 < len(answer) <= MAX_CUED_CHARS} - {""}
    if not wanted:
        return ""
    for prompt in posed.prompts:
        cues = list(_CUE.finditer(prompt))
        ends_open = bool(cues) and not prompt[cues[-1].end() :].strip()
        for cue in reversed(cues):
            line = prompt[cue.end() :].split("\n", 1)[0]
            if not line.strip():
                continue
            starts_line = not prompt[: cue.start()].rpartition("\n")[2].strip()
            is_example = ends_open and starts_line
            if not (is_example or cue["whose"] or _is_rule(prompt, cue.start())) and _says(line, wanted):
                return repr(f"{cue[0]}{line}"[:60])
            break  # earlier ones belong to examples
    return ""


def _bare(text: str) -> str:
    return text.strip(_QUOTES + ".,;:!?)]}").lower()


def _says(line: str, wanted: set[str]) -> bool:
    """Says whether a line begins with an answer and leaves it at that: "4.", not "4 or 5", not "yes, no or maybe"."""
    said = line.strip(_QUOTES).lower()
    for answer in wanted:
        if said.startswith(answer):
            behind = said[len(answer) :].lstrip(_QUOTES + ")]}%")
            if not behind or (behind[0] in ".;!\n" and not behind[1:2].isalnum()):
                return True
    return False


def _is_rule(prompt: str, at: int) -> bool:
    """Says whether the sentence around a place is a rule with a condition."""
    start = max(prompt.rfind(mark, 0, at) for mark in (".", "\n", ";", "?", "!")) + 1
    ends = [place for mark in (". ", "\n", ";", "?") if (place := prompt.find(mark, at)) >= 0]
    return _IF.search(prompt[start : min(ends, default=len(prompt))]) is not None


def _share_in(posed: Posed) -> float:
    """Gives the share of the answer's words that lie in runs of six which the prompt has too; 0 for short answers."""
    words = _WORD.findall(posed.answer.lower())
    if len(words) < MIN_OVERLAP_WORDS:
        return 0.0
    runs: set[tuple[str, ...]] = set()
    for prompt in posed.prompts:
        asked = _WORD.findall(prompt.lower())
        runs.update(zip(*(asked[shift:] for shift in range(_RUN_WORDS)), strict=False))
    covered, until = 0, 0
    for place, run in enumerate(zip(*(words[shift:] for shift in range(_RUN_WORDS)), strict=False)):
        if run in runs:
            covered += place + _RUN_WORDS - max(until, place)
            until = place + _RUN_WORDS
    return covered / len(words)
