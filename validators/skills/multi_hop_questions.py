"""Answers the questions of multi-hop problems by following the facts of their sentences, and counts the steps.

A step is a rule or link followed, or a sum, product or comparison done on top.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from validators.skills.dialogue import PromptError, shown
from validators.skills.multi_hop_facts import MAX_DEPTH, WEEKDAYS, Facts, Match

ROOMS = ("kitchen", "cellar", "attic", "garage", "hall", "study")
ORDINALS = ("", "second ", "third ", "fourth ", "fifth ", "sixth ", "seventh ")
SUPERLATIVES = {"tallest": "taller", "oldest": "older", "fastest": "faster", "strongest": "stronger"}


class Solution(NamedTuple):
    """The answer as text, and how many steps lead to it."""

    answer: str
    num_steps: int


Answer = Callable[[Facts, Match], Solution]


def answer_question(facts: Facts, question: str) -> Solution:
    """Gives the answer to a question.

    Raises:
        PromptError: no known question, a fact is missing (`no_answer`), or more than one answer fits
            (`ambiguous_prompt`).
    """
    for pattern, answer in QUESTIONS:
        match = pattern.fullmatch(question)
        if match:
            return answer(facts, match)
    raise PromptError(f"not a question of this skill: {shown(question)}")


def _value(what: str, *, thing: int = 1, unit: int = 0) -> Answer:
    def answer(facts: Facts, m: Match) -> Solution:
        number = facts.value(what, m[thing], m[unit] if unit else "")
        return Solution(str(number), facts.num_used)

    return answer


def _sum(what: str, *, unit: int = 0) -> Answer:
    first = 2 if unit else 1

    def answer(facts: Facts, m: Match) -> Solution:
        sort = m[unit] if unit else ""
        total = facts.value(what, m[first], sort) + facts.value(what, m[first + 1], sort)
        return Solution(str(total), facts.num_used + 1)

    return answer


def _larger(what: str, *, unit: int = 0) -> Answer:
    first = 2 if unit else 1

    def answer(facts: Facts, m: Match) -> Solution:
        sort = m[unit] if unit else ""
        one, other = (facts.value(what, m[group], sort) for group in (first, first + 1))
        if one == other:
            raise PromptError(f"both are {one}", "ambiguous_prompt")
        return Solution(m[first] if one > other else m[first + 1], facts.num_used + 1)

    return answer


def _weekday(facts: Facts, m: Match) -> Solution:
    return Solution(WEEKDAYS[facts.value("weekday", m[1], "") % 7], facts.num_used)


def _converted(facts: Facts, m: Match) -> Solution:
    """Searches the rates outward from the known unit; rates form no circles, or they might disagree."""
    wanted, start = m[1], m[3]
    found = {start: Solution(m[2], 0)}
    amounts = {start: Fraction(int(m[2]))}
    waiting = [start]
    while waiting:
        unit = waiting.pop()
        for other, rate in facts.rates.get(unit, {}).items():
            if other not in found:
                amounts[other] = amounts[unit] * rate
                found[other] = Solution(str(amounts[other]), found[unit].num_steps + 1)
                waiting.append(other)
    if wanted not in found:
        raise PromptError(f"nothing leads from {start} to {wanted}", "no_answer")
    if amounts[wanted].denominator != 1:
        raise PromptError("the amount is no whole number", "no_answer")
    return found[wanted]


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _arrival(facts: Facts, m: Match) -> Solution:
    traveller, goal = m[1], m[2]
    if ("start", traveller) not in facts.links:
        raise PromptError(f"nothing says where {traveller} begins", "no_answer")
    place, now = facts.links["start", traveller], facts.value("departure", traveller)
    num_waits = 0
    while place != goal:
        if ("wait", traveller, place) in facts.values:
            now += facts.value("wait", traveller, place)
            num_waits += 1
        now += facts.value("ride", place)
        place = facts.follow("ride", place)
        if facts.num_used > MAX_DEPTH:
            raise PromptError(f"{traveller} never gets to {goal}", "no_answer")
    return Solution(_clock(now), facts.num_used + num_waits)


def _meeting(facts: Facts, m: Match) -> Solution:
    return Solution(_clock(facts.value(m[2], m[1])), facts.num_used)


def _room(facts: Facts, m: Match) -> Solution:
    thing = m[1]
    visited: set[str] = set()
    while thing not in ROOMS:
        if thing in visited:
            raise PromptError(f"the {thing} is within itself", "no_answer")
        visited.add(thing)
        thing = facts.follow("place", thing)
    return Solution(thing, facts.num_used)


def _person(facts: Facts, m: Match) -> Solution:
    name = m[2]
    for link in reversed(m[1].removesuffix(" of ").split(" of ")):
        name = facts.follow(link.removeprefix("the "), name)
    return Solution(name, facts.num_used)


def _manager_town(facts: Facts, m: Match) -> Solution:
    name = m[2]
    for _ in range(int(m[1])):
        name = facts.follow("manager", name)
    return Solution(facts.follow("town", name), facts.num_used)


def _joined_tables(facts: Facts, m: Match) -> Solution:
    wanted, column, cell = m[1], m[2], m[3]
    num_joins = 0
    while column != wanted:
        right = facts.links.get(("column after", column))
        if right is None or num_joins > MAX_DEPTH:
            raise PromptError(f"no table leads from {m[2]} to {wanted}", "no_answer")
        cell = facts.follow(column, right, cell)
        column = right
        num_joins += 1
    return Solution(cell, num_joins)


def _ranked(facts: Facts, m: Match) -> Solution:
    """The place in an order that the comparisons fix completely."""
    pairs = facts.pairs.get(SUPERLATIVES[m[2]], set())
    waiting = {name for pair in pairs for name in pair}
    order: list[str] = []
    while waiting:
        tops = [name for name in waiting if not any(lower == name and upper in waiting for upper, lower in pairs)]
        if len(tops) != 1:
            raise PromptError("the comparisons leave the order open", "ambiguous_prompt")
        order += tops
        waiting -= set(tops)
    place = ORDINALS.index(m[1]) if m[1] in ORDINALS else len(order)
    if place >= len(order):
        raise PromptError(f"only {len(order)} are compared", "no_answer")
    return Solution(order[place], len(pairs))


def _distance(facts: Facts, m: Match) -> Solution:
    for axis in ("east", "north"):
        facts.state(0, axis, m[2])
    east = abs(facts.value("east", m[1]))
    num_steps = facts.num_used
    return Solution(str(east + abs(facts.value("north", m[1]))), num_steps)


def _after_gifts(facts: Facts, m: Match) -> Solution:
    unit = m[1]
    has = {key[1]: count for key, count in facts.values.items() if key[0] == "first" and key[2] == unit}
    gifts = [gift for _, gift in sorted(facts.gifts.items()) if gift.unit == unit]
    for gift in gifts:
        if gift.giver not in has or gift.taker not in has:
            raise PromptError("a gift of somebody unknown", "no_answer")
        amount = gift.amount if gift.amount is not None else has[gift.giver] // 2
        if amount > has[gift.giver] or (gift.amount is None and has[gift.giver] % 2):
            raise PromptError(f"{gift.giver} can't give that", "no_answer")
        has[gift.giver] -= amount
        has[gift.taker] += amount
    if m[2] not in has:
        raise PromptError(f"nothing says what {m[2]} has", "no_answer")
    return Solution(str(has[m[2]]), len(gifts))


def _spent(facts: Facts, buyer: str) -> Solution:
    bought = [fruit for name, fruit in facts.pairs.get("buys", set()) if name == buyer]
    if not bought:
        raise PromptError(f"{buyer} buys nothing", "no_answer")
    total = sum(facts.value("cents", fruit, "") * facts.value("bought", buyer, fruit) for fruit in bought)
    return Solution(str(total), 2 * len(bought) - 1)


def _paid(facts: Facts, m: Match) -> Solution:
    return _spent(facts, m[1])


def _change(facts: Facts, m: Match) -> Solution:
    spent = _spent(facts, m[1])
    return Solution(str(facts.value("given", m[1], "") - int(spent.answer)), spent.num_steps + 1)


_N = "([A-Z][a-z]+)"
_T = "([a-z]+)"

_FORMS: tuple[tuple[str, Answer], ...] = (
    (rf"How old is {_N}\?", _value("age")),
    (rf"How old are {_N} and {_N} together\?", _sum("age")),
    (rf"Who is older, {_N} or {_N}\?", _larger("age")),
    (rf"How many {_T} does {_N} have\?", _value("number", thing=2, unit=1)),
    (rf"How many {_T} do {_N} and {_N} have together\?", _sum("number", unit=1)),
    (rf"Who has more {_T}, {_N} or {_N}\?", _larger("number", unit=1)),
    (rf"How many coins does the {_T} cost\?", _value("price")),
    (rf"How many coins do the {_T} and the {_T} cost together\?", _sum("price")),
    (rf"How many degrees is it in {_N}\?", _value("warmth")),
    (rf"On which weekday is the {_T}\?", _weekday),
    (rf"How many {_T} are in ([0-9]{{1,9}}) {_T}\?", _converted),
    (rf"How many {_T} are ([0-9]{{1,9}}) {_T} worth\?", _converted),
    (rf"At what time does {_N} arrive in {_N}\?", _arrival),
    (rf"At what time does the {_T} meeting (start|end)\?", _meeting),
    (rf"In which room is the {_T}\?", _room),
    (rf"Who is ((?:the [a-z ]+? of )+){_N}\?", _person),
    (rf"In which town does the manager ([0-9]{{1,2}}) levels? above {_N} work\?", _manager_town),
    (rf"Which {_T} goes with the {_T} {_N}\?", _joined_tables),
    (rf"Who is the ((?:[a-z]+ )?)({'|'.join(SUPERLATIVES)})\?", _ranked),
    (rf"How many km is the {_T} from the {_T}, north-south and east-west added up\?", _distance),
    (rf"How many {_T} does {_N} have in the end\?", _after_gifts),
    (rf"How many cents does {_N} pay in all\?", _paid),
    (rf"How many cents does {_N} get back\?", _change),
)
QUESTIONS = tuple((re.compile(pattern), answer) for pattern, answer in _FORMS)
"""How each form of question is answered; no two forms fit the same question."""
