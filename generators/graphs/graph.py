"""A triple store in memory: numbers in arrays, two sorted indexes, so that a million triples cost some 100 bytes each.

Built once, never changed. Reading files is triples.py, asking is match.py.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from validators.graphs import Relation

NO_TIMES = ("", "", "")
Times = tuple[str, str, str]
"""When a fact happened, and from when to when it held; "" where unknown."""


class Triple(NamedTuple):
    """One statement as it was read: ids of head, relation and tail, and its times."""

    head: str
    relation: str
    tail: str
    times: Times = NO_TIMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What nodes and relations are called; ids that are missing here go by their id."""

    labels: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    relations: Mapping[str, Relation] = field(default_factory=dict)


class Graph:
    """Distinct triples over numbered nodes and relations.

    Nodes, relations and edges are numbered by first appearance. `nodes` and `relations` give their ids; `heads`,
    `kinds` and `tails` the three numbers of each edge. `num_duplicates` counts triples that were there already.

    Args:
        triples: what is stated, in any order.
        naming: labels, types and phrases.
    """

    def __init__(self, triples: Iterable[Triple], naming: Naming | None = None) -> None:
        self.naming = naming or Naming()
        node_numbers: dict[str, int] = {}
        relation_numbers: dict[str, int] = {}
        heads, kinds, tails = array("i"), array("i"), array("i")
        times: dict[int, Times] = {}
        for head, relation, tail, when in triples:
            if when != NO_TIMES:
                times[len(heads)] = when
            heads.append(node_numbers.setdefault(head, len(node_numbers)))
            kinds.append(relation_numbers.setdefault(relation, len(relation_numbers)))
            tails.append(node_numbers.setdefault(tail, len(node_numbers)))
        self.nodes = list(node_numbers)
        self.relations = list(relation_numbers)
        self.relation_numbers = relation_numbers
        self.num_relations = len(self.relations)
        del node_numbers  # half of the memory; queries carry the numbers of the few nodes that they name
        kept = self._distinct(heads, kinds, tails, times)
        self.num_duplicates = len(heads) - len(kept)
        if self.num_duplicates:
            heads, kinds, tails = (array("i", (column[e] for e in kept)) for column in (heads, kinds, tails))
            times = {place: times[e] for place, e in enumerate(kept) if e in times}
        self.heads, self.kinds, self.tails, self.times = heads, kinds, tails, times
        self._out_keys, self._out = self._index(heads)
        self._in_keys, self._in = self._index(tails)
        self._by_kind = array("i", sorted(range(len(kinds)), key=kinds.__getitem__))
        counts = Counter(kinds)
        self._kind_starts = [0, *accumulate(counts[kind] for kind in range(self.num_relations))]

    def __len__(self) -> int:
        return len(self.heads)

    def _distinct(
        self, heads: array[int], kinds: array[int], tails: array[int], times: Mapping[int, Times]
    ) -> Sequence[int]:
        """Edges in their order without repeated ones; sorting costs a tenth of the memory of a set of tuples."""
        num_nodes, num_relations = len(self.nodes), self.num_relations

        def place(e: int) -> int:
            return (heads[e] * num_relations + kinds[e]) * num_nodes + tails[e]

        order = sorted(range(len(heads)), key=place)  # stable: the first appearance comes first
        dropped: set[int] = set()
        seen: set[Times] = set()
        last = -1
        for e in order:
            key = place(e)
            if key != last:
                last, seen = key, set()
            when = times.get(e, NO_TIMES)
            if when in seen:
                dropped.add(e)
            seen.add(when)
        return [e for e in range(len(heads)) if e not in dropped] if dropped else range(len(heads))

    def _index(self, ends: array[int]) -> tuple[array[int], array[int]]:
        keys = [ends[e] * self.num_relations + self.kinds[e] for e in range(len(ends))]
        order = array("i", sorted(range(len(ends)), key=keys.__getitem__))
        return array("q", (keys[e] for e in order)), order

    def out_edges(self, head: int, relation: int | None = None) -> array[int]:
        """Gives the edges that leave a node, of one relation or of all."""
        return self._between(self._out_keys, self._out, head, relation)

    def in_edges(self, tail: int, relation: int | None = None) -> array[int]:
        """Gives the edges that enter a node, of one relation or of all."""
        return self._between(self._in_keys, self._in, tail, relation)

    def _between(self, keys: array[int], order: array[int], node: int, relation: int | None) -> array[int]:
        first = node * self.num_relations + (relation or 0)
        after = first + (self.num_relations if relation is None else 1)
        return order[bisect_left(keys, first) : bisect_left(keys, after)]

    def num_out(self, head: int, relation: int) -> int:
        """Counts the edges of one relation that leave a node, without listing them."""
        first = head * self.num_relations + relation
        return bisect_left(self._out_keys, first + 1) - bisect_left(self._out_keys, first)

    def num_in(self, tail: int, relation: int) -> int:
        """Counts the edges of one relation that enter a node, without listing them."""
        first = tail * self.num_relations + relation
        return bisect_left(self._in_keys, first + 1) - bisect_left(self._in_keys, first)

    def edge_at(self, node: int, place: int) -> int:
        """Gives the edge at a place among those that touch a node, outgoing ones first; places wrap around.

        Args:
            node: its number; every node has an edge.
            place: from 0.
        """
        out_first = bisect_left(self._out_keys, node * self.num_relations)
        num_out = bisect_left(self._out_keys, (node + 1) * self.num_relations) - out_first
        in_first = bisect_left(self._in_keys, node * self.num_relations)
        num_in = bisect_left(self._in_keys, (node + 1) * self.num_relations) - in_first
        place %= num_out + num_in
        return self._out[out_first + place] if place < num_out else self._in[in_first + place - num_out]

    def edge_of_kind(self, relation: int, place: int) -> int:
        """Gives the edge at a place among those of a relation; places wrap around."""
        first, after = self._kind_starts[relation], self._kind_starts[relation + 1]
        return self._by_kind[first + place % (after - first)]

    def degree(self, node: int) -> int:
        """Counts the edges that touch a node."""
        first, after = node * self.num_relations, (node + 1) * self.num_relations
        num_out = bisect_left(self._out_keys, after) - bisect_left(self._out_keys, first)
        return num_out + bisect_left(self._in_keys, after) - bisect_left(self._in_keys, first)

    def label(self, node: int) -> str:
        """Gives what a node is called; unique in the graph."""
        node_id = self.nodes[node]
        return self.naming.labels.get(node_id, node_id)

    def relation(self, number: int) -> Relation:
        """Gives how a relation is written."""
        relation_id = self.relations[number]
        return self.naming.relations.get(relation_id) or Relation(relation_id, f'X is linked by "{relation_id}" to Y')
