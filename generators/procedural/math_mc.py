"""Multiple-choice arithmetic: four options, one right, the others from typical slips; the answer is a letter.

A problem here is the question without its options, where the question stands alone: the same sum with other options
stays on the same side of the held-out split, and on the side where `binary` has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import comb, gcd
from random import Random
from typing import NamedTuple

from frontier_core.records import Record
from generators.base import Generator
from generators.procedural.chat_skill import ChatSkill, Mix, QuestionSkill, Scenario
from generators.procedural.slips import distinct, slips_of_number

LETTERS = "ABCD"
NUM_WRONG = len(LETTERS) - 1
_EXTREME = "Which number is "
_FRACTIONS = tuple((top, bottom) for bottom in range(3, 10) for top in range(2, bottom) if gcd(top, bottom) == 1)
_PERCENTS = (10, 20, 25, 50, 75)


class Item(NamedTuple):
    """A question, its answer, and the slips its own kind invites, most typical first."""

    stem: str
    answer: int
    slips: tuple[int, ...]


def _sum(rng: Random) -> Item:
    a, b = rng.randint(1, 20), rng.randint(1, 20)
    return Item(f"What is {a} + {b}?", a + b, (abs(a - b),))


def _difference(rng: Random) -> Item:
    a, b = rng.randint(1, 20), rng.randint(1, 20)
    a, b = max(a, b), min(a, b)
    return Item(f"What is {a} - {b}?", a - b, (a + b,))


def _times(rng: Random) -> Item:
    a, b = rng.randint(1, 10), rng.randint(1, 10)
    return Item(f"What is {a} * {b}?", a * b, (a + b, a * b + a, a * b - b))


def _extreme(rng: Random) -> Item:
    numbers = sorted(rng.sample(range(1, 51), NUM_WRONG + 1))
    if rng.random() < 0.5:
        return Item(f"{_EXTREME}largest?", numbers[-1], tuple(numbers[:-1]))
    return Item(f"{_EXTREME}smallest?", numbers[0], tuple(numbers[1:]))


def _order(rng: Random) -> Item:
    a, b, c = rng.randint(2, 12), rng.randint(2, 12), rng.randint(2, 12)
    late, early = a + b * c, (a + b) * c
    if rng.random() < 0.5:
        return Item(f"What is {a} + {b} * {c}?", late, (early, a * b + c, a + b + c))
    return Item(f"What is ({a} + {b}) * {c}?", early, (late, a * b + c, a + b + c))


def _missing(rng: Random) -> Item:
    a, b = rng.randint(2, 50), rng.randint(2, 50)
    return Item(f"Which number makes ? + {a} = {a + b} true?", b, (a + a + b, a))


def _remainder(rng: Random) -> Item:
    number, divisor = rng.randint(10, 99), rng.randint(3, 9)
    quotient, rest = divmod(number, divisor)
    return Item(f"What is the remainder of {number} divided by {divisor}?", rest, (quotient, divisor - rest))


def _percent(rng: Random) -> Item:
    percent, whole = rng.choice(_PERCENTS), 20 * rng.randint(1, 20)
    part = percent * whole // 100
    return Item(f"What is {percent}% of {whole}?", part, (whole - part, whole // percent, part * 10))


def _fraction(rng: Random) -> Item:
    (top, bottom), share = rng.choice(_FRACTIONS), rng.randint(2, 20)
    return Item(f"What is {top}/{bottom} of {bottom * share}?", top * share, (share, bottom * share - top, top + share))


def _average(rng: Random) -> Item:
    a, b = rng.randint(1, 30), rng.randint(1, 30)
    c = 3 * rng.randint(0, 9) + 1 + (-a - b - 1) % 3
    total = a + b + c
    return Item(f"What is the average of {a}, {b} and {c}?", total // 3, (total // 2, total, sorted((a, b, c))[1]))


def _negative(rng: Random) -> Item:
    a, b = rng.randint(2, 60), rng.randint(2, 60)
    if rng.random() < 0.5:
        return Item(f"What is -{a} - {b}?", -a - b, (b - a, a - b, a + b))
    return Item(f"What is -{a} + {b}?", b - a, (a - b, -a - b, a + b))


def _equation(rng: Random) -> Item:
    factor, x, constant = rng.randint(2, 9), rng.randint(2, 20), rng.randint(1, 20)
    total = factor * x + constant
    stem = f"If {factor}x + {constant} = {total}, what is x?"
    return Item(stem, x, (total - constant, (total + constant) // factor, total - factor))


def _two_products(rng: Random) -> Item:
    a, b, c, d = (rng.randint(2, 9) for _ in range(4))
    answer = a * b - c * d
    return Item(f"What is {a} * {b} - {c} * {d}?", answer, (a * b + c * d, (a * b - c) * d, -answer))


def _wrong_options(rng: Random, item: Item) -> list[int]:
    """Draws three wrong options, so many of them below the answer that its rank by size tells nothing.

    Only a small answer that is not negative, with no room below it, keeps a rank that can be guessed at.
    """
    typical, near = list(item.slips), slips_of_number(item.answer)
    rng.shuffle(typical)
    rng.shuffle(near)
    slips = distinct([*typical, *near], item.answer)
    below = [slip for slip in slips if slip < item.answer]
    above = [slip for slip in slips if slip > item.answer]
    num_below = rng.randint(0, NUM_WRONG)
    chosen = below[:num_below] + above[: NUM_WRONG - num_below]
    return (chosen + [slip for slip in slips if slip not in chosen])[:NUM_WRONG]


def _ask(rng: Random, make: Callable[[Random], Item]) -> tuple[str, str]:
    item = make(rng)
    options = list(item.slips) if item.stem.startswith(_EXTREME) else _wrong_options(rng, item)
    place = rng.randrange(len(LETTERS))
    rng.shuffle(options)
    options.insert(place, item.answer)
    lines = [f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return "\n".join((item.stem, *lines, "Reply A, B, C or D.")), LETTERS[place]


def _stem(rng: Random, make: Callable[[Random], Item]) -> tuple[str, str]:
    item = make(rng)
    return item.stem, str(item.answer)


class Kind(NamedTuple):
    """One kind of question: its name, how it is made, and how many distinct stems it has at least."""

    name: str
    make: Callable[[Random], Item]
    num_problems: int


KINDS = {
    1: (
        Kind("sum", _sum, 20 * 20),
        Kind("difference", _difference, 20 * 21 // 2),
        Kind("product", _times, 10 * 10),
        Kind("extreme", _extreme, 2 * comb(50, 4)),
    ),
    2: (
        Kind("order", _order, 2 * 11**3),
        Kind("missing", _missing, 49 * 49),
        Kind("remainder", _remainder, 90 * 7),
        Kind("percent", _percent, len(_PERCENTS) * 20),
    ),
    3: (
        Kind("fraction", _fraction, len(_FRACTIONS) * 19),
        Kind("average", _average, 30 * 30 * 10),
        Kind("negative", _negative, 2 * 59 * 59),
        Kind("equation", _equation, 8 * 19 * 20),
        Kind("two_products", _two_products, 8**4),
    ),
}
"""Level -> its kinds, drawn equally often."""


def _mix(level: int, draw: Callable[..., tuple[str, str]], *, skipped: str = "") -> Mix:
    kinds = [kind for kind in KINDS[level] if kind.name != skipped]
    return Mix([Scenario(name=k.name, draw=partial(draw, make=k.make), num_problems=k.num_problems) for k in kinds])


class MathMc(QuestionSkill):
    """Generator of the `math_mc` skill."""

    def problem(self, record: Record) -> str:
        """Gives the question without its options; where the options are the question, with them in order of size."""
        stem, *options = ChatSkill.problem(self, record).split("\n")[:-1]
        if not stem.startswith(_EXTREME):
            return stem
        return " ".join([stem, *sorted(option.split()[1] for option in options)])


STEMS = {level: _mix(level, _stem, skipped="extreme") for level in KINDS}
"""Level -> questions that stand without options, and their answers in figures."""

GENERATOR: Generator = MathMc(
    "math_mc",
    domain="multiple_choice",
    task_type="choose",
    version="1.0.0",
    mixes={level: _mix(level, _ask) for level in KINDS},
)
