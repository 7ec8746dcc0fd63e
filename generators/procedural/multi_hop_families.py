"""The families of multi-hop word problems: each draws a chain of exactly `num_steps` steps and facts that lead astray.

A family writes its facts as sentences of fixed forms, which validators/skills/multi_hop.py reads back; it computes the
answer forward, while it draws. The skill shuffles the sentences and adds some of another family.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import perm
from random import Random
from typing import NamedTuple

from generators.graphs.names import NUM_SHORT_NAMES, invent

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
THINGS = ("key", "ring", "letter", "map", "coin", "stamp", "ticket", "photo", "pearl", "button")
HOLDERS = ("tin", "purse", "drawer", "chest", "basket", "crate", "trunk", "sack", "jar", "case", "bucket", "locker")
ROOMS = ("kitchen", "cellar", "attic", "garage", "hall", "study")
GOODS = ("lamp", "chair", "kettle", "clock", "vase", "mirror", "carpet", "shelf", "stool", "desk", "fan", "radio")
PACKS = ("containers", "pallets", "crates", "boxes", "cartons", "packets", "pouches")
PIECES = ("screws", "beads", "seeds", "pins", "tiles", "buttons")
FRUIT = ("pears", "apples", "plums", "lemons", "figs", "limes", "melons", "peaches")
HOARDS = ("marbles", "stamps", "shells", "postcards", "badges", "buttons")
EVENTS = (
    "fair", "race", "concert", "auction", "parade", "debate", "picnic", "recital", "regatta", "exhibition",
    "tournament", "banquet", "rehearsal", "market",
)  # fmt: skip
TOPICS = ("budget", "design", "sales", "safety", "travel", "hiring", "planning", "press")
LANDMARKS = (
    "mill",
    "inn",
    "bridge",
    "tower",
    "quarry",
    "chapel",
    "lighthouse",
    "barn",
    "well",
    "gate",
    "harbor",
    "school",
)
LINKS = ("mother", "father", "aunt", "uncle", "teacher", "doctor", "landlord", "best friend")
COLUMNS = ("worker", "team", "depot", "district", "manager", "car", "garage")
QUALITIES = (("taller", "tallest"), ("older", "oldest"), ("faster", "fastest"), ("stronger", "strongest"))
ORDINALS = ("", "second ", "third ", "fourth ", "fifth ", "sixth ", "seventh ")
COMPASS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}


class Puzzle(NamedTuple):
    """Facts that the answer needs, facts of the same kind that it doesn't, the question, the answer, the derivation.

    `tables`: whole tables as blocks of lines; their rows keep together.
    """

    facts: list[str]
    extras: list[str]
    question: str
    answer: str
    steps: list[str]
    tables: tuple[str, ...] = ()


class Cast:
    """Invented names, none of them given out twice."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def name(self, kind: str) -> str:
        """Gives a new name of a kind in generators.graphs.names.ENDINGS."""
        while True:
            name = invent(self._rng, kind, 1)[0]
            if name not in self._used:
                self._used.add(name)
                return name

    def names(self, kind: str, count: int) -> list[str]:
        """Gives several new names."""
        return [self.name(kind) for _ in range(count)]


Draw = Callable[[Random, Cast, int, int], Puzzle]
"""(rng, cast, num_steps, num_extras) -> a puzzle of exactly that many steps."""


# Chains of values


class Wording(NamedTuple):
    """How a family speaks of values: {a} and {b} bear them, {k} is a number, {u} what is counted."""

    base: str
    more: str
    less: str
    times: str
    ask: str
    both: str = ""
    which: str = ""
    units: tuple[str, ...] = ("",)
    bearers: tuple[str, ...] | str = "person"
    lowest: int = 1


