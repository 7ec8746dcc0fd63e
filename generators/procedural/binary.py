"""Arithmetic and binary conversion, seven levels by magnitude: 1-10, up to 10K-100K.

Level n draws its numbers from its own range, disjoint from every other, so no problem stands in two levels. Questions
are short and plain, answers bare numbers.
"""

from __future__ import annotations

from functools import partial
from random import Random

from generators.base import Generator
from generators.procedural.chat_skill import Mix, QuestionSkill, Scenario

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


def _add(rng: Random, low: int, high: int) -> tuple[str, str]:
    a, b = rng.randint(low, high), rng.randint(low, high)
    return f"What is {a} + {b}?", str(a + b)


def _subtract(rng: Random, low: int, high: int) -> tuple[str, str]:
    a, b = rng.randint(low, high), rng.randint(low, high)
    a, b = max(a, b), min(a, b)
    return f"What is {a} - {b}?", str(a - b)


def _multiply(rng: Random, low: int, high: int) -> tuple[str, str]:
    # Above level 1 the second factor has one digit: the level is the operand's magnitude, not the product's.
    a, b = rng.randint(low, high), rng.randint(1, 10) if low == 1 else rng.randint(2, 9)
    return f"What is {a} * {b}?", str(a * b)


def _add_three(rng: Random, low: int, high: int) -> tuple[str, str]:
    a, b, c = rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)
    return f"What is {a} + {b} + {c}?", str(a + b + c)


def _compare(rng: Random, low: int, high: int) -> tuple[str, str]:
    a, b = rng.sample(range(low, high + 1), 2)
    if rng.random() < 0.5:
        return f"Which is larger, {a} or {b}?", str(max(a, b))
    return f"Which is smaller, {a} or {b}?", str(min(a, b))


def _compare_three(rng: Random, low: int, high: int) -> tuple[str, str]:
    a, b, c = rng.sample(range(low, high + 1), 3)
    if rng.random() < 0.5:
        return f"Which is largest, {a}, {b} or {c}?", str(max(a, b, c))
    return f"Which is smallest, {a}, {b} or {c}?", str(min(a, b, c))


def _to_binary(rng: Random, low: int, high: int) -> tuple[str, str]:
    number = rng.randint(low, high)
    return f"Write {number} in binary.", f"{number:b}"


def _from_binary(rng: Random, low: int, high: int) -> tuple[str, str]:
    number = rng.randint(low, high)
    return f"Write binary {number:b} in decimal.", str(number)


def _increment(rng: Random, low: int, high: int) -> tuple[str, str]:
    number = rng.randint(low, high)
    if rng.random() < 0.5:
        return f"What comes after {number}?", str(number + 1)
    return f"What comes before {number}?", str(number - 1)


def _mix(low: int, high: int) -> Mix:
    count = high - low + 1
    # Weights follow how many problems a scenario has at level 1, so that small ones don't repeat themselves.
    table = [
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
    return Mix(
        [
            Scenario(name=name, draw=partial(draw, low=low, high=high), num_problems=num_problems, weight=weight)
            for name, draw, num_problems, weight in table
        ]
    )


SKILL = QuestionSkill(
    "binary",
    domain="arithmetic",
    task_type="calculate",
    mixes={level: _mix(low, high) for level, (low, high) in RANGES.items()},
)
GENERATOR: Generator = SKILL
