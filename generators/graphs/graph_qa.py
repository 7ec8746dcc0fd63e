"""The `graph_qa` skill: questions over a knowledge graph, with the facts they rest on and others around them.

`GENERATOR` asks about small invented worlds; `graph_generator(path)` about a user's triples. Anchors are visited in an
order that the seed permutes, relations and nodes in turn, so that a run of any length touches all of them evenly while
each record stays a pure function of its coordinates. What a data set covered in the end is coverage.py's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from math import gcd
from pathlib import Path
from random import Random
from typing import Any

from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.records import Record
from frontier_core.seeds import child_random
from generators.base import Generator
from generators.graphs.capacity import bound_by_repeats, estimate_paths
from generators.graphs.graph import NO_TIMES, Graph
from generators.graphs.names import NUM_SHORT_NAMES
from generators.graphs.questions import RECIPES, Question, build_question
from generators.graphs.triples import LoadedGraph, load_graph
from generators.graphs.worlds import WORLDS
from generators.procedural.chat_skill import ChatSkill
from validators.graphs import ANSWER_MARK, Edge, GraphProblem, Query, answer_text, prompt_of

VERSION = "1.1.0"
MAX_FACTS = {1: 8, 2: 12, 3: 18, 4: 24, 5: 32}
"""Level -> facts that an answer may rest on."""

NUM_DISTRACTORS = {1: (3, 5), 2: (4, 6), 3: (4, 8), 4: (5, 9), 5: (6, 10)}
"""Level -> fewest and most facts that have nothing to do with the answer."""

MAX_ATTEMPTS = 400
"""Edges tried for one record: a graph in which one edge in fifty bears a question fails once in three thousand."""
_DATED_SHARE = 0.2
_CAPACITY_DRAWS = 300
_LOYAL_ATTEMPTS = 4
"""So many edges at the node or of the relation whose turn it is are tried before any other."""


class GraphSkill(ChatSkill, ABC):
    """What both sources of graphs share: a question around an anchor, its context, and the record."""

    def __init__(self, generator_id: str, levels: Sequence[int]) -> None:
        super().__init__("graph_qa", domain="graphs", task_type="answer", levels=levels, version=VERSION)
        self.generator_id = generator_id

    @abstractmethod
    def anchors(self, rng: Random, seed: int, index: int, level: int) -> Iterator[tuple[Graph, int]]:
        """Yields graphs and edges to build a question around, best first, at most MAX_ATTEMPTS."""

    @abstractmethod
    def about(self) -> Record:
        """Gives the metadata that says which graph it is."""

    def problem(self, record: Record) -> str:
        """Gives the query without its looks: the same question over other surroundings is the same problem."""
        query = {key: value for key, value in record["query"].items() if key != "style"}
        query["any_of"] = sorted(sorted(dumps(pattern).decode() for pattern in branch) for branch in query["any_of"])
        query["between"] = sorted(query.get("between", []))
        return dumps(query).decode()

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level); same three, same bytes."""
        rng = self.random_at(seed, index, level)
        for graph, anchor in self.anchors(rng, seed, index, level):
            question = build_question(graph, rng, anchor, level, max_edges=MAX_FACTS[level])
            if question is not None:
                return self._record(graph, rng, question, (seed, index, level))
        raise UsageError(
            f"the graph gave no question of level {level} at index {index} in {MAX_ATTEMPTS} attempts",
            hint="leave the level out with --level, or give a graph with more connections",
        )

    def _record(self, graph: Graph, rng: Random, question: Question, at: tuple[int, int, int]) -> Record:
        seed, index, level = at
        edges = _with_distractors(graph, rng, question.edges, rng.randint(*NUM_DISTRACTORS[level]))
        style = "words" if rng.random() < 0.7 else "triples"
        query = Query(**{**_fields(question.query), "style": style})
        nodes = sorted({node for e in edges for node in (graph.heads[e], graph.tails[e])})
        kinds = sorted({graph.kinds[e] for e in edges})
        problem = GraphProblem(
            labels={graph.nodes[node]: graph.label(node) for node in nodes},
            edges=[_edge(graph, e) for e in edges],
            relations={graph.relations[kind]: graph.relation(kind) for kind in kinds},
            query=query,
        )
        names = [graph.nodes[node] for node in question.nodes]
        answer = str(len(names)) if query.ask == "count" else answer_text(problem, names)
        turns = [prompt_of(problem), ANSWER_MARK + answer]
        plain = self.record(turns, scenario=question.scenario, seed=seed, index=index, level=level)
        plain["metadata"] |= {**self.about(), "graph_coverage": _coverage(graph, question.edges)}
        return {
            "nodes": [_node(graph, node) for node in nodes],
            "edges": [{"id": e, **_known_parts(_edge(graph, e))} for e in edges],
            "relations": {name: relation._asdict() for name, relation in problem.relations.items()},
            "query": query.as_json(),
            **plain,
        }


