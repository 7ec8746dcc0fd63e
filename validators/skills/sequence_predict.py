"""Judges the next term of a number sequence by trying a whole family of rules on the shown terms.

A rule counts only when the shown terms over-determine it. The next term is the one every fitting rule gives; when
fitting rules disagree the record is at fault, not the answer. Rules outside the family are not covered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise, product

from frontier_core.records import Record
from validators.base import Verdict
from validators.skills.dialogue import PromptError, judge_integer, only_question, read_dialogue, refuse_prompt, shown

MIN_TERMS = 6
MAX_TERMS = 12
_PROMPT = re.compile(r"What comes next\? (-?[0-9]{1,18}(?:, -?[0-9]{1,18})+)")
_COEFFICIENTS = range(-3, 4)

Terms = Sequence[int]
Next = Fraction | None
"""The next term under a rule, None when the rule does not fit."""


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer` to the record's sequence.

    Codes: wrong_answer, not_a_number, no_rule, ambiguous_prompt, unparsable_prompt.
    """
    try:
        dialogue = read_dialogue(record)
        expected = solve(only_question(dialogue))
    except PromptError as error:
        return refuse_prompt(error)
    return judge_integer(expected, answer, dialogue.answer_pointer)


def solve(question: str) -> str:
    """Gives the next term of `What comes next? 2, 4, 6, 8, 10, 12`.

    Raises:
        PromptError: not such a question; no rule fits (`no_rule`); or rules that fit disagree (`ambiguous_prompt`).
    """
    match = _PROMPT.fullmatch(question.strip())
    if match is None:
        raise PromptError(f"not a sequence question: {shown(question)}")
    terms = [int(part) for part in match[1].split(", ")]
    if not MIN_TERMS <= len(terms) <= MAX_TERMS:
        raise PromptError(f"needs {MIN_TERMS} to {MAX_TERMS} terms, has {len(terms)}")
    continuations = {value for value in (rule(terms) for rule in RULES) if value is not None}
    continuations |= alternating_moves(terms) | recurrences(terms)
    if not continuations:
        raise PromptError("no known rule gives these terms", "no_rule")
    if len(continuations) > 1:
        seen = ", ".join(str(value) for value in sorted(continuations))
        raise PromptError(f"the terms can go on as {seen}", "ambiguous_prompt")
    value = continuations.pop()
    if value.denominator != 1:
        raise PromptError(f"the next term is no whole number: {value}", "no_rule")
    return str(value.numerator)


def polynomial(terms: Terms) -> Next:
    """Next term when first or second differences are constant."""
    first = [b - a for a, b in pairwise(terms)]
    if len(set(first)) == 1:
        return Fraction(terms[-1] + first[-1])
    second = [b - a for a, b in pairwise(first)]
    if len(second) > 1 and len(set(second)) == 1:
        return Fraction(terms[-1] + first[-1] + second[-1])
    return None


def geometric(terms: Terms) -> Next:
    """Next term when each term is the one before times a constant, which need not be whole."""
    if 0 in terms:
        return None
    ratios = {Fraction(b, a) for a, b in pairwise(terms)}
    return terms[-1] * ratios.pop() if len(ratios) == 1 else None


def interleaved(terms: Terms) -> Next:
    """Next term when the odd and the even places each hold a constant-step or constant-ratio sequence."""
    streams = [terms[start::2] for start in (0, 1)]
    if any(len(stream) < 3 for stream in streams):
        return None
    following = [_stream_next(stream) for stream in streams]
    return following[len(terms) % 2] if None not in following else None


def cycle_of_three(terms: Terms) -> Next:
    """Next term when the terms repeat every three places."""
    return Fraction(terms[-3]) if list(terms[3:]) == list(terms[:-3]) else None


def alternating_moves(terms: Terms) -> set[Fraction]:
    """Gives the next terms when two moves take turns, each adding or multiplying by a constant: x2, +3, x2, +3, ..."""
    pairs = list(pairwise(terms))
    found: set[Fraction] = set()
    for even, odd in product((_step, _ratio), repeat=2):
        moves = [(even, odd)[place % 2](a, b) for place, (a, b) in enumerate(pairs)]
        following = moves[-2]
        if following is None or len(set(moves[::2])) > 1 or len(set(moves[1::2])) > 1:
            continue
        adds = (even, odd)[len(pairs) % 2] is _step
        found.add(terms[-1] + following if adds else terms[-1] * following)
    return found


RULES: tuple[Callable[[Terms], Next], ...] = (polynomial, geometric, interleaved, cycle_of_three)


def recurrences(terms: Terms) -> set[Fraction]:
    """Gives the next terms of every rule a(n) = p*a(n-1) + q*a(n-2) + r that fits, p and q whole in -3..3."""
    found: set[Fraction] = set()
    for p, q in product(_COEFFICIENTS, repeat=2):
        rest = terms[2] - p * terms[1] - q * terms[0]
        if all(terms[n] == p * terms[n - 1] + q * terms[n - 2] + rest for n in range(3, len(terms))):
            found.add(Fraction(p * terms[-1] + q * terms[-2] + rest))
    return found


def _stream_next(stream: Terms) -> Next:
    steps = {b - a for a, b in pairwise(stream)}
    return Fraction(stream[-1] + steps.pop()) if len(steps) == 1 else geometric(stream)


def _step(a: int, b: int) -> Fraction | None:
    return Fraction(b - a)


def _ratio(a: int, b: int) -> Fraction | None:
    return Fraction(b, a) if a else None
