"""Finds the answer of a query in a whole graph by joining triples, and the facts that the answer rests on.

Every fact that was looked up is kept, also those that led nowhere. So the answer is the same in any part of the graph
that holds the facts kept: that part is the question's context, and further true facts around it change nothing.
Knows nothing of networkx, by which validators.graphs answers the same queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from generators.graphs.graph import NO_TIMES, Graph
from validators.graphs import Date, Pattern, Query, Term, When, date_range


class TooBroadError(Exception):
    """The question rests on more facts than a prompt should hold."""


class Row(NamedTuple):
    """One way to fill the variables, and the edge that the branch's first pattern became (-1: none yet)."""

    values: dict[int, int]
    first: int


class Found(NamedTuple):
    """The nodes that fit, by number and sorted, and the edges looked at on the way, in order.

    `sizes`: for a comparison, how many nodes fit on either side.
    """

    nodes: list[int]
    edges: list[int]
    sizes: tuple[int, ...] = ()


class Matcher:
    """Answers queries over one graph and keeps the edges it touches.

    Args:
        graph: the whole graph.
        numbers: the number of every node that the query names.
        max_edges: more touched edges raise TooBroadError.
    """

    def __init__(self, graph: Graph, numbers: Mapping[str, int], *, max_edges: int) -> None:
        self._graph = graph
        self._numbers = numbers
        self._max_edges = max_edges
        self._kinds = graph.relation_numbers
        self._touched: dict[int, None] = {}

    def find(self, query: Query) -> Found:
        """Gives the nodes that answer a query; for a count, those to be counted.

        Raises:
            TooBroadError: the answer rests on too many facts.
        """
        if query.between:
            sides = [self._fitting(query, {1: self._numbers[node]}) for node in query.between]
            sizes = tuple(map(len, sides))
            wanted = max(sizes) if query.ask == "more" else min(sizes)
            nodes = [self._numbers[query.between[sizes.index(wanted)]]] if len(set(sizes)) == 2 else []
            return Found(nodes, list(self._touched), sizes)
        fitting = self._fitting(query, {})
        nodes = self._first_or_last(query, fitting) if query.ask in ("earliest", "latest") else sorted(fitting)
        return Found(nodes, list(self._touched))

    def _fitting(self, query: Query, held: dict[int, int]) -> dict[int, list[int]]:
        """Node -> the edges that a first pattern became under it."""
        gone = {(self._number(p.head), self._kinds[p.relation], self._number(p.tail)) for p in query.without}
        found: dict[int, list[int]] = {}
        for branch in query.any_of:
            for row in self._join(branch, held, gone):
                if query.when is None or in_time(self._graph.times.get(row.first, NO_TIMES), query.when):
                    found.setdefault(row.values[0], []).append(row.first)
        return {x: edges for x, edges in found.items() if not self._any_holds(query.none_of, x, gone)}

    def _any_holds(self, patterns: Iterable[Pattern], x: int, gone: set[tuple[int, int, int]]) -> bool:
        # Every pattern is looked up, also after one that holds: its facts belong to the context.
        holding = [pattern for pattern in patterns if self._join([pattern], {0: x}, gone)]
        return bool(holding)

    def _join(self, branch: Sequence[Pattern], held: dict[int, int], gone: set[tuple[int, int, int]]) -> list[Row]:
        rows = [Row(held, -1)]
        waiting = list(branch)
        bound = set(held)
        while waiting:
            pattern = next(p for p in waiting if any(isinstance(e, str) or e in bound for e in (p.head, p.tail)))
            waiting.remove(pattern)
            is_first = pattern is branch[0]
            bound |= {end for end in (pattern.head, pattern.tail) if isinstance(end, int)}
            needed = {0} | {end for p in waiting for end in (p.head, p.tail) if isinstance(end, int)}
            grown: dict[tuple[object, ...], Row] = {}
            for row in rows:
                for edge in self._edges(pattern, row.values):
                    if (self._graph.heads[edge], self._graph.kinds[edge], self._graph.tails[edge]) in gone:
                        continue
                    values = self._filled(row.values, pattern, edge, needed)
                    first = edge if is_first else row.first
                    grown[first, *sorted(values.items())] = Row(values, first)
            rows = list(grown.values())
        return rows

    def _edges(self, pattern: Pattern, values: Mapping[int, int]) -> list[int]:
        graph, kind = self._graph, self._kinds[pattern.relation]
        head, tail = self._value(pattern.head, values), self._value(pattern.tail, values)
        out = graph.num_out(head, kind) if head is not None else None
        entering = graph.num_in(tail, kind) if tail is not None else None
        if head is not None and (entering is None or (out is not None and out <= entering)):
            self._check(out if tail is None else 0)
            edges = [e for e in graph.out_edges(head, kind) if tail is None or graph.tails[e] == tail]
        else:
            assert tail is not None
            self._check(entering if head is None else 0)
            edges = [e for e in graph.in_edges(tail, kind) if head is None or graph.heads[e] == head]
        self._touched.update(dict.fromkeys(edges))
        self._check(0)
        return edges

    def _check(self, num_more: int | None) -> None:
        if len(self._touched) > self._max_edges or (num_more or 0) > self._max_edges:
            raise TooBroadError

    def _filled(self, values: dict[int, int], pattern: Pattern, edge: int, needed: set[int]) -> dict[int, int]:
        """The variables that later patterns still need, so that ways to the same place count once."""
        ends = ((pattern.head, self._graph.heads[edge]), (pattern.tail, self._graph.tails[edge]))
        grown = values | {end: node for end, node in ends if isinstance(end, int)}
        return {end: node for end, node in grown.items() if end in needed}

    def _value(self, end: Term, values: Mapping[int, int]) -> int | None:
        return values.get(end) if isinstance(end, int) else self._numbers[end]

    def _number(self, end: Term) -> int:
        return self._numbers[str(end)]

    def _first_or_last(self, query: Query, fitting: Mapping[int, Sequence[int]]) -> list[int]:
        """The node whose fact is dated before (after) every other node's; none when dates can't tell."""
        spans = {
            x: [date_range(text) for text in (date_of(self._graph.times.get(e, NO_TIMES)) for e in edges) if text]
            for x, edges in fitting.items()
        }
        dated = {x: [span for span in known if span] for x, known in spans.items() if known}
        winners = []
        for x, own in dated.items():
            others = [span for other, known in dated.items() if other != x for span in known]
            if others and any(all(_is_before(span, other, query.ask) for other in others) for span in own):
                winners.append(x)
        return winners if len(winners) == 1 else []


def _is_before(span: tuple[Date, Date], other: tuple[Date, Date], ask: str) -> bool:
    return span[1] < other[0] if ask == "earliest" else span[0] > other[1]


def date_of(times: tuple[str, str, str]) -> str:
    """Gives when a fact happened or began, "" when unknown."""
    return times[0] or times[1]


def year_of(text: str) -> int:
    """Gives the year of a date that was read."""
    span = date_range(text)
    assert span is not None
    return span[0][0]


def in_time(times: tuple[str, str, str], when: When) -> bool:
    """Says whether a fact of these times meets a condition; a fact without the times asked for does not."""
    if when.how == "in":
        _, begins, ends = times
        return bool(begins or ends) and not (
            (begins and year_of(begins) > when.year) or (ends and year_of(ends) < when.year)
        )
    date = date_of(times)
    if not date:
        return False
    return year_of(date) < when.year if when.how == "before" else year_of(date) > when.year