AGES = Wording(
    base="{a} is {k} years old.",
    more="{a} is {k} years older than {b}.",
    less="{a} is {k} years younger than {b}.",
    times="{a} is {k} times as old as {b}.",
    ask="How old is {a}?",
    both="How old are {a} and {b} together?",
    which="Who is older, {a} or {b}?",
)
HOLDINGS = Wording(
    base="{a} has {k} {u}.",
    more="{a} has {k} more {u} than {b}.",
    less="{a} has {k} fewer {u} than {b}.",
    times="{a} has {k} times as many {u} as {b}.",
    ask="How many {u} does {a} have?",
    both="How many {u} do {a} and {b} have together?",
    which="Who has more {u}, {a} or {b}?",
    units=HOARDS,
)
PRICES = Wording(
    base="The {a} costs {k} coins.",
    more="The {a} costs {k} coins more than the {b}.",
    less="The {a} costs {k} coins less than the {b}.",
    times="The {a} costs {k} times as much as the {b}.",
    ask="How many coins does the {a} cost?",
    both="How many coins do the {a} and the {b} cost together?",
    bearers=GOODS,
)
WEATHER = Wording(
    base="It is {k} degrees in {a}.",
    more="It is {k} degrees warmer in {a} than in {b}.",
    less="It is {k} degrees colder in {a} than in {b}.",
    times="",
    ask="How many degrees is it in {a}?",
    bearers="place",
    lowest=-40,
)


def values(rng: Random, cast: Cast, num_steps: int, num_extras: int, *, wording: Wording) -> Puzzle:
    """A chain of values, each told by the one before; at its end one value, the sum of two, or the larger of two."""
    unit = rng.choice(wording.units)
    ask = rng.choice([form for form in (wording.ask, wording.both, wording.which) if form])
    num_links = num_steps if ask == wording.ask else num_steps - 1
    count = num_links + 1 + num_extras
    if isinstance(wording.bearers, str):
        bearers = cast.names(wording.bearers, count)
    else:
        bearers = rng.sample(wording.bearers, min(count, len(wording.bearers)))
    known = [rng.randint(5, 30)]
    facts = [wording.base.format(a=bearers[0], k=known[0], u=unit)]
    steps: list[str] = []
    for before, after in pairwise(bearers[: num_links + 1]):
        sentence, value, step = _told(rng, wording, known[-1])
        facts.append(sentence.format(a=after, b=before, u=unit))
        steps.append(f"{after}: {step}")
        known.append(value)
    extras = []
    for bearer in bearers[num_links + 1 :]:
        place = rng.randrange(len(known))
        extras.append(_told(rng, wording, known[place])[0].format(a=bearer, b=bearers[place], u=unit))
    # Neighbors could be compared by the one fact between them, so the larger of two is asked of the chain's ends.
    last, other = num_links, 0 if ask == wording.which else rng.randrange(num_links)
    question = ask.format(a=bearers[last], b=bearers[other], u=unit)
    if ask == wording.ask:
        return Puzzle(facts, extras, question, str(known[last]), steps)
    if ask == wording.both:
        total = known[last] + known[other]
        return Puzzle(facts, extras, question, str(total), [*steps, f"{known[last]} + {known[other]} = {total}"])
    if known[last] == known[other]:
        return values(rng, cast, num_steps, num_extras, wording=wording)
    larger = bearers[last if known[last] > known[other] else other]
    steps.append(f"{max(known[last], known[other])} is more than {min(known[last], known[other])}")
    return Puzzle(facts, extras, question, larger, steps)


def _told(rng: Random, wording: Wording, value: int) -> tuple[str, int, str]:
    """A sentence with {a}, {b}, {u} open that tells a new value by a known one, the value, and the sum done."""
    how = rng.choice(("more", "less", "times"))
    amount = rng.randint(2, 15)
    if how == "times" and wording.times and value <= 60:
        factor = rng.randint(2, 3)
        return wording.times.replace("{k}", str(factor)), value * factor, f"{value} * {factor} = {value * factor}"
    if how == "less" and value - amount >= wording.lowest:
        return wording.less.replace("{k}", str(amount)), value - amount, f"{value} - {amount} = {value - amount}"
    return wording.more.replace("{k}", str(amount)), value + amount, f"{value} + {amount} = {value + amount}"


