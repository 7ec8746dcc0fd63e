"""Builds a question around one edge of a graph: a shape of one to five patterns, and operations on top.

Level n asks questions of exactly n steps (`Query.num_steps`). A question is kept only when its answer is unique as a
node, a set or a number, and when every operation on top changes something; otherwise another one is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from generators.graphs.graph import NO_TIMES, Graph
from generators.graphs.match import Found, Matcher, TooBroadError, date_of, year_of
from validators.graphs import Ask, Pattern, Query, Term, When

MAX_ANSWERS = 8
MAX_COUNT = 20
_TRIES = 6

Arms = tuple[int, ...]
"""Lengths of the paths that run from known nodes and meet in the node asked for: (3,) a path, (1, 1) a star."""


class Recipe(NamedTuple):
    """One kind of question: its name, its branches (or the length of a cycle), and the operations on top."""

    name: str
    branches: tuple[Arms, ...]
    on_top: tuple[str, ...] = ()
    cycle: int = 0


RECIPES: dict[int, tuple[Recipe, ...]] = {
    1: (Recipe("path", ((1,),)),),
    2: (
        Recipe("path", ((2,),)),
        Recipe("path", ((2,),)),
        Recipe("intersection", ((1, 1),)),
        Recipe("count", ((1,),), ("count",)),
        Recipe("temporal", ((1,),), ("extreme",)),
        Recipe("temporal", ((1,),), ("when",)),
    ),
    3: (
        Recipe("path", ((3,),)),
        Recipe("path", ((3,),)),
        Recipe("intersection", ((1, 1, 1),)),
        Recipe("tree", ((2, 1),)),
        Recipe("cycle", (), (), 3),
        Recipe("union", ((1,), (1,))),
        Recipe("count", ((2,),), ("count",)),
        Recipe("count", ((1, 1),), ("count",)),
        Recipe("comparison", ((1,),), ("compare",)),
        Recipe("negation", ((2,),), ("none",)),
        Recipe("temporal", ((2,),), ("extreme",)),
        Recipe("temporal", ((2,),), ("when",)),
        Recipe("counterfactual", ((2,),), ("without",)),
    ),
    4: (
        Recipe("path", ((4,),)),
        Recipe("path", ((4,),)),
        Recipe("tree", ((3, 1),)),
        Recipe("tree", ((2, 2),)),
        Recipe("tree", ((2, 1, 1),)),
        Recipe("cycle", (), (), 4),
        Recipe("union", ((2,), (1,))),
        Recipe("count", ((3,),), ("count",)),
        Recipe("count_union", ((1,), (1,)), ("count",)),
        Recipe("negation", ((3,),), ("none",)),
        Recipe("count_negation", ((2,),), ("none", "count")),
        Recipe("temporal", ((3,),), ("extreme",)),
        Recipe("temporal", ((2, 1),), ("when",)),
        Recipe("counterfactual", ((3,),), ("without",)),
        Recipe("counterfactual", ((2, 1),), ("without",)),
        Recipe("count_counterfactual", ((2,),), ("count", "without")),
    ),
    5: (
        Recipe("path", ((5,),)),
        Recipe("path", ((5,),)),
        Recipe("tree", ((4, 1),)),
        Recipe("tree", ((3, 2),)),
        Recipe("tree", ((2, 2, 1),)),
        Recipe("union", ((2,), (2,))),
        Recipe("union", ((3,), (1,))),
        Recipe("count", ((4,),), ("count",)),
        Recipe("comparison", ((2,),), ("compare",)),
        Recipe("negation", ((4,),), ("none",)),
        Recipe("count_negation", ((3,),), ("none", "count")),
        Recipe("temporal", ((4,),), ("extreme",)),
        Recipe("counterfactual", ((4,),), ("without",)),
        Recipe("count_counterfactual", ((3,),), ("count", "without")),
        Recipe("counterfactual_negation", ((3,),), ("none", "without")),
    ),
}
"""Level -> kinds of question; one that stands twice is drawn twice as often."""


class Question(NamedTuple):
    """A query with its answer and the edges it rests on; `nodes` is the answer, or what is counted."""

    query: Query
    scenario: str
    nodes: list[int]
    edges: list[int]


class _Failed(Exception):
    """This recipe gives no question around this edge."""


def build_question(graph: Graph, rng: Random, anchor: int, level: int, *, max_edges: int) -> Question | None:
    """Builds a question of a level that looks the anchor edge up, or None when no kind of question fits there.

    Args:
        graph: the whole graph; the answer holds in all of it.
        rng: decides the kind and every choice within.
        anchor: the edge to build around.
        level: a key of RECIPES.
        max_edges: facts that the answer may rest on.
    """
    recipes = [r for r in RECIPES[level] if graph.times or not {"extreme", "when"} & set(r.on_top)]
    rng.shuffle(recipes)
    for recipe in recipes:
        for _ in range(_TRIES):
            try:
                return _Builder(graph, rng, anchor, max_edges).build(recipe)
            except (_Failed, TooBroadError):
                continue
    return None


class _Builder:
    """One attempt at one recipe; gives up by raising _Failed or TooBroadError."""

    def __init__(self, graph: Graph, rng: Random, anchor: int, max_edges: int) -> None:
        self._graph = graph
        self._rng = rng
        self._anchor = anchor
        self._max_edges = max_edges
        self._numbers: dict[str, int] = {}

    def build(self, recipe: Recipe) -> Question:
        branches = [self._cycle(recipe.cycle)] if recipe.cycle else self._branches(recipe.branches)
        query = Query(ask="list", any_of=tuple(map(tuple, branches)))
        operations = {
            "count": self._count,
            "extreme": self._extreme,
            "when": self._when,
            "compare": self._compare,
            "none": self._none,
            "without": self._without,
        }
        for name in recipe.on_top:
            query = operations[name](query)
        found = self._find(query)
        if not found.nodes or self._anchor not in found.edges:
            raise _Failed
        if query.without and query.none_of:
            # The fact taken away may have made the negation idle.
            self._changed(replace(query, none_of=()), query)
        if query.ask == "list":
            query = replace(query, ask="one" if len(found.nodes) == 1 else "list")
        if len(found.nodes) > (MAX_COUNT if query.ask == "count" else MAX_ANSWERS):
            raise _Failed
        return Question(query, recipe.name, found.nodes, found.edges)

    def _find(self, query: Query) -> Found:
        return Matcher(self._graph, self._numbers, max_edges=self._max_edges).find(query)

    def _known(self, node: int) -> str:
        """The id of a node that the question names; its number is kept for the matcher."""
        node_id = self._graph.nodes[node]
        self._numbers[node_id] = node
        return node_id

    def _pattern(self, edge: int, near: int, terms: tuple[Term, Term]) -> Pattern:
        """The pattern of an edge whose end `near` is the first of the two terms."""
        relation = self._graph.relations[self._graph.kinds[edge]]
        head, tail = terms if self._graph.heads[edge] == near else terms[::-1]
        return Pattern(head, relation, tail)

    # Shapes

    def _branches(self, wanted: Sequence[Arms]) -> list[list[Pattern]]:
        graph = self._graph
        ends = [graph.heads[self._anchor], graph.tails[self._anchor]]
        if ends[0] == ends[1]:
            raise _Failed
        sides = [0, 1]
        if len(wanted[0]) == 1:
            # With one arm, all that is beyond the anchor answers the question: too many on one side rule it out.
            sides = [side for side in sides if self._ways_back(self._anchor, ends[1 - side]) <= MAX_ANSWERS]
        if not sides:
            raise _Failed
        side = self._rng.choice(sides)
        branches = [self._arms(wanted[0], ends[side], self._anchor, first_variable=1)]
        for arms in wanted[1:]:
            other = graph.edge_of_kind(graph.kinds[self._anchor], self._rng.randrange(1 << 30))
            x = (graph.heads[other], graph.tails[other])[side]
            used = 1 + sum(map(len, branches))
            branch = self._arms(arms, x, other, first_variable=used)
            if branch in branches:
                raise _Failed
            branches.append(branch)
        return branches

    def _arms(self, lengths: Arms, x: int, first_edge: int, *, first_variable: int) -> list[Pattern]:
        """Patterns of paths that end in `x`, the first of them over `first_edge`; no node is visited twice."""
        graph = self._graph
        used = {x, graph.heads[first_edge], graph.tails[first_edge]}
        if len(used) == 1:
            raise _Failed
        patterns: list[Pattern] = []
        variable = first_variable
        for number, length in enumerate(lengths):
            node, term = x, 0
            arm: list[Pattern] = []
            for step in range(length):
                is_given = number == 0 and step == 0
                edge = first_edge if is_given else self._new_edge(node, used)
                far = self._far(edge, node)
                used.add(far)
                far_term: Term = self._known(far) if step == length - 1 else variable
                arm.insert(0, self._pattern(edge, node, (term, far_term)))
                if isinstance(far_term, int):
                    node, term, variable = far, far_term, variable + 1
            patterns += arm
        return patterns

    def _far(self, edge: int, node: int) -> int:
        heads, tails = self._graph.heads, self._graph.tails
        return tails[edge] if heads[edge] == node else heads[edge]

    def _ways_back(self, edge: int, far: int) -> int:
        """How many edges of the same relation and direction as `edge` touch its end `far`."""
        graph = self._graph
        count = graph.num_out if graph.heads[edge] == far else graph.num_in
        return count(far, graph.kinds[edge])

    def _new_edge(self, node: int, used: set[int]) -> int:
        """A random edge at a node that leads to a node not used yet; of three, the one with fewest ways back.

        Questions are followed from the known ends towards X, so narrow ways back keep answers few.
        """
        graph = self._graph
        found: list[tuple[int, int]] = []
        for _ in range(_TRIES):
            edge = graph.edge_at(node, self._rng.randrange(1 << 30))
            far = self._far(edge, node)
            if far not in used:
                found.append((self._ways_back(edge, far), edge))
            if len(found) == 3:
                break
        if not found:
            raise _Failed
        return min(found)[1]

    def _cycle(self, length: int) -> list[Pattern]:
        """Patterns of a closed walk over the anchor, one of whose nodes is known."""
        graph, anchor = self._graph, self._anchor
        nodes = [graph.heads[anchor], graph.tails[anchor]]
        if nodes[0] == nodes[1]:
            raise _Failed
        if self._rng.random() < 0.5:
            nodes.reverse()
        edges = [anchor]
        used = set(nodes)
        while len(nodes) < length:
            edges.append(self._new_edge(nodes[-1], used))
            nodes.append(self._far(edges[-1], nodes[-1]))
            used.add(nodes[-1])
        closing = self._edge_between(nodes[-1], nodes[0])
        edges.append(closing)
        asked = self._rng.randrange(1, length)
        inner = [0 if place == asked else place if place < asked else place - 1 for place in range(1, length)]
        terms: list[Term] = [self._known(nodes[0]), *inner]
        ring = [*zip(nodes, terms, strict=True), (nodes[0], terms[0])]
        return [self._pattern(edge, ring[n][0], (ring[n][1], ring[n + 1][1])) for n, edge in enumerate(edges)]

    def _edge_between(self, one: int, other: int) -> int:
        graph = self._graph
        if graph.degree(one) > graph.degree(other):
            one, other = other, one
        if graph.degree(one) > 1000:
            raise _Failed
        touching = [e for e in graph.out_edges(one) if graph.tails[e] == other]
        touching += [e for e in graph.in_edges(one) if graph.heads[e] == other]
        if not touching:
            raise _Failed
        return self._rng.choice(touching)

    # Operations on top

    def _count(self, query: Query) -> Query:
        if len(self._find(query).nodes) < 2:
            raise _Failed
        return replace(query, ask="count")

    def _anchor_first(self, query: Query) -> tuple[Query, str]:
        """The query with the anchor's pattern, which touches X, in front: dates are those of the first pattern."""
        date = date_of(self._graph.times.get(self._anchor, NO_TIMES))
        if not date:
            raise _Failed
        branch = query.any_of[0]
        # The first arm was walked over the anchor, and its last pattern is the one that touches X.
        place = next(n for n, pattern in enumerate(branch) if 0 in (pattern.head, pattern.tail))
        ordered = (branch[place], *branch[:place], *branch[place + 1 :])
        return replace(query, any_of=(ordered,)), date

    def _extreme(self, query: Query) -> Query:
        query, _ = self._anchor_first(query)
        return replace(query, ask=self._rng.choice(("earliest", "latest")))

    def _when(self, query: Query) -> Query:
        query, date = self._anchor_first(query)
        year = year_of(date)
        _, begins, ends = self._graph.times[self._anchor]
        conditions = [When("before", year + 1), When("after", year - 1)]
        if begins and ends:
            conditions.append(When("in", self._rng.randint(year_of(begins), max(year_of(begins), year_of(ends)))))
        narrowed = replace(query, when=self._rng.choice(conditions))
        return self._changed(query, narrowed)

    def _compare(self, query: Query) -> Query:
        """Lets variable 1 stand for the known node and for another one of the same kind."""
        first, *rest = query.any_of[0]
        is_head = isinstance(first.head, str)
        known = first.head if is_head else first.tail
        kind = self._graph.relation_numbers[first.relation]
        edge = self._graph.edge_of_kind(kind, self._rng.randrange(1 << 30))
        rival = self._known(self._graph.heads[edge] if is_head else self._graph.tails[edge])
        if rival == known:
            raise _Failed

        def shifted(pattern: Pattern) -> Pattern:
            head, tail = (
                1 if end == known else end + 1 if isinstance(end, int) and end else end
                for end in (pattern.head, pattern.tail)
            )
            return Pattern(head, pattern.relation, tail)

        pair = [str(known), rival]
        self._rng.shuffle(pair)
        ask: Ask = "more" if self._rng.random() < 0.5 else "fewer"
        branch = tuple(shifted(pattern) for pattern in (first, *rest))
        compared = replace(query, any_of=(branch,), between=tuple(pair), ask=ask)
        if min(self._find(compared).sizes) == 0:
            raise _Failed
        return compared

    def _none(self, query: Query) -> Query:
        """Shuts out one of several nodes that fit, by a fact that holds of it."""
        found = self._find(query)
        if not 2 <= len(found.nodes) <= MAX_ANSWERS:
            raise _Failed
        x = self._rng.choice(found.nodes)
        edge = self._new_edge(x, {x})
        pattern = self._pattern(edge, x, (0, self._known(self._far(edge, x))))
        if any(pattern in branch for branch in query.any_of):
            raise _Failed
        return self._changed(query, replace(query, none_of=(pattern,)))

    def _without(self, query: Query) -> Query:
        """Takes one fact away that the answer rests on."""
        graph = self._graph
        edge = self._rng.choice(self._find(query).edges)
        relation = graph.relations[graph.kinds[edge]]
        fact = Pattern(self._known(graph.heads[edge]), relation, self._known(graph.tails[edge]))
        return self._changed(query, replace(query, without=(fact,)))

    def _changed(self, before: Query, after: Query) -> Query:
        """Gives the second query, or fails when its answer is empty or the same as the first's."""
        found = self._find(after).nodes
        if not found or found == self._find(before).nodes:
            raise _Failed
        return after
