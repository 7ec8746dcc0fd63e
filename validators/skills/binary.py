"""Judges arithmetic and binary-conversion answers by reading the question and computing it again.

Knows the questions of the `binary` skill only; longer expressions belong to math_mc.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

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

_N = "[0-9]{1,30}"
_NUMBER = f"({_N})"
_STEP = rf"[0-9]\) ({_N} [-+] {_N}) = {_NUMBER}"
_BITS = re.compile(r"0|1[01]*")
INTEGER, BITS = "a whole number", "binary digits without leading zeros"


class Solution(NamedTuple):
    """The canonical answer to a question, and what it may look like: INTEGER, BITS, or one of some words."""

    text: str
    form: str | tuple[str, ...] = INTEGER


Solver = Callable[[re.Match[str]], Solution]


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer` to the record's question.

    Codes: wrong_answer, not_a_number, not_binary, not_a_choice, unparsable_prompt.
    """
    try:
        dialogue = read_dialogue(record)
        expected, form = solution_of(only_question(dialogue))
    except PromptError as error:
        return refuse_prompt(error)
    if form == INTEGER:
        return judge_integer(expected, answer, dialogue.answer_pointer)
    got = tidy(answer)
    if form == BITS and _BITS.fullmatch(got) is None:
        return reject("not_binary", f"expected {BITS}, got {shown(answer)}", pointer=dialogue.answer_pointer)
    if isinstance(form, tuple) and got not in form:
        message = f"expected one of {', '.join(form)}, got {shown(answer)}"
        return reject("not_a_choice", message, pointer=dialogue.answer_pointer)
    return judge_text(expected, got, dialogue.answer_pointer)


def solve(question: str) -> str:
    """Gives the canonical answer to one question, e.g. `What is 7 + 5?` -> `12`, `Write 5 in binary.` -> `101`.

    Raises:
        PromptError: not a question of this skill.
    """
    return solution_of(question).text


def solution_of(question: str) -> Solution:
    """Gives the canonical answer and its form; raises PromptError for a question of another skill."""
    text = question.strip()
    for pattern, solver in _SOLVERS.get(text.partition(" ")[0], ()):
        match = pattern.fullmatch(text)
        if match:
            return solver(match)
    raise PromptError(f"not a question of this skill: {shown(text)}")


def _expression(match: re.Match[str]) -> Solution:
    return Solution(str(evaluate(match[1])))


def _neighbor(match: re.Match[str]) -> Solution:
    return Solution(str(int(match[2]) + (1 if match[1] == "after" else -1)))


def _extreme(match: re.Match[str]) -> Solution:
    numbers = [int(number) for number in match.groups()[1:]]
    if len(set(numbers)) != len(numbers):
        raise PromptError("two of the numbers are equal")
    return Solution(str(max(numbers) if match[1].startswith("larg") else min(numbers)))


def _to_binary(match: re.Match[str]) -> Solution:
    """Divides by two, another way than the generator's formatting."""
    number, bits = int(match[1]), ""
    while number:
        number, bit = divmod(number, 2)
        bits = f"{bit}{bits}"
    return Solution(bits or "0", BITS)


def _from_binary(match: re.Match[str]) -> Solution:
    return Solution(str(sum(1 << place for place, bit in enumerate(reversed(match[1])) if bit == "1")))


def _backwards(match: re.Match[str]) -> Solution:
    if match[1][-1] == "0":
        raise PromptError("the number ends in 0")
    return Solution("".join(reversed(match[1])))


def _true_or_false(match: re.Match[str]) -> Solution:
    return Solution("true" if evaluate(match[1]) == int(match[2]) else "false", ("true", "false"))


def _blank(match: re.Match[str]) -> Solution:
    """Solves `a + ___ = c`, `___ - b = c` or `a - ___ = c`."""
    first, sign, second, total = match.groups()
    if (first == "___") == (second == "___"):
        raise PromptError("needs one blank")
    if first == "___":
        value = int(total) + int(second) if sign == "-" else int(total) - int(second)
    else:
        value = int(first) - int(total) if sign == "-" else int(total) - int(first)
    if value < 0:
        raise PromptError("the blank stands for a number below 0")
    return Solution(str(value))


def _wrong_step(match: re.Match[str]) -> Solution:
    steps = [(match[number], match[number + 1]) for number in (1, 3, 5)]
    wrong = [number for number, (left, right) in enumerate(steps, 1) if evaluate(left) != int(right)]
    if len(wrong) != 1:
        raise PromptError(f"{len(wrong)} of the steps are wrong, not one", "ambiguous_prompt")
    return Solution(str(wrong[0]), ("1", "2", "3"))


def _relation(match: re.Match[str]) -> Solution:
    difference = evaluate(match[1]) - evaluate(match[2])
    return Solution("=" if not difference else ">" if difference > 0 else "<", ("<", ">", "="))


_SOLVERS: dict[str, tuple[tuple[re.Pattern[str], Solver], ...]] = {
    "What": (
        (re.compile(rf"What is ({_NUMBER} [-*] {_NUMBER}|{_NUMBER}(?: \+ {_NUMBER}){{1,2}})\?"), _expression),
        (re.compile(rf"What comes (after|before) {_NUMBER}\?"), _neighbor),
    ),
    "Which": (
        (re.compile(rf"Which is (larger|smaller), {_NUMBER} or {_NUMBER}\?"), _extreme),
        (re.compile(rf"Which is (largest|smallest), {_NUMBER}, {_NUMBER} or {_NUMBER}\?"), _extreme),
    ),
    "Write": (
        (re.compile(rf"Write {_NUMBER} in binary\."), _to_binary),
        (re.compile(r"Write binary ([01]{1,64}) in decimal\."), _from_binary),
        (re.compile(rf"Write the digits of {_NUMBER} backwards\."), _backwards),
    ),
    "True": ((re.compile(rf"True or false: ({_N} [-+] {_N}) = {_NUMBER}"), _true_or_false),),
    "Fill": ((re.compile(rf"Fill in the blank: (___|{_N}) ([-+]) (___|{_N}) = {_NUMBER}"), _blank),),
    "Find": ((re.compile(rf"Find the wrong step: {_STEP} {_STEP} {_STEP}"), _wrong_step),),
    "Put": ((re.compile(rf"Put <, > or = between ({_N} \+ {_N}) and ({_N} \+ {_N})\."), _relation),),
}
"""First word of a question -> its forms."""