def weekdays(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:  # noqa: ARG001
    """Events a number of days before or after each other; on which weekday is the last?"""
    events = rng.sample(EVENTS, num_steps + 1 + num_extras)
    days = [rng.randrange(7)]
    facts = [f"The {events[0]} is on a {WEEKDAYS[days[0]]}."]
    steps, extras = [], []
    for place, event in enumerate(events[1:], start=1):
        base = place - 1 if place <= num_steps else rng.randrange(num_steps)
        num_days, how = rng.randint(2, 12), rng.choice(("after", "before"))
        sentence = f"The {event} is {num_days} days {how} the {events[base]}."
        if place > num_steps:
            extras.append(sentence)
            continue
        days.append((days[base] + (num_days if how == "after" else -num_days)) % 7)
        facts.append(sentence)
        steps.append(f"The {event} is on a {WEEKDAYS[days[-1]]}")
    question = f"On which weekday is the {events[num_steps]}?"
    return Puzzle(facts, extras, question, WEEKDAYS[days[-1]], steps)


# Units


def packing(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:  # noqa: ARG001
    """Packs within packs: how many pieces are in some of the largest?"""
    first = rng.randint(0, len(PACKS) - num_steps)
    packs = [*PACKS[first : first + num_steps], rng.choice(PIECES)]
    total = start = rng.randint(2, 9)
    facts, steps = [], []
    for outer, inner in pairwise(packs):
        each = rng.randint(2, 9)
        facts.append(f"Each of the {outer} holds {each} {inner}.")
        steps.append(f"{inner}: {total} * {each} = {total * each}")
        total *= each
    others = [piece for piece in PIECES if piece not in packs]
    heavy = rng.sample(packs[:-1], min(num_extras, num_steps))
    extras = [f"Each of the {pack} weighs {rng.randint(2, 40)} kg." for pack in heavy]
    extras.append(f"A bucket holds {rng.randint(10, 90)} {rng.choice(others)}.")
    return Puzzle(facts, extras, f"How many {packs[-1]} are in {start} {packs[0]}?", str(total), steps)


def exchange(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Coins worth several of the next: change some of the first into the last, or back."""
    coins = [name.lower() for name in cast.names("thing", num_steps + 1)]
    rates = [rng.randint(2, 6) for _ in range(num_steps)]
    facts = [f"One {big} is worth {rate} {small}." for (big, small), rate in zip(pairwise(coins), rates, strict=True)]
    extras = []
    for _ in range(num_extras):
        other = cast.name("thing").lower()
        extras.append(f"One {other} is worth {rng.randint(2, 9)} {rng.choice(coins)}.")
    amount, steps = rng.randint(2, 9), []
    total = amount
    for rate, coin in zip(rates, coins[1:], strict=True):
        steps.append(f"{coin}: {total} * {rate} = {total * rate}")
        total *= rate
    if rng.random() < 0.5:
        return Puzzle(facts, extras, f"How many {coins[-1]} are {amount} {coins[0]} worth?", str(total), steps)
    left, back = total, []
    for rate, coin in zip(reversed(rates), reversed(coins[:-1]), strict=True):
        back.append(f"{coin}: {left // rate} * {rate} = {left}")
        left //= rate
    return Puzzle(facts, extras, f"How many {coins[0]} are {total} {coins[-1]} worth?", str(amount), back)


# Times


def clock(minutes: int) -> str:
    """Gives a time of day: 495 -> "08:15"."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def journey(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Rides and waits one after the other: when does the traveller arrive?"""
    traveller = cast.name("person")
    num_waits = rng.randint(0, num_steps // 2)
    stops = cast.names("place", num_steps - num_waits + 1)
    waits = set(rng.sample(stops[1:-1], min(num_waits, len(stops) - 2)))
    while num_steps > len(stops) - 1 + len(waits):
        stops.append(cast.name("place"))
    now = rng.randint(6 * 60, 10 * 60)
    facts, steps = [f"{traveller} leaves {stops[0]} at {clock(now)}."], []
    for before, after in pairwise(stops):
        if before in waits:
            minutes = rng.randint(3, 40)
            now += minutes
            facts.append(f"{traveller} waits {minutes} minutes in {before}.")
            steps.append(f"{traveller} leaves {before} at {clock(now)}")
        minutes = rng.randint(5, 75)
        now += minutes
        facts.append(f"The ride from {before} to {after} takes {minutes} minutes.")
        steps.append(f"{traveller} is in {after} at {clock(now)}")
    extras = []
    for _ in range(num_extras):
        other = cast.name("place")
        place = rng.choice(stops)
        extras.append(f"The ride from {other} to {place} takes {rng.randint(5, 75)} minutes.")
    return Puzzle(facts, extras, f"At what time does {traveller} arrive in {stops[-1]}?", clock(now), steps)


def meetings(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:  # noqa: ARG001
    """Meetings with lengths and breaks between them: when does one start or end?"""
    topics = rng.sample(TOPICS, num_steps // 2 + 2)
    now = rng.randint(7 * 12, 10 * 12) * 5
    facts, steps = [f"The {topics[0]} meeting starts at {clock(now)}."], []
    for step in range(num_steps):
        topic, after = topics[step // 2], topics[step // 2 + 1]
        minutes = rng.randint(1, 14) * 5
        now += minutes
        if step % 2 == 0:
            facts.append(f"The {topic} meeting lasts {minutes} minutes.")
            steps.append(f"The {topic} meeting ends at {clock(now)}")
        else:
            facts.append(f"The {after} meeting starts {minutes} minutes after the {topic} meeting ends.")
            steps.append(f"The {after} meeting starts at {clock(now)}")
    spare = [topic for topic in TOPICS if topic not in topics]
    extras = [f"The {topic} meeting lasts {rng.randint(1, 14) * 5} minutes." for topic in spare[:num_extras]]
    asked, verb = (topics[num_steps // 2], "end") if num_steps % 2 else (topics[num_steps // 2], "start")
    return Puzzle(facts, extras, f"At what time does the {asked} meeting {verb}?", clock(now), steps)


# Links


def containers(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:  # noqa: ARG001
    """Things within things: in which room is the innermost?"""
    thing, *others = rng.sample(THINGS, 1 + num_extras)
    chain = [thing, *rng.sample(HOLDERS, num_steps - 1), rng.choice(ROOMS)]
    facts = [f"The {inner} is in the {outer}." for inner, outer in pairwise(chain)]
    places = [*chain[1:], *ROOMS]
    extras = [f"The {other} is in the {rng.choice(places)}." for other in others]
    steps = [fact.removesuffix(".") for fact in facts]
    return Puzzle(facts, extras, f"In which room is the {thing}?", chain[-1], steps)


def people(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Who is the mother of the doctor of ...?"""
    chain = cast.names("person", num_steps + 1)
    links = [rng.choice(LINKS) for _ in range(num_steps)]
    facts = [f"The {link} of {a} is {b}." for link, (a, b) in zip(links, pairwise(chain), strict=True)]
    extras: dict[tuple[str, str], str] = {}
    for _ in range(num_extras):
        place = rng.randrange(num_steps)
        link = rng.choice([other for other in LINKS if other != links[place]])
        extras.setdefault((link, chain[place]), f"The {link} of {chain[place]} is {cast.name('person')}.")
    nested = " of ".join(f"the {link}" for link in reversed(links))
    steps = [fact.removesuffix(".") for fact in facts]
    return Puzzle(facts, list(extras.values()), f"Who is {nested} of {chain[0]}?", chain[-1], steps)


def org_chart(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Managers of managers: where does one some levels above work?"""
    chain = cast.names("person", num_steps)
    towns = cast.names("place", num_steps)
    facts = [f"{a} reports to {b}." for a, b in pairwise(chain)] + [f"{chain[-1]} works in {towns[-1]}."]
    extras = [f"{a} works in {town}." for a, town in zip(chain[:-1], towns, strict=False)]
    extras += [f"{cast.name('person')} reports to {rng.choice(chain)}." for _ in range(num_extras)]
    levels = num_steps - 1
    question = f"In which town does the manager {levels} level{'s' * (levels > 1)} above {chain[0]} work?"
    return Puzzle(facts, rng.sample(extras, num_extras), question, towns[-1], [f.removesuffix(".") for f in facts])


def tables(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Tables joined by their columns: which value of the last goes with one of the first?"""
    first = rng.randint(0, len(COLUMNS) - 1 - num_steps)
    columns = COLUMNS[first : first + num_steps + 1]
    num_rows = 2 + min(2, num_extras)
    cells = [cast.names("person" if column in ("worker", "manager") else "thing", num_rows) for column in columns]
    row, steps = rng.randrange(num_rows), []
    start = value = cells[0][row]
    blocks = []
    for place, (left, right) in enumerate(pairwise(columns)):
        partners = rng.sample(cells[place + 1], num_rows)
        pairs = dict(zip(cells[place], partners, strict=True))
        rows = [f"| {a} | {pairs[a]} |" for a in rng.sample(cells[place], num_rows)]
        blocks.append("\n".join([f"| {left} | {right} |", *rows]))
        steps.append(f"{left} {value}: {right} {pairs[value]}")
        value = pairs[value]
    question = f"Which {columns[-1]} goes with the {columns[0]} {start}?"
    return Puzzle([], [], question, value, steps, tuple(blocks))


def ranking(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """A ladder of comparisons: who stands at a place from the top?"""
    order = cast.names("person", num_steps + 1)
    (more, most), (other, _) = rng.sample(QUALITIES, 2)
    facts = [f"{a} is {more} than {b}." for a, b in pairwise(order)]
    extras = [f"{a} is {other} than {b}." for a, b in (rng.sample(order, 2) for _ in range(num_extras))]
    place = rng.randint(1, num_steps)
    question = f"Who is the {ORDINALS[place]}{most}?"
    return Puzzle(facts, list(dict.fromkeys(extras)), question, order[place], [f"From the top: {', '.join(order)}"])


def compass(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Landmarks north, south, east or west of each other: how far apart are the ends along the grid?"""
    marks = rng.sample(LANDMARKS, min(num_steps + 1 + num_extras, len(LANDMARKS)))
    x = y = 0
    facts, extras, steps = [], [], []
    for place, mark in enumerate(marks[1:], start=1):
        base = place - 1 if place <= num_steps else rng.randrange(num_steps)
        way, km = rng.choice(tuple(COMPASS)), rng.randint(1, 12)
        sentence = f"The {mark} is {km} km {way} of the {marks[base]}."
        if place > num_steps:
            extras.append(sentence)
            continue
        x, y = x + km * COMPASS[way][0], y + km * COMPASS[way][1]
        facts.append(sentence)
        steps.append(f"The {mark}: {x} km east and {y} km north of the {marks[0]}")
    if not (x or y):
        return compass(rng, cast, num_steps, num_extras)
    question = f"How many km is the {marks[num_steps]} from the {marks[0]}, north-south and east-west added up?"
    return Puzzle(facts, extras, question, str(abs(x) + abs(y)), steps)


# Changing amounts


def transfers(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Gifts in numbered order: how many has one person in the end?"""
    unit, other_unit = rng.sample(HOARDS, 2)
    who = cast.names("person", 2 + (num_steps > 3))
    has = {name: rng.randint(20, 60) for name in who}
    facts = [f"At first {name} has {count} {unit}." for name, count in has.items()]
    steps, asked = [], who[0]
    for number in range(1, num_steps + 1):
        giver, taker = rng.sample(who, 2)
        if has[giver] % 2 == 0 and has[giver] and rng.random() < 0.3:
            amount = has[giver] // 2
            facts.append(f"Gift {number}: {giver} gives {taker} half of the {unit} {giver} has.")
        else:
            amount = rng.randint(1, max(1, min(15, has[giver])))
            if amount > has[giver]:
                giver, taker = taker, giver
            facts.append(
                f"Gift {number}: {giver} gives {taker} {amount} {unit.removesuffix('s') if amount == 1 else unit}."
            )
        has[giver] -= amount
        has[taker] += amount
        steps.append(f"Gift {number}: {giver} has {has[giver]}, {taker} has {has[taker]}")
        asked = rng.choice((giver, taker))
    extras = [f"At first {name} has {rng.randint(5, 40)} {other_unit}." for name in who[:num_extras]]
    return Puzzle(facts, extras, f"How many {unit} does {asked} have in the end?", str(has[asked]), steps)


def shopping(rng: Random, cast: Cast, num_steps: int, num_extras: int) -> Puzzle:
    """Prices times amounts, added up, and perhaps the change."""
    buyer, other = cast.names("person", 2)
    has_change = num_steps % 2 == 0
    count = (num_steps - has_change + 1) // 2
    kinds = rng.sample(FRUIT, len(FRUIT))
    facts, sums, steps = [], [], []
    for fruit in kinds[:count]:
        price, amount = rng.randint(2, 30), rng.randint(2, 9)
        facts += [f"Each of the {fruit} costs {price} cents.", f"{buyer} buys {amount} {fruit}."]
        sums.append(price * amount)
        steps.append(f"{fruit}: {price} * {amount} = {price * amount}")
    steps += [f"{sum(sums[:n])} + {sums[n]} = {sum(sums[: n + 1])}" for n in range(1, count)]
    extras = [f"{other} buys {rng.randint(2, 9)} {rng.choice(kinds[:count])}."]
    extras += [f"Each of the {fruit} costs {rng.randint(2, 30)} cents." for fruit in kinds[count : count + num_extras]]
    total = sum(sums)
    if not has_change:
        return Puzzle(facts, extras, f"How many cents does {buyer} pay in all?", str(total), steps)
    given = total + rng.randint(1, 60)
    facts.append(f"{buyer} pays with {given} cents.")
    steps.append(f"{given} - {total} = {given - total}")
    return Puzzle(facts, extras, f"How many cents does {buyer} get back?", str(given - total), steps)


class Family(NamedTuple):
    """A family, and a lower bound of its distinct problems at any number of steps from 2 on."""

    name: str
    draw: Draw
    num_problems: int


# Invented names alone give that many; families without them count their nouns and numbers at two steps.
FAMILIES: tuple[Family, ...] = (
    Family("ages", partial(values, wording=AGES), NUM_SHORT_NAMES),
    Family("holdings", partial(values, wording=HOLDINGS), NUM_SHORT_NAMES),
    Family("prices", partial(values, wording=PRICES), perm(len(GOODS), 2) * 26),
    Family("weather", partial(values, wording=WEATHER), NUM_SHORT_NAMES),
    Family("weekdays", weekdays, perm(len(EVENTS), 3) * 7),
    Family("packing", packing, 8**3 * len(PIECES)),
    Family("exchange", exchange, NUM_SHORT_NAMES),
    Family("journey", journey, NUM_SHORT_NAMES),
    Family("meetings", meetings, perm(len(TOPICS), 2) * 14**2),
    Family("containers", containers, len(THINGS) * len(HOLDERS) * len(ROOMS)),
    Family("people", people, NUM_SHORT_NAMES),
    Family("org_chart", org_chart, NUM_SHORT_NAMES),
    Family("tables", tables, NUM_SHORT_NAMES),
    Family("ranking", ranking, NUM_SHORT_NAMES),
    Family("compass", compass, perm(len(LANDMARKS), 3)),
    Family("transfers", transfers, NUM_SHORT_NAMES),
    Family("shopping", shopping, NUM_SHORT_NAMES),
)