def _fields(query: Query) -> dict[str, Any]:
    return {name: getattr(query, name) for name in query.__slots__}


def _with_distractors(graph: Graph, rng: Random, needed: Sequence[int], count: int) -> list[int]:
    """The needed edges and others near them, in random order; a small graph may have fewer others."""
    chosen = dict.fromkeys(needed)
    nodes = sorted({node for e in needed for node in (graph.heads[e], graph.tails[e])})
    wanted = len(chosen) + count
    for _ in range(4 * count):
        if len(chosen) >= wanted:
            break
        where = rng.random()
        if where < 0.5:
            edge = graph.edge_at(rng.choice(nodes), rng.randrange(1 << 30))
        elif where < 0.8:
            edge = graph.edge_of_kind(graph.kinds[rng.choice(needed)], rng.randrange(1 << 30))
        else:
            edge = rng.randrange(len(graph))
        chosen.setdefault(edge)
    edges = list(chosen)
    rng.shuffle(edges)
    return edges


def _edge(graph: Graph, e: int) -> Edge:
    times = graph.times.get(e, NO_TIMES)
    return Edge(graph.nodes[graph.heads[e]], graph.relations[graph.kinds[e]], graph.nodes[graph.tails[e]], *times)


def _known_parts(edge: Edge) -> Record:
    return {key: value for key, value in edge._asdict().items() if value}


def _node(graph: Graph, node: int) -> Record:
    node_id = graph.nodes[node]
    document = {"id": node_id}
    if graph.label(node) != node_id:
        document["label"] = graph.label(node)
    if node_id in graph.naming.types:
        document["type"] = graph.naming.types[node_id]
    return document


def _coverage(graph: Graph, edges: Iterable[int]) -> Record:
    """What the derivation of the answer touches, and what share of the whole graph that is.

    `num_*` count the whole graph, so that a data set's coverage is the union over its records (coverage.py).
    """
    touched = sorted(edges)
    nodes = sorted({node for e in touched for node in (graph.heads[e], graph.tails[e])})
    kinds = sorted({graph.kinds[e] for e in touched})
    return {
        "node_ids": [graph.nodes[node] for node in nodes],
        "edge_ids": touched,
        "relations": [graph.relations[kind] for kind in kinds],
        "num_nodes": len(graph.nodes),
        "num_edges": len(graph),
        "num_relations": graph.num_relations,
        "node_share": round(len(nodes) / len(graph.nodes), 6),
        "relation_share": round(len(kinds) / graph.num_relations, 6),
    }


