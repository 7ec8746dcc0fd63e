"""Reads the sentences of multi-hop problems into facts, each by the one form that fits it.

Facts are kept by what they are about, so the order of sentences counts for nothing; a fact that says otherwise than
another one is an error. Answering questions is multi_hop_questions.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from validators.skills.dialogue import PromptError, shown

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
COMPASS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
MAX_DEPTH = 50

Key = tuple[str, ...]
Match = re.Match[str]


class Rule(NamedTuple):
    """A value by another one: other * factor + addend."""

    other: Key
    factor: int
    addend: int


class Gift(NamedTuple):
    """A transfer; an amount of None is half of what the giver has."""

    giver: str
    taker: str
    unit: str
    amount: int | None


class Facts:
    """What the sentences say, and which of it was used.

    `values`: key -> number; `rules`: key -> how it follows from another; `links`: key -> the one other end; `pairs`:
    relation -> its pairs, where there may be many; `rates`: unit -> unit -> how many; `gifts` by number.
    """

    def __init__(self) -> None:
        self.values: dict[Key, int] = {}
        self.rules: dict[Key, Rule] = {}
        self.links: dict[Key, str] = {}
        self.pairs: dict[str, set[tuple[str, str]]] = {}
        self.rates: dict[str, dict[str, Fraction]] = {}
        self.gifts: dict[int, Gift] = {}
        self._used: set[Key] = set()

    @property
    def num_used(self) -> int:
        """How many rules and links were followed, each counted once."""
        return len(self._used)

    def state(self, value: int, *key: str) -> None:
        """Keeps a value; a thing has one value, or one rule."""
        self._expect_new(key, key in self.values or key in self.rules)
        self.values[key] = value

    def derive(self, rule: Rule, *key: str) -> None:
        """Keeps a rule; a thing has one value, or one rule."""
        self._expect_new(key, key in self.values or key in self.rules)
        self.rules[key] = rule

    def join(self, end: str, *key: str) -> None:
        """Keeps a link; it has one end."""
        self._expect_new(key, key in self.links)
        self.links[key] = end

    def pair(self, relation: str, one: str, other: str) -> None:
        """Keeps a pair of a relation."""
        self.pairs.setdefault(relation, set()).add((one, other))

    @staticmethod
    def _expect_new(key: Key, is_known: bool) -> None:
        if is_known:
            raise PromptError(f"two facts give the {' '.join(key)}", "ambiguous_prompt")

    def value(self, *key: str) -> int:
        """Gives a value, following rules down to one that is stated; every rule is a step."""
        chain: list[Rule] = []
        while key not in self.values:
            rule = self.rules.get(key)
            if rule is None or len(chain) > MAX_DEPTH:
                raise PromptError(f"nothing gives the {' '.join(key)}", "no_answer")
            self._used.add(key)
            chain.append(rule)
            key = rule.other
        number = self.values[key]
        for rule in reversed(chain):
            number = number * rule.factor + rule.addend
        return number

    def follow(self, *key: str) -> str:
        """Gives the other end of a link; a step."""
        if key not in self.links:
            raise PromptError(f"nothing gives the {' '.join(key)}", "no_answer")
        self._used.add(key)
        return self.links[key]


Keep = Callable[[Facts, Match], None]


def read_facts(sentences: Sequence[str], rows: Sequence[str]) -> Facts:
    """Gives the facts of sentences and of table rows.

    Raises:
        PromptError: a sentence has no known form, or facts contradict each other (`ambiguous_prompt`).
    """
    facts = Facts()
    for sentence in sentences:
        for pattern, keep in SENTENCES:
            match = pattern.fullmatch(sentence)
            if match:
                keep(facts, match)
                break
        else:
            raise PromptError(f"not a fact of this skill: {shown(sentence)}")
    _read_rows(facts, rows)
    return facts


def _read_rows(facts: Facts, rows: Sequence[str]) -> None:
    """Reads tables of two columns; a row in lower case is a head and begins the next table."""
    left = right = ""
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) != 2 or not all(cells):
            raise PromptError(f"not a row of two cells: {shown(row)}")
        if cells[0].islower():
            left, right = cells
            facts.join(right, "column after", left)
        else:
            facts.join(cells[1], left, right, cells[0])


def _stated(what: str, *, thing: int = 1, number: int = 2, unit: int = 0) -> Keep:
    """A stated value; the numbers say which groups hold thing, number and, if any, unit."""
    return lambda facts, m: facts.state(int(m[number]), what, m[thing], m[unit] if unit else "")


def _derived(what: str, sign: int, *, thing: int = 1, number: int = 2, other: int = 3, unit: int = 0) -> Keep:
    """A value by another one: sign 1 adds, -1 subtracts, 0 multiplies."""

    def keep(facts: Facts, m: Match) -> None:
        sort, amount = m[unit] if unit else "", int(m[number])
        rule = Rule((what, m[other], sort), 1 if sign else amount, sign * amount)
        facts.derive(rule, what, m[thing], sort)

    return keep


def _joined(relation: str) -> Keep:
    return lambda facts, m: facts.join(m[2], relation, m[1])


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _weekday(facts: Facts, m: Match) -> None:
    facts.state(WEEKDAYS.index(m[2]), "weekday", m[1], "")


def _rate(facts: Facts, m: Match) -> None:
    one, rate, other = m[1], int(m[2]), m[3]
    if rate < 1 or other in facts.rates.get(one, {}):
        raise PromptError(f"no clear rate between {one} and {other}", "ambiguous_prompt")
    facts.rates.setdefault(one, {})[other] = Fraction(rate)
    facts.rates.setdefault(other, {})[one] = Fraction(1, rate)


def _departure(facts: Facts, m: Match) -> None:
    facts.join(m[2], "start", m[1])
    facts.state(_minutes(m[3]), "departure", m[1])


def _wait(facts: Facts, m: Match) -> None:
    facts.state(int(m[2]), "wait", m[1], m[3])


def _ride(facts: Facts, m: Match) -> None:
    facts.join(m[2], "ride", m[1])
    facts.state(int(m[3]), "ride", m[1])


def _meeting_start(facts: Facts, m: Match) -> None:
    facts.state(_minutes(m[2]), "start", m[1])


def _meeting_length(facts: Facts, m: Match) -> None:
    facts.derive(Rule(("start", m[1]), 1, int(m[2])), "end", m[1])


def _meeting_after(facts: Facts, m: Match) -> None:
    facts.derive(Rule(("end", m[3]), 1, int(m[2])), "start", m[1])


def _person(facts: Facts, m: Match) -> None:
    facts.join(m[3], m[1], m[2])


def _comparison(facts: Facts, m: Match) -> None:
    facts.pair(m[2], m[1], m[3])


def _offset(facts: Facts, m: Match) -> None:
    for axis, way in zip(("east", "north"), COMPASS[m[3]], strict=True):
        facts.derive(Rule((axis, m[4]), 1, way * int(m[2])), axis, m[1])


def _gift(facts: Facts, m: Match) -> None:
    amount, unit = int(m[4]), m[5]
    unit = f"{unit}s" if amount == 1 and not unit.endswith("s") else unit
    _keep_gift(facts, int(m[1]), Gift(m[2], m[3], unit, amount))


def _half_gift(facts: Facts, m: Match) -> None:
    if m[5] != m[2]:
        raise PromptError("nobody gives half of what another has")
    _keep_gift(facts, int(m[1]), Gift(m[2], m[3], m[4], None))


def _keep_gift(facts: Facts, number: int, gift: Gift) -> None:
    if number in facts.gifts:
        raise PromptError(f"two gifts have the number {number}", "ambiguous_prompt")
    facts.gifts[number] = gift


def _purchase(facts: Facts, m: Match) -> None:
    facts.pair("buys", m[1], m[3])
    facts.state(int(m[2]), "bought", m[1], m[3])


def _ignored(facts: Facts, m: Match) -> None:
    """A fact that no question asks about."""


_N = "([A-Z][a-z]+)"
_T = "([a-z]+)"
_K = "(-?[0-9]{1,9})"
_CLOCK = "([0-2][0-9]:[0-5][0-9])"

_FORMS: tuple[tuple[str, Keep], ...] = (
    (rf"{_N} is {_K} years old\.", _stated("age")),
    (rf"{_N} is {_K} years older than {_N}\.", _derived("age", 1)),
    (rf"{_N} is {_K} years younger than {_N}\.", _derived("age", -1)),
    (rf"{_N} is {_K} times as old as {_N}\.", _derived("age", 0)),
    (rf"{_N} has {_K} {_T}\.", _stated("number", unit=3)),
    (rf"{_N} has {_K} more {_T} than {_N}\.", _derived("number", 1, unit=3, other=4)),
    (rf"{_N} has {_K} fewer {_T} than {_N}\.", _derived("number", -1, unit=3, other=4)),
    (rf"{_N} has {_K} times as many {_T} as {_N}\.", _derived("number", 0, unit=3, other=4)),
    (rf"The {_T} costs {_K} coins\.", _stated("price")),
    (rf"The {_T} costs {_K} coins more than the {_T}\.", _derived("price", 1)),
    (rf"The {_T} costs {_K} coins less than the {_T}\.", _derived("price", -1)),
    (rf"The {_T} costs {_K} times as much as the {_T}\.", _derived("price", 0)),
    (rf"It is {_K} degrees in {_N}\.", _stated("warmth", thing=2, number=1)),
    (rf"It is {_K} degrees warmer in {_N} than in {_N}\.", _derived("warmth", 1, thing=2, number=1)),
    (rf"It is {_K} degrees colder in {_N} than in {_N}\.", _derived("warmth", -1, thing=2, number=1)),
    (rf"The {_T} is on a ({'|'.join(WEEKDAYS)})\.", _weekday),
    (rf"The {_T} is {_K} days after the {_T}\.", _derived("weekday", 1)),
    (rf"The {_T} is {_K} days before the {_T}\.", _derived("weekday", -1)),
    (rf"Each of the {_T} holds {_K} {_T}\.", _rate),
    (rf"One {_T} is worth {_K} {_T}\.", _rate),
    (rf"Each of the {_T} weighs {_K} kg\.", _ignored),
    (rf"A bucket holds {_K} {_T}\.", _ignored),
    (rf"{_N} leaves {_N} at {_CLOCK}\.", _departure),
    (rf"{_N} waits {_K} minutes in {_N}\.", _wait),
    (rf"The ride from {_N} to {_N} takes {_K} minutes\.", _ride),
    (rf"The {_T} meeting starts at {_CLOCK}\.", _meeting_start),
    (rf"The {_T} meeting lasts {_K} minutes\.", _meeting_length),
    (rf"The {_T} meeting starts {_K} minutes after the {_T} meeting ends\.", _meeting_after),
    (rf"The {_T} is in the {_T}\.", _joined("place")),
    (rf"The ([a-z ]+) of {_N} is {_N}\.", _person),
    (rf"{_N} reports to {_N}\.", _joined("manager")),
    (rf"{_N} works in {_N}\.", _joined("town")),
    (rf"{_N} is (taller|older|faster|stronger) than {_N}\.", _comparison),
    (rf"The {_T} is {_K} km (north|south|east|west) of the {_T}\.", _offset),
    (rf"At first {_N} has {_K} {_T}\.", _stated("first", unit=3)),
    (rf"Gift ([0-9]+): {_N} gives {_N} {_K} {_T}\.", _gift),
    (rf"Gift ([0-9]+): {_N} gives {_N} half of the {_T} {_N} has\.", _half_gift),
    (rf"Each of the {_T} costs {_K} cents\.", _stated("cents")),
    (rf"{_N} buys {_K} {_T}\.", _purchase),
    (rf"{_N} pays with {_K} cents\.", _stated("given")),
)
SENTENCES = tuple((re.compile(pattern), keep) for pattern, keep in _FORMS)
"""What each form of sentence means; no two forms fit the same sentence."""
