"""How many distinct questions a graph has, estimated from below, for a run to know what it may ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import sqrt
from random import Random

from frontier_core.seeds import child_random
from generators.graphs.graph import Graph
from generators.graphs.match import Matcher, TooBroadError
from generators.graphs.questions import MAX_ANSWERS
from validators.graphs import Pattern, Query, Term

NUM_STARTS = 48
MAX_WALKS = 200
"""Walks looked at per start: a node with more has more questions than are counted."""


def bound_by_repeats(problems: Sequence[str]) -> int:
    """Gives a lower bound of how many problems there are from how often independent draws repeat one.

    Args:
        problems: the problems drawn.
    Source: among n draws from N kinds at least n(n-1)/2N pairs are equal on average, whatever their probabilities; the
        number seen is raised by two standard deviations and three.
    """
    num_pairs = len(problems) * (len(problems) - 1) // 2
    num_equal = sum(count * (count - 1) // 2 for count in Counter(problems).values())
    return max(len(set(problems)), int(num_pairs / (num_equal + 2 * sqrt(num_equal) + 3)))


def estimate_paths(graph: Graph, length: int, *, max_edges: int) -> int:
    """Estimates the distinct path questions of one length, from below.

    Paths from different known nodes are different questions, so the total is the number of nodes times the mean over
    a sample of them. Other shapes come on top and are not counted; half the estimate is given when it is one.

    Args:
        graph: the whole graph.
        length: edges of a path.
        max_edges: facts that an answer may rest on.
    """
    num_nodes = len(graph.nodes)
    starts: Sequence[int] = range(num_nodes)
    if num_nodes > NUM_STARTS:
        starts = sorted(child_random("graph_capacity", length).sample(range(num_nodes), NUM_STARTS))
    total = sum(_paths_from(graph, start, length, max_edges) for start in starts)
    return total if num_nodes <= NUM_STARTS else total * num_nodes // NUM_STARTS // 2


def _paths_from(graph: Graph, start: int, length: int, max_edges: int) -> int:
    seen: set[tuple[Pattern, ...]] = set()
    good = 0
    numbers = {graph.nodes[start]: start}
    rng = child_random("graph_walks", start, length)
    for _ in range(MAX_WALKS):
        walk = _walk(graph, start, length, rng)
        if walk is None or walk in seen:
            continue
        seen.add(walk)
        try:
            found = Matcher(graph, numbers, max_edges=max_edges).find(Query(ask="list", any_of=(walk,)))
        except TooBroadError:
            continue
        good += 1 <= len(found.nodes) <= MAX_ANSWERS
    return good


def _walk(graph: Graph, start: int, length: int, rng: Random) -> tuple[Pattern, ...] | None:
    """The patterns of a random walk from a node that comes back to none of its nodes; None when it got stuck."""
    node, used = start, {start}
    term: Term = graph.nodes[start]
    patterns = []
    for step in range(1, length + 1):
        edge = graph.edge_at(node, rng.randrange(1 << 30))
        is_out = graph.heads[edge] == node
        node = graph.tails[edge] if is_out else graph.heads[edge]
        if node in used:
            return None
        used.add(node)
        far = 0 if step == length else step
        relation = graph.relations[graph.kinds[edge]]
        patterns.append(Pattern(term, relation, far) if is_out else Pattern(far, relation, term))
        term = far
    return tuple(patterns)
