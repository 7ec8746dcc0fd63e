"""Judges multiple-choice arithmetic: computes the question again, then finds which option holds the value.

Exactly one of four distinct options must hold it; otherwise the record is at fault, not the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from frontier_core.records import Record
from validators.base import Verdict, reject
from validators.skills.dialogue import (
    PromptError,
    judge_text,
    only_question,
    read_dialogue,
    refuse_prompt,
    shown,
    tidy,
)
from validators.skills.expression import evaluate

LETTERS = "ABCD"
_N = "([0-9]{1,18})"
_PROMPT = re.compile(
    r"(.+)\n" + r"\n".join(rf"{letter}\) (-?[0-9]{{1,18}})" for letter in LETTERS) + r"\nReply A, B, C or D\."
)
_EXTREME = re.compile(r"Which number is (largest|smallest)\?")
Solver = Callable[[re.Match[str]], Fraction | int]


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer`, one letter, to the record's question.

    Codes: wrong_answer, not_a_choice, bad_options, unparsable_prompt.
    """
    try:
        dialogue = read_dialogue(record)
        expected = solve(only_question(dialogue))
    except PromptError as error:
        return refuse_prompt(error)
    got = tidy(answer)
    if got not in tuple(LETTERS):
        message = f"expected one of A, B, C, D, got {shown(answer)}"
        return reject("not_a_choice", message, pointer=dialogue.answer_pointer)
    return judge_text(expected, got, dialogue.answer_pointer)


def solve(question: str) -> str:
    """Gives the letter of the one right option.

    Raises:
        PromptError: not such a question, or none or several of its options are right (`bad_options`).
    """
    match = _PROMPT.fullmatch(question.strip())
    if match is None:
        raise PromptError(f"not a multiple-choice question: {shown(question)}")
    stem, options = match[1], [int(option) for option in match.groups()[1:]]
    if len(set(options)) != len(options):
        raise PromptError("two options are the same", "bad_options")
    extreme = _EXTREME.fullmatch(stem)
    if extreme:
        value: Fraction | int = max(options) if extreme[1] == "largest" else min(options)
    else:
        value = value_of(stem)
    if value not in options:
        raise PromptError(f"no option is {value}", "bad_options")
    return LETTERS[options.index(int(value))]


def value_of(stem: str) -> Fraction | int:
    """Gives the exact value a question asks for, or raises PromptError when it is of no known form."""
    for pattern, solver in _SOLVERS:
        match = pattern.fullmatch(stem)
        if match:
            return solver(match)
    raise PromptError(f"not a question of this skill: {shown(stem)}")


def _over(numerator: int, denominator: int) -> Fraction:
    if denominator == 0:
        raise PromptError("the question divides by zero")
    return Fraction(numerator, denominator)


def _remainder(match: re.Match[str]) -> int:
    number, divisor = int(match[1]), int(match[2])
    return number - divisor * int(_over(number, divisor))


_SOLVERS: tuple[tuple[re.Pattern[str], Solver], ...] = (
    (re.compile(rf"What is the remainder of {_N} divided by {_N}\?"), _remainder),
    (re.compile(rf"What is the average of {_N}, {_N} and {_N}\?"), lambda m: Fraction(sum(map(int, m.groups())), 3)),
    (re.compile(rf"What is {_N}% of {_N}\?"), lambda m: Fraction(int(m[1]) * int(m[2]), 100)),
    (re.compile(rf"What is {_N}/{_N} of {_N}\?"), lambda m: _over(int(m[1]) * int(m[3]), int(m[2]))),
    (re.compile(rf"Which number makes \? \+ {_N} = {_N} true\?"), lambda m: int(m[2]) - int(m[1])),
    (re.compile(rf"If {_N}x \+ {_N} = {_N}, what is x\?"), lambda m: _over(int(m[3]) - int(m[2]), int(m[1]))),
    (re.compile(r"What is ([-0-9+*^() ]+)\?"), lambda m: evaluate(m[1])),
)
