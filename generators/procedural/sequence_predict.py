"""Number sequences of six terms: say the seventh. Three levels, from plain steps to interleaved and recursive rules.

A sequence is kept only when no other rule of the family goes on differently, so the answer is the one simple
continuation. The check here solves for each rule's parameters; the verifier tries rules out, in its own code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from generators.base import Generator
from generators.procedural.chat_skill import Mix, QuestionSkill, Scenario

NUM_TERMS = 6
MAX_ATTEMPTS = 20

Terms = tuple[int, ...]
"""The shown terms and, last, the answer."""


def _arithmetic(rng: Random, starts: tuple[int, int], steps: tuple[int, int]) -> Terms:
    step = rng.randint(*steps)
    start = rng.randint(*starts)
    if rng.random() < 0.5:
        start, step = start + NUM_TERMS * step, -step
    return tuple(start + step * n for n in range(NUM_TERMS + 1))


def _geometric(rng: Random, starts: tuple[int, int], ratios: tuple[int, ...]) -> Terms:
    start, ratio = rng.randint(*starts), rng.choice(ratios)
    return tuple(start * ratio**n for n in range(NUM_TERMS + 1))


def _two_turns(rng: Random, highest: int) -> Terms:
    """a, b, a, b, ..."""
    a, b = rng.randint(1, highest), rng.randint(1, highest - 1)
    b += b >= a
    return tuple((a, b)[n % 2] for n in range(NUM_TERMS + 1))


def _two_steps(rng: Random, highest: int) -> Terms:
    """Plus one step, then minus or plus another of a different size, in turns."""
    first, second = rng.randint(1, highest), rng.randint(1, highest - 1)
    second += second >= first
    steps = first, rng.choice((-1, 1)) * second
    terms = [rng.randint(1, 50)]
    for n in range(NUM_TERMS):
        terms.append(terms[-1] + steps[n % 2])
    return tuple(terms)


def _two_streams(rng: Random, highest: int) -> Terms:
    """Two arithmetic sequences of different steps, term by term in turns."""
    starts = rng.randint(1, 60), rng.randint(1, 60)
    first, second = rng.randint(1, highest), rng.randint(1, highest - 1)
    second += second >= first
    steps = first, rng.choice((-1, 1)) * second
    return tuple(starts[n % 2] + steps[n % 2] * (n // 2) for n in range(NUM_TERMS + 1))


def _sum_of_two(rng: Random, highest: int, extras: tuple[int, int]) -> Terms:
    """Each term is the sum of the two before it and a constant."""
    constant = rng.randint(*extras)
    terms = [rng.randint(1, highest), rng.randint(1, highest)]
    while len(terms) <= NUM_TERMS:
        terms.append(terms[-1] + terms[-2] + constant)
    return tuple(terms)


def _times_plus(rng: Random, highest: int) -> Terms:
    """Each term is two or three times the one before it, plus a constant."""
    factor, constant = rng.randint(2, 3), rng.choice((-1, 1)) * rng.randint(1, highest)
    # Starting above the constant keeps the sequence off its fixed point, where it would stand still.
    terms = [rng.randint(highest + 1, highest + 20)]
    for _ in range(NUM_TERMS):
        terms.append(terms[-1] * factor + constant)
    return tuple(terms)


def _growing_step(rng: Random, highest: int) -> Terms:
    """The step grows by a constant."""
    start, step, growth = rng.randint(1, highest), rng.randint(1, highest), rng.randint(1, 9)
    return tuple(start + step * n + growth * (n * (n - 1) // 2) for n in range(NUM_TERMS + 1))


def goes_on_otherwise(terms: Terms) -> bool:
    """Says whether some rule of the family fits the six shown terms but not the answer.

    The family: constant first or second differences; constant ratio; two streams, each of constant step or ratio;
    a cycle of three; two moves in turns, each adding or multiplying; p*a(n-1) + q*a(n-2) + r with p, q in -3..3.
    """
    a, b, c, d, e, f, answer = terms
    steps = b - a, c - b, d - c, e - d, f - e
    growth = steps[1] - steps[0]
    if all(steps[n + 1] - steps[n] == growth for n in range(1, 4)) and f + steps[4] + growth != answer:
        return True
    if a and b * b == a * c and c * b == a * d and d * b == a * e and e * b == a * f and f * b != a * answer:
        return True
    if a == d and b == e and c == f and answer != a:
        return True
    return _streams_differ(terms) or _moves_differ(terms) or _recurrence_differs(steps, answer - f)


def _streams_differ(terms: Terms) -> bool:
    a, b, c, d, e, f, answer = terms
    b_stream_fits = d - b == f - d or (b * d * f != 0 and d * d == b * f)
    if not b_stream_fits:
        return False
    if c - a == e - c:
        return e + (c - a) != answer
    return a * c * e != 0 and c * c == a * e and e * c != a * answer


def _moves_differ(terms: Terms) -> bool:
    a, b, c, d, e, f, answer = terms
    first_adds = b - a == d - c == f - e
    first_times = a * c * e != 0 and b * c == a * d and d * e == c * f
    if not (first_adds or first_times):
        return False
    if c - b == e - d and f + (c - b) != answer:
        return True
    return b * d != 0 and c * d == b * e and f * c != b * answer


def _recurrence_differs(steps: tuple[int, ...], next_step: int) -> bool:
    """The constant r drops out of the steps: step(n) = p*step(n-1) + q*step(n-2), three equations for p and q."""
    s, t, u, v, w = steps
    determinant = t * t - s * u
    if determinant:
        p, p_rest = divmod(u * t - s * v, determinant)
        q, q_rest = divmod(t * v - u * u, determinant)
        fits = not p_rest and not q_rest and abs(p) <= 3 and abs(q) <= 3 and w == p * v + q * u
        return fits and p * w + q * v != next_step
    return any(
        u == p * t + q * s and v == p * u + q * t and w == p * v + q * u and p * w + q * v != next_step
        for p in range(-3, 4)
        for q in range(-3, 4)
    )


def _ask(rng: Random, make: Callable[[Random], Terms]) -> tuple[str, str]:
    for _ in range(MAX_ATTEMPTS):
        terms = make(rng)
        if not goes_on_otherwise(terms):
            break
    else:
        # Nothing of the kind was unambiguous; a plain step always is, and 10**6 keeps it out of every other set.
        terms = tuple(10**6 + rng.randint(0, 999) * NUM_TERMS + n for n in range(NUM_TERMS + 1))
    return "What comes next? " + ", ".join(map(str, terms[:-1])), str(terms[-1])


def _scenario(name: str, make: Callable[[Random], Terms], num_problems: int, weight: int) -> Scenario:
    return Scenario(name=name, draw=partial(_ask, make=make), num_problems=num_problems, weight=weight)


SKILL = QuestionSkill(
    "sequence_predict",
    domain="sequences",
    task_type="predict",
    version="1.0.0",
    mixes={
        1: Mix(
            [
                _scenario("arithmetic", partial(_arithmetic, starts=(0, 60), steps=(1, 10)), 61 * 10 * 2, 6),
                _scenario("alternating", partial(_two_turns, highest=25), 25 * 24, 3),
                _scenario("geometric", partial(_geometric, starts=(1, 20), ratios=(2,)), 20, 1),
            ]
        ),
        2: Mix(
            [
                _scenario("arithmetic", partial(_arithmetic, starts=(100, 300), steps=(11, 60)), 201 * 50 * 2, 3),
                _scenario("alternating", partial(_two_steps, highest=12), 0, 3),
                _scenario("geometric", partial(_geometric, starts=(1, 30), ratios=(3, 4, 5)), 90, 1),
                _scenario("recurrence", partial(_sum_of_two, highest=20, extras=(0, 0)), 0, 3),
            ]
        ),
        3: Mix(
            [
                _scenario("arithmetic", partial(_arithmetic, starts=(1000, 3000), steps=(61, 300)), 2001 * 240 * 2, 2),
                _scenario("alternating", partial(_two_streams, highest=15), 0, 3),
                _scenario("geometric", partial(_geometric, starts=(1, 30), ratios=(-2, -3)), 60, 1),
                _scenario("recurrence", partial(_sum_of_two, highest=20, extras=(1, 9)), 0, 2),
                _scenario("recurrence", partial(_times_plus, highest=9), 0, 2),
                _scenario("quadratic", partial(_growing_step, highest=30), 0, 2),
            ]
        ),
    },
)
GENERATOR: Generator = SKILL
