"""Wrong answers people and models really give: off by one, off by ten, swapped or lost digits, the wrong operation.

Lists slips in a fixed order, plausible ones first; never the right answer, never one twice. Choosing is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

from generators.procedural.chat_skill import Problem

T = TypeVar("T")
_NUMBER = re.compile(r"-?[0-9]+")
_WORDS = {"true_false": ("true", "false"), "find_error": ("1", "2", "3"), "relate": ("<", ">", "=")}
"""Scenario -> the words its answer is one of."""


def slips_of_number(answer: int) -> list[int]:
    """Gives at least four wrong whole numbers near `answer`; none is negative unless `answer` is."""
    digits = str(abs(answer))
    sign = -1 if answer < 0 else 1
    near = [answer + 1, answer - 1, answer + 10, answer - 10, answer + 2, answer - 2, answer + 3, answer + 4]
    if len(digits) > 1:
        near.append(sign * int(digits[:-2] + digits[-1] + digits[-2]))
        near.append(sign * int(digits[:-1]))
    if len(digits) > 2:
        near += [answer + 100, answer - 100]
    return [slip for slip in dict.fromkeys(near) if slip != answer and (slip >= 0 or answer < 0)]


def slips_of_bits(answer: str) -> list[str]:
    """Gives wrong binary numbers: a bit flipped, one too many, one too few, the order reversed."""
    flipped = [
        answer[:place] + ("0" if bit == "1" else "1") + answer[place + 1 :]
        for place, bit in enumerate(answer)
        if place > 0
    ]
    others = [f"{answer}0", f"{answer}1", answer[:-1], answer[::-1]]
    return [slip for slip in distinct([*flipped, *others], answer) if slip.startswith("1")]


def slips_of_problem(problem: Problem) -> list[str]:
    """Gives wrong answers to a problem of `binary`, `sequence_predict` or `math_mc`, at least one of them."""
    words = _WORDS.get(problem.scenario)
    if words is not None:
        return [word for word in words if word != problem.answer]
    if problem.scenario == "to_binary":
        return slips_of_bits(problem.answer)
    numbers = [int(number) for number in _NUMBER.findall(problem.question.replace(" - ", " "))]
    answer = int(problem.answer)
    if problem.scenario == "compare":
        return [str(number) for number in numbers if number != answer]
    special: list[int] = []
    if problem.scenario == "add":
        special = [numbers[0] - numbers[1], numbers[0] * numbers[1], sum(numbers[:2]), sum(numbers[1:])]
    elif problem.scenario in ("subtract", "multiply"):
        special = [numbers[0] + numbers[1]]
    elif problem.scenario == "fill_blank":
        special = [abs(numbers[0] - numbers[1]), sum(numbers)]
    elif problem.scenario == "reverse":
        special = numbers
    elif problem.question.startswith("What comes next?"):
        special = [numbers[-1], 2 * numbers[-1] - numbers[-2], numbers[-1] + numbers[1] - numbers[0]]
    kept = [slip for slip in special if slip >= 0 or answer < 0]
    return [str(slip) for slip in distinct([*kept, *slips_of_number(answer)], answer)]


def distinct(candidates: Iterable[T], answer: T) -> list[T]:
    """Gives the candidates without `answer` and without repeats, in their order."""
    return [candidate for candidate in dict.fromkeys(candidates) if candidate != answer]