class InventedGraphs(GraphSkill):
    """Generator over invented worlds, a new one for each record."""

    def __init__(self) -> None:
        super().__init__("graph_qa", tuple(RECIPES))

    def capacity(self, level: int) -> int:
        """Gives a lower bound of distinct problems: a relation and the invented name that is known, in any world."""
        self.check_level(level)
        return NUM_SHORT_NAMES * len(WORLDS)

    def about(self) -> Record:
        """Gives nothing to add: the world hangs on the record's coordinates alone."""
        return {}

    def anchors(self, rng: Random, seed: int, index: int, level: int) -> Iterator[tuple[Graph, int]]:  # noqa: ARG002
        """Yields edges of invented worlds, every relation alike often, but one in five with a date."""
        for _ in range(MAX_ATTEMPTS // 8):
            graph = WORLDS[rng.choice(tuple(WORLDS))](rng)
            for _ in range(8):
                if graph.times and rng.random() < _DATED_SHARE:
                    yield graph, rng.choice(list(graph.times))
                else:
                    yield graph, graph.edge_of_kind(rng.randrange(graph.num_relations), rng.randrange(1 << 30))


class FileGraph(GraphSkill):
    """Generator over one graph that was read from a file.

    Its `generator_id` holds a digest of the file, so that replaying its records against anything else is refused.
    """

    def __init__(self, loaded: LoadedGraph) -> None:
        super().__init__(f"graph_qa:{loaded.digest[:16]}", tuple(RECIPES))
        self.graph = loaded.graph
        self._sha256 = loaded.sha256
        self._capacities: dict[int, int] = {}
        self.levels = tuple(level for level in RECIPES if self._gives_questions(level))

    def _gives_questions(self, level: int) -> bool:
        try:
            self.sample(0, 0, level)
        except UsageError:
            return False
        return True

    def capacity(self, level: int) -> int:
        """Gives a careful estimate of the level's distinct problems: by repeats among draws, and by counting paths."""
        self.check_level(level)
        if level not in self._capacities:
            self._capacities[level] = self._estimate(level)
        return self._capacities[level]

    def _estimate(self, level: int) -> int:
        rng = child_random("graph_capacity", self.generator_id, level)
        drawn = [self.problem(self.sample(0, rng.randrange(1 << 40), level)) for _ in range(_CAPACITY_DRAWS)]
        return max(bound_by_repeats(drawn), estimate_paths(self.graph, level, max_edges=MAX_FACTS[level]))

    def about(self) -> Record:
        """Gives the digest of the file of triples; where they come from and under what licence is the user's."""
        return {"source": "graph_file", "source_license": "unknown", "graph_sha256": self._sha256}

    def anchors(self, rng: Random, seed: int, index: int, level: int) -> Iterator[tuple[Graph, int]]:
        """Yields the edge whose turn it is: by relation at even indices, by node at odd ones; then any."""
        graph = self.graph
        turn, is_node_turn = divmod(index, 2)
        count = len(graph.nodes) if is_node_turn else graph.num_relations
        place = _permuted(turn, count, self.generator_id, seed, level, is_node_turn)
        find = graph.edge_at if is_node_turn else graph.edge_of_kind
        first = rng.randrange(1 << 30)
        for attempt in range(_LOYAL_ATTEMPTS):
            yield graph, find(place, first + attempt)
        for _ in range(MAX_ATTEMPTS - _LOYAL_ATTEMPTS):
            yield graph, rng.randrange(len(graph))


def _permuted(position: int, count: int, *key: object) -> int:
    """Gives the element at a position of an endless walk that visits all of `count` elements before any one again."""
    lap, place = divmod(position, count)
    rng = child_random("graph_order", *key, lap)
    step = rng.randrange(1, count) if count > 1 else 1
    while gcd(step, count) != 1:
        step = rng.randrange(1, count)
    return (step * place + rng.randrange(count)) % count


def graph_generator(path: str | Path, phrases: str | Path | None = None) -> Generator:
    """Gives a `graph_qa` generator over a user's triples, for `generators.synth.bound`.

    Args:
        path: a file of triples, see generators.graphs.triples.load_graph.
        phrases: a YAML file, relation -> "X is the capital of Y".
    Raises:
        UsageError, DataError, EnvironmentMissing: see load_graph.
        DataError: no question can be asked of the graph.
    """
    generator = FileGraph(load_graph(path, phrases))
    if not generator.levels:
        raise DataError("no question can be asked of this graph", path=str(path), code="no_questions")
    return generator


GENERATOR: Generator = InventedGraphs()
