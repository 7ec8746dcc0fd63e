"""Arithmetic and binary conversion, seven levels by magnitude: 1-10, up to 10K-100K.

Level n draws its numbers from its own range, disjoint from every other, so no problem stands in two levels. Questions
are short and plain, answers bare numbers. From level 3 on there are auxiliary tasks too: true or false, fill in the
blank, find the wrong step, compare two sums, reverse the digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from generators.base import Generator
from generators.procedural.chat_skill import Mix, QuestionSkill, Scenario
from generators.procedural.slips import slips_of_number

RANGES = {
    1: (1, 10),
    2: (11, 50),
    3: (51, 100),
    4: (101, 500),
    5: (501, 1000),
    6: (1001, 10_000),
    7: (10_001, 100_000),
}
"""Level -> smallest and largest operand."""

AUXILIARY_FROM = 3
"""Levels 1 and 2 keep to plain questions, so that a tiny model can learn them."""

NUM_STEPS = 3
Draw = Callable[..., tuple[str, str]]


def _add(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b = rng.randint(low, high), rng.randint(low, high)
    return f"What is {a} + {b}?", str(a + b)


def _subtract(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b = rng.randint(low, high), rng.randint(low, high)
    a, b = max(a, b), min(a, b)
    return f"What is {a} - {b}?", str(a - b)


def _multiply(low: int, high: int, rng: Random) -> tuple[str, str]:
    # Above level 1 the second factor has one digit: the level is the operand's magnitude, not the product's.
    a, b = rng.randint(low, high), rng.randint(1, 10) if low == 1 else rng.randint(2, 9)
    return f"What is {a} * {b}?", str(a * b)


def _add_three(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b, c = rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)
    return f"What is {a} + {b} + {c}?", str(a + b + c)


def _compare(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b = rng.sample(range(low, high + 1), 2)
    if rng.random() < 0.5:
        return f"Which is larger, {a} or {b}?", str(max(a, b))
    return f"Which is smaller, {a} or {b}?", str(min(a, b))


def _compare_three(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b, c = rng.sample(range(low, high + 1), 3)
    if rng.random() < 0.5:
        return f"Which is largest, {a}, {b} or {c}?", str(max(a, b, c))
    return f"Which is smallest, {a}, {b} or {c}?", str(min(a, b, c))


def _to_binary(low: int, high: int, rng: Random) -> tuple[str, str]:
    number = rng.randint(low, high)
    return f"Write {number} in binary.", f"{number:b}"


def _from_binary(low: int, high: int, rng: Random) -> tuple[str, str]:
    number = rng.randint(low, high)
    return f"Write binary {number:b} in decimal.", str(number)


def _increment(low: int, high: int, rng: Random) -> tuple[str, str]:
    number = rng.randint(low, high)
    if rng.random() < 0.5:
        return f"What comes after {number}?", str(number + 1)
    return f"What comes before {number}?", str(number - 1)


def _true_or_false(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b = rng.randint(low, high), rng.randint(low, high)
    is_sum = rng.random() < 0.5
    if not is_sum and a < b:
        a, b = b, a
    claim, sign = (a + b, "+") if is_sum else (a - b, "-")
    is_true = rng.random() < 0.5
    if not is_true:
        claim = rng.choice(slips_of_number(claim))
    return f"True or false: {a} {sign} {b} = {claim}", "true" if is_true else "false"


def _fill_blank(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b, form = rng.randint(low, high), rng.randint(low, high), rng.randrange(3)
    if form == 0:
        return f"Fill in the blank: {a} + ___ = {a + b}", str(b)
    if form == 1:
        return f"Fill in the blank: ___ - {a} = {b}", str(a + b)
    return f"Fill in the blank: {a + b} - ___ = {a}", str(b)


def _find_error(low: int, high: int, rng: Random) -> tuple[str, str]:
    """Three steps, each going on from what the one before it says; one of them is wrong."""
    value, wrong = rng.randint(low, high), rng.randint(1, NUM_STEPS)
    steps = []
    for number in range(1, NUM_STEPS + 1):
        by = rng.randint(low, high)
        sign, result = ("-", value - by) if value > by and rng.random() < 0.5 else ("+", value + by)
        if number == wrong:
            result = rng.choice(slips_of_number(result))
        steps.append(f"{number}) {value} {sign} {by} = {result}")
        value = result
    return f"Find the wrong step: {' '.join(steps)}", str(wrong)


def _relate(low: int, high: int, rng: Random) -> tuple[str, str]:
    a, b, c = rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)
    # The right side lies near the left: the first digits alone don't tell.
    d = a + b - c + rng.choice((-10, -2, -1, 0, 0, 0, 1, 2, 10))
    if d < 1:
        c, d = a, b
    left, right = a + b, c + d
    return f"Put <, > or = between {a} + {b} and {c} + {d}.", "<" if left < right else ">" if left > right else "="


def _reverse(low: int, high: int, rng: Random) -> tuple[str, str]:
    number = rng.randint(low, high)
    number -= not number % 10  # a last 0 would come first
    return f"Write the digits of {number} backwards.", str(number)[::-1]


def _auxiliary(low: int, high: int) -> list[tuple[str, Draw, int, int]]:
    count = high - low + 1
    return [
        ("true_false", _true_or_false, count * count, 2),
        ("fill_blank", _fill_blank, 3 * count * count, 3),
        ("find_error", _find_error, NUM_STEPS * count**2, 2),
        ("relate", _relate, count * count, 2),
        ("reverse", _reverse, count - count // 10 - 1, 1),
    ]


def _mix(low: int, high: int, *, has_auxiliary: bool) -> Mix:
    count = high - low + 1
    # Weights follow how many problems a scenario has at level 1, so that small ones don't repeat themselves.
    table: list[tuple[str, Draw, int, int]] = [
        ("add", _add, count * count, 4),
        ("subtract", _subtract, count * (count + 1) // 2, 3),
        ("multiply", _multiply, count * (10 if low == 1 else 8), 2),
        ("compare", _compare, 2 * count * (count - 1), 3),
        ("compare", _compare_three, 2 * count * (count - 1) * (count - 2), 3),
        ("to_binary", _to_binary, count, 1),
        ("from_binary", _from_binary, count, 1),
        ("increment", _increment, 2 * count, 1),
    ]
    if low == 1:
        # Sums of two small numbers are soon learnt by heart; a thousand sums of three ask for adding.
        table.append(("add", _add_three, count**3, 3))
    if has_auxiliary:
        table += _auxiliary(low, high)
    return Mix(
        [
            Scenario(name=name, draw=partial(draw, low, high), num_problems=num_problems, weight=weight)
            for name, draw, num_problems, weight in table
        ]
    )


SKILL = QuestionSkill(
    "binary",
    domain="arithmetic",
    task_type="calculate",
    version="2.0.0",
    mixes={level: _mix(low, high, has_auxiliary=level >= AUXILIARY_FROM) for level, (low, high) in RANGES.items()},
)
GENERATOR: Generator = SKILL
