"""Small invented worlds to ask about without a file: families, countries, firms and transit networks.

Every name is made of syllables; no real person or place is meant. Relations that go both ways are stated both ways,
so that what a reader takes for granted is also a fact.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

from generators.graphs.graph import NO_TIMES, Graph, Naming, Times, Triple
from generators.graphs.names import invent
from validators.graphs import Relation

PHRASES = {
    "mother_of": "X is the mother of Y",
    "father_of": "X is the father of Y",
    "married_to": "X is married to Y",
    "born_in": "X was born in Y",
    "works_as": "X works as Y",
    "taught_by": "X was taught by Y",
    "capital_of": "X is the capital of Y",
    "lies_in": "X lies in Y",
    "borders": "X borders Y",
    "flows_through": "X flows through Y",
    "exports": "X exports Y",
    "speaks": "most people in X speak Y",
    "joined": "X joined Y",
    "reports_to": "X reports to Y",
    "works_in": "X works in Y",
    "based_in": "X is based in Y",
    "leads": "X leads Y",
    "member_of": "X is a member of Y",
    "paid_for_by": "X is paid for by Y",
    "serves": "X serves Y",
    "next_stop": "the stop right after X is Y",
    "in_district": "X is in the district Y",
    "run_by": "X is run by Y",
    "opened_with": "X was opened together with Y",
    "close_to": "X is within walking distance of Y",
}
"""Relation of the invented worlds -> how it reads."""

JOBS = ("a baker", "a carpenter", "a nurse", "a pilot", "a tailor", "a teacher", "a welder")
GOODS = ("amber", "copper", "cotton", "honey", "rice", "salt", "timber", "wool")
DEPARTMENTS = ("Accounts", "Design", "Logistics", "Research", "Sales", "Support")


class _World:
    """Collects the triples of one world and the types of its nodes."""

    def __init__(self) -> None:
        self._triples: list[Triple] = []
        self._types: dict[str, str] = {}

    def named(self, kind: str, *names: str) -> None:
        """Notes what kind of thing these are."""
        self._types.update(dict.fromkeys(names, kind))

    def add(self, head: str, relation: str, tail: str, times: Times = NO_TIMES) -> None:
        """States one fact."""
        self._triples.append(Triple(head, relation, tail, times))

    def both(self, one: str, relation: str, other: str, times: Times = NO_TIMES) -> None:
        """States a fact that holds both ways."""
        self.add(one, relation, other, times)
        self.add(other, relation, one, times)

    def graph(self) -> Graph:
        relations = {triple.relation for triple in self._triples}
        worded = {name: Relation(name, phrase) for name, phrase in PHRASES.items() if name in relations}
        return Graph(self._triples, Naming(types=self._types, relations=worded))


def kinship(rng: Random) -> Graph:
    """Three generations of two or three families, with where they were born, what they do and who taught them."""
    world = _World()
    people = invent(rng, "person", 26)
    towns = invent(rng, "place", 5)
    waiting = iter(people)
    couples = [(next(waiting), next(waiting)) for _ in range(3)]
    grown: list[str] = []
    year = rng.randint(1921, 1940)
    for generation in range(2):
        families: list[list[str]] = []
        for wife, husband in couples:
            children: list[str] = []
            world.both(wife, "married_to", husband, (str(year + rng.randint(0, 6)), "", ""))
            for _ in range(rng.randint(2, 3) if generation == 0 else rng.randint(1, 2)):
                child = next(waiting, None)
                if child is None:
                    break
                world.add(wife, "mother_of", child)
                world.add(husband, "father_of", child)
                children.append(child)
            families.append(children)
        grown += [person for couple in couples for person in couple]
        couples = _pairs(rng, families)[:3]
        year += 25
    born = {child for children in families for child in children}
    known = [person for person in people if person in {*grown, *born}]
    for person in known:
        world.add(person, "born_in", rng.choice(towns))
        if rng.random() < 0.6:
            world.add(person, "works_as", rng.choice(JOBS))
    for pupil, teacher in zip(rng.sample(known, 8), rng.sample(known, 8), strict=True):
        if pupil != teacher:
            world.add(pupil, "taught_by", teacher)
    world.named("person", *people)
    world.named("town", *towns)
    world.named("occupation", *JOBS)
    return world.graph()


def _pairs(rng: Random, families: list[list[str]]) -> list[tuple[str, str]]:
    """Pairs children of different families, as far as they go."""
    left = [rng.sample(children, len(children)) for children in families if children]
    pairs = []
    while len(left) > 1:
        # The two largest give one each: that leaves the fewest without somebody of another family.
        rng.shuffle(left)
        left.sort(key=len, reverse=True)
        pairs.append((left[0].pop(), left[1].pop()))
        left = [children for children in left if children]
    return pairs


def geography(rng: Random) -> Graph:
    """Countries on a grid with their cities, rivers, languages, goods and the unions that they joined."""
    world = _World()
    countries = invent(rng, "country", 9)
    cities = invent(rng, "place", 22)
    rivers = [f"the {name}" for name in invent(rng, "thing", 5)]
    languages = [f"{name}ish" for name in invent(rng, "thing", 4)]
    unions = [f"the {name} Pact" for name in invent(rng, "thing", 2)]
    for place, country in enumerate(countries):
        world.add(cities[place], "capital_of", country)
        world.add(cities[place], "lies_in", country)
        for neighbor in (place + 1 if place % 3 < 2 else -1, place + 3):
            if 0 <= neighbor < len(countries) and rng.random() < 0.8:
                world.both(country, "borders", countries[neighbor])
        world.add(country, "speaks", rng.choice(languages))
        for good in rng.sample(GOODS, rng.randint(1, 3)):
            world.add(country, "exports", good)
        if rng.random() < 0.7:
            world.add(country, "joined", rng.choice(unions), (str(rng.randint(1950, 2015)), "", ""))
    for city in cities[len(countries) :]:
        world.add(city, "lies_in", rng.choice(countries))
    for river in rivers:
        for city in rng.sample(cities, rng.randint(2, 5)):
            world.add(river, "flows_through", city)
    world.named("country", *countries)
    world.named("city", *cities)
    world.named("river", *rivers)
    world.named("language", *languages)
    world.named("union", *unions)
    world.named("good", *GOODS)
    return world.graph()


def organisation(rng: Random) -> Graph:
    """A firm's chart: who reports to whom, departments and their towns, projects with their leaders and terms."""
    world = _World()
    people = invent(rng, "person", 20)
    towns = invent(rng, "place", 4)
    projects = [f"Project {name}" for name in invent(rng, "thing", 7)]
    for department in DEPARTMENTS:
        world.add(department, "based_in", rng.choice(towns))
    for place, person in enumerate(people):
        if place:
            world.add(person, "reports_to", people[(place - 1) // rng.randint(2, 3)])
        world.add(person, "works_in", rng.choice(DEPARTMENTS))
    for project in projects:
        begin = rng.randint(1995, 2012)
        for leader in rng.sample(people, 2):
            end = begin + rng.randint(1, 6)
            world.add(leader, "leads", project, ("", str(begin), str(end)))
            begin = end + 1
        for member in rng.sample(people, rng.randint(2, 4)):
            world.add(member, "member_of", project)
        world.add(project, "paid_for_by", rng.choice(DEPARTMENTS))
    world.named("person", *people)
    world.named("town", *towns)
    world.named("project", *projects)
    world.named("department", *DEPARTMENTS)
    return world.graph()


def transit(rng: Random) -> Graph:
    """Lines with their stops in order, some shared, the districts they lie in, operators and years of opening."""
    world = _World()
    stops = invent(rng, "place", 22)
    districts = invent(rng, "country", 4)
    # Numbers: single letters are what questions call their variables.
    lines = [f"line {number}" for number in rng.sample(range(1, 60), 4)]
    operators = [f"{name} Transit" for name in invent(rng, "thing", 3)]
    for line in lines:
        route = rng.sample(stops, rng.randint(5, 7))
        world.add(line, "run_by", rng.choice(operators))
        year = rng.randint(1890, 1990)
        for place, stop in enumerate(route):
            world.add(line, "serves", stop, (str(year + place * rng.randint(1, 4)), "", ""))
        for stop, after in pairwise(route):
            world.add(stop, "next_stop", after)
    for stop in stops:
        world.add(stop, "in_district", rng.choice(districts))
    for one, other in zip(stops[0::3], stops[1::3], strict=False):
        world.both(one, rng.choice(("close_to", "opened_with")), other)
    world.named("stop", *stops)
    world.named("district", *districts)
    world.named("line", *lines)
    world.named("operator", *operators)
    return world.graph()


WORLDS: dict[str, Callable[[Random], Graph]] = {
    "kinship": kinship,
    "geography": geography,
    "organisation": organisation,
    "transit": transit,
}
