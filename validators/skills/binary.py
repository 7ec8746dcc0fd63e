"""Judges arithmetic and binary-conversion answers by reading the question and computing it again.

Knows the questions of the `binary` skill only; longer expressions belong to math_mc.
"""

from __future__ import annotations

import re

from frontier_core.records import Record
from validators.base import Verdict, reject
from validators.skills.dialogue import (
    PromptError,
    judge_integer,
    judge_text,
    only_question,
    read_dialogue,
    refuse_prompt,
    shown,
    tidy,
)
from validators.skills.expression import evaluate

_NUMBER = "([0-9]{1,30})"
_EXPRESSION = re.compile(rf"What is ({_NUMBER} [-*] {_NUMBER}|{_NUMBER}(?: \+ {_NUMBER}){{1,2}})\?")
_COMPARE = re.compile(rf"Which is (larger|smaller), {_NUMBER} or {_NUMBER}\?")
_COMPARE_THREE = re.compile(rf"Which is (largest|smallest), {_NUMBER}, {_NUMBER} or {_NUMBER}\?")
_TO_BINARY = re.compile(rf"Write {_NUMBER} in binary\.")
_FROM_BINARY = re.compile(r"Write binary ([01]{1,64}) in decimal\.")
_NEIGHBOR = re.compile(rf"What comes (after|before) {_NUMBER}\?")
_BITS = re.compile(r"0|1[01]*")


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer` to the record's question.

    Codes: wrong_answer, not_a_number, not_binary, unparsable_prompt.
    """
    try:
        dialogue = read_dialogue(record)
        question = only_question(dialogue)
        expected = solve(question)
    except PromptError as error:
        return refuse_prompt(error)
    if _TO_BINARY.fullmatch(question.strip()):
        got = tidy(answer)
        if _BITS.fullmatch(got) is None:
            message = f"expected binary digits without leading zeros, got {shown(answer)}"
            return reject("not_binary", message, pointer=dialogue.answer_pointer)
        return judge_text(expected, got, dialogue.answer_pointer)
    return judge_integer(expected, answer, dialogue.answer_pointer)


def solve(question: str) -> str:
    """Gives the canonical answer to one question, e.g. `What is 7 + 5?` -> `12`, `Write 5 in binary.` -> `101`.

    Raises:
        PromptError: not a question of this skill.
    """
    text = question.strip()
    if match := _EXPRESSION.fullmatch(text):
        return str(evaluate(match[1]))
    if match := _COMPARE.fullmatch(text) or _COMPARE_THREE.fullmatch(text):
        numbers = [int(number) for number in match.groups()[1:]]
        if len(set(numbers)) != len(numbers):
            raise PromptError("two of the numbers are equal")
        return str(max(numbers) if match[1].startswith("larg") else min(numbers))
    if match := _TO_BINARY.fullmatch(text):
        return _bits_of(int(match[1]))
    if match := _FROM_BINARY.fullmatch(text):
        return str(sum(1 << place for place, bit in enumerate(reversed(match[1])) if bit == "1"))
    if match := _NEIGHBOR.fullmatch(text):
        return str(int(match[2]) + (1 if match[1] == "after" else -1))
    raise PromptError(f"not a question of this skill: {shown(text)}")


def _bits_of(number: int) -> str:
    """Gives the binary digits by dividing by two, another way than the generator's formatting."""
    bits = ""
    while number:
        number, bit = divmod(number, 2)
        bits = f"{bit}{bits}"
    return bits or "0"
