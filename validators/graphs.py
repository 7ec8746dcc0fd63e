"""Graph questions on the judging floor: a record's facts and query, its prompt, and its answer by networkx.

A record carries nodes, edges, what each relation reads like, and a structured query, so it can be judged by itself:
the prompt is written again from them and the answer computed again. Generators use the same reading and writing, but
find answers with an engine of their own. Loading and sampling large graphs is generators/graphs.

A query joins patterns over the facts. In a pattern a string is a node and a number a variable; variable 0 is asked for.
Facts that are not stated do not hold, and different variables may stand for the same node.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from frontier_core.errors import EnvironmentMissing
from frontier_core.records import Record
from validators.skills.dialogue import PromptError

Ask = Literal["one", "list", "count", "more", "fewer", "earliest", "latest"]
Style = Literal["words", "triples"]
Term = str | int
Date = tuple[int, int, int]

ANSWER_MARK = "ANSWER: "
SEPARATOR = "; "
MAX_PATTERNS = 12
MAX_STEPS = 50_000
"""Partial assignments looked at before a question counts as no question; ours take a few hundred."""
_DATE = re.compile(r"(-?[0-9]{1,6})(?:-([0-9]{2})(?:-([0-9]{2})(?:T[0-9:.,+Z-]*)?)?)?")
_SLOT = re.compile(r"\b[XY]\b")
_VARIABLES = "XABCDEFGHIJKLMNOPQRSTUVW"


class Edge(NamedTuple):
    """A fact, and when it happened or held: years or ISO dates, "" when unknown."""

    head: str
    relation: str
    tail: str
    time: str = ""
    valid_from: str = ""
    valid_to: str = ""

    @property
    def date(self) -> str:
        """When the fact happened or began, "" when unknown."""
        return self.time or self.valid_from


class Pattern(NamedTuple):
    """A fact with variables (numbers) in the place of nodes."""

    head: Term
    relation: str
    tail: Term


class Relation(NamedTuple):
    """How a relation is written: its short name, and a sentence with X for the head and Y for the tail."""

    name: str
    phrase: str


class When(NamedTuple):
    """A condition on the date of a branch's first fact: before or after a year, or in force during a part of it."""

    how: Literal["before", "after", "in"]
    year: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A structured question.

    `any_of`: branches, each a list of patterns that hold together; X fits when it fits one branch. `none_of`: patterns
    over X that must not hold. `without`: facts taken away first. `between`: for `more` and `fewer`, the two nodes that
    variable 1 is held to in turn. `when`: a condition on the first pattern of each branch. `earliest` and `latest` ask
    for the X of the fact, matched by the first pattern, with the smallest or the largest date.
    """

    ask: Ask
    any_of: tuple[tuple[Pattern, ...], ...]
    none_of: tuple[Pattern, ...] = ()
    without: tuple[Pattern, ...] = ()
    between: tuple[str, ...] = ()
    when: When | None = None
    style: Style = "words"

    @property
    def num_steps(self) -> int:
        """Steps to the answer: patterns to match, on both sides of a comparison, and one for each operation on top."""
        num_patterns = sum(map(len, self.any_of)) * (2 if self.between else 1)
        operations = (len(self.any_of) - 1) + (self.ask not in ("one", "list")) + (self.when is not None)
        return num_patterns + len(self.none_of) + len(self.without) + operations

    def as_json(self) -> Record:
        """Gives the `query` object of a record; empty parts are left out."""
        document: Record = {"ask": self.ask, "any_of": [[p._asdict() for p in branch] for branch in self.any_of]}
        if self.none_of:
            document["none_of"] = [pattern._asdict() for pattern in self.none_of]
        if self.without:
            document["without"] = [pattern._asdict() for pattern in self.without]
        if self.between:
            document["between"] = list(self.between)
        if self.when:
            document["when"] = {self.when.how: self.when.year}
        return {**document, "style": self.style}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphProblem:
    """What a graph record asks: the labels of its nodes, its facts, how relations read, and the query."""

    labels: Mapping[str, str]
    edges: Sequence[Edge]
    relations: Mapping[str, Relation]
    query: Query


# Reading


def read_problem(record: Record) -> GraphProblem:
    """Gives the problem of a `graph_v1` record.

    Raises:
        PromptError: nodes, edges, relations or query are malformed or don't fit together (`bad_graph`, `bad_query`).
    """
    labels: dict[str, str] = {}
    for place, node in enumerate(_objects(record.get("nodes"), "/nodes")):
        node_id = _text(node, "id", f"/nodes/{place}")
        label = node.get("label", node_id)
        if not isinstance(label, str) or not label or node_id in labels:
            raise PromptError(f"/nodes/{place}: needs an id of its own and a label", "bad_graph")
        labels[node_id] = label
    if len(set(labels.values())) != len(labels):
        raise PromptError("two nodes have the same label", "bad_graph")
    edges = [_edge(edge, f"/edges/{n}", labels) for n, edge in enumerate(_objects(record.get("edges"), "/edges"))]
    written = record.get("relations")
    relations = {
        str(key): Relation(_text(value, "name", "/relations"), _text(value, "phrase", "/relations"))
        for key, value in (written.items() if isinstance(written, dict) else ())
    }
    missing = next((edge.relation for edge in edges if edge.relation not in relations), None)
    if missing is not None:
        raise PromptError(f"/relations does not say how {missing!r} reads", "bad_graph")
    return GraphProblem(labels=labels, edges=edges, relations=relations, query=_query(record, labels, relations))


def _objects(value: Any, where: str) -> list[Record]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise PromptError(f"{where}: needs a list of objects", "bad_graph")
    return value


def _text(value: Any, key: str, where: str, code: str = "bad_graph") -> str:
    text = value.get(key) if isinstance(value, dict) else None
    if not isinstance(text, str) or not text:
        raise PromptError(f"{where}: needs a text {key!r}", code)
    return text


def _edge(edge: Record, where: str, labels: Mapping[str, str]) -> Edge:
    head, relation, tail = (_text(edge, key, where) for key in ("head", "relation", "tail"))
    for node in (head, tail):
        if node not in labels:
            raise PromptError(f"{where}: {node!r} is none of the nodes", "bad_graph")
    times = [edge.get(key, "") for key in ("time", "valid_from", "valid_to")]
    for text in times:
        if not isinstance(text, str) or (text and date_range(text) is None):
            raise PromptError(f"{where}: {text!r} is no year or ISO date", "bad_graph")
    return Edge(head, relation, tail, *times)


def _query(record: Record, labels: Mapping[str, str], relations: Mapping[str, Relation]) -> Query:
    document = record.get("query")
    if not isinstance(document, dict):
        raise PromptError("the record has no query", "bad_query")

    def patterns(value: Any) -> tuple[Pattern, ...]:
        items = value if isinstance(value, list) else [None]
        return tuple(_pattern(item, labels, relations) for item in items)

    branches = document.get("any_of")
    any_of = tuple(map(patterns, branches if isinstance(branches, list) else []))
    between = document.get("between", [])
    query = Query(
        ask=document.get("ask", ""),
        any_of=any_of,
        none_of=patterns(document.get("none_of", [])),
        without=patterns(document.get("without", [])),
        between=tuple(between) if isinstance(between, list) else ("",),
        when=_when(document.get("when")),
        style=document.get("style", "words"),
    )
    _check_query(query, labels)
    return query


def _pattern(item: Any, labels: Mapping[str, str], relations: Mapping[str, Relation]) -> Pattern:
    if not isinstance(item, dict) or item.get("relation") not in relations:
        raise PromptError(f"/query: {item!r} is no pattern over known relations", "bad_query")
    for end in (item.get("head"), item.get("tail")):
        is_variable = isinstance(end, int) and not isinstance(end, bool) and 0 <= end < MAX_PATTERNS
        if not is_variable and (not isinstance(end, str) or end not in labels):
            raise PromptError(f"/query: {end!r} is neither a node nor a variable", "bad_query")
    return Pattern(item["head"], item["relation"], item["tail"])


def _when(value: Any) -> When | None:
    if value is None:
        return None
    pairs = list(value.items()) if isinstance(value, dict) else []
    if len(pairs) != 1 or pairs[0][0] not in ("before", "after", "in") or type(pairs[0][1]) is not int:
        raise PromptError("/query/when: needs before, after or in, and a year", "bad_query")
    return When(*pairs[0])


def _check_query(query: Query, labels: Mapping[str, str]) -> None:
    is_comparison = query.ask in ("more", "fewer")
    free = {0, 1} if is_comparison else {0}
    in_all = all(free <= {end for pattern in branch for end in (pattern.head, pattern.tail)} for branch in query.any_of)
    num_patterns = sum(map(len, query.any_of)) + len(query.none_of)
    between_fits = len(set(query.between)) == 2 and set(query.between) <= set(labels)
    faults = {
        f"/query/ask is none of {', '.join(get_args(Ask))}": query.ask not in get_args(Ask),
        "/query/style is neither words nor triples": query.style not in get_args(Style),
        "/query/any_of needs branches that ask for variable 0": not query.any_of or not in_all,
        f"/query has more than {MAX_PATTERNS} patterns": num_patterns > MAX_PATTERNS,
        "/query/between needs two nodes, for more and fewer only": between_fits != is_comparison,
        "/query/none_of is about variable 0 and nodes": any(
            end != 0 for pattern in query.none_of for end in (pattern.head, pattern.tail) if isinstance(end, int)
        ),
        "/query/without needs facts, not variables": any(
            isinstance(end, int) for pattern in query.without for end in (pattern.head, pattern.tail)
        ),
    }
    for message, is_fault in faults.items():
        if is_fault:
            raise PromptError(message, "bad_query")


def date_range(text: str) -> tuple[Date, Date] | None:
    """Gives the first and last day a year or ISO date stands for, None when it is neither; "1990" is a whole year."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if month > 12 or day > 31 or match[2] == "00" or match[3] == "00":
        return None
    return (year, month or 1, day or 1), (year, month or 12, day or 31)


# Writing


def prompt_of(problem: GraphProblem) -> str:
    """Gives the user turn of a problem: the facts in their order, the question, and the form of the answer."""
    facts = "\n".join(f"- {_fact(problem, edge)}" for edge in problem.edges)
    form = {
        "list": f"{ANSWER_MARK}<name>{SEPARATOR}<name>{SEPARATOR}... in alphabetical order",
        "count": f"{ANSWER_MARK}<number>",
    }.get(problem.query.ask, f"{ANSWER_MARK}<name>")
    closed = "Only these facts hold. A letter stands for any name, and two letters may stand for the same one."
    return f"Facts:\n{facts}\n{closed}\n\n{question_of(problem)}\nReply with one line: {form}"


def question_of(problem: GraphProblem) -> str:
    """Gives the query in words, with letters that no node is called by for the variables."""
    query = problem.query
    taken = set(problem.labels.values())
    letters = [letter for letter in _VARIABLES if letter not in taken]
    letters += [f"X{number}" for number in range(1, len(taken) + MAX_PATTERNS) if f"X{number}" not in taken]
    x, names = letters[0], letters

    def clause(pattern: Pattern) -> str:
        head, tail = (
            names[end] if isinstance(end, int) else problem.labels[end] for end in (pattern.head, pattern.tail)
        )
        return _clause(problem, head, tail, pattern.relation)

    opening = "".join(f"Suppose it were no longer so that {_stopped(clause(fact))} " for fact in query.without)
    condition = _condition(query, clause, names)
    if query.between:
        a, b = (problem.labels[node] for node in query.between)
        return f"{opening}For which of {a} and {b}, put in place of {names[1]}, are there {query.ask} {x} {condition}?"
    if query.ask == "count":
        return f"{opening}How many different {x} are there {condition}?"
    if query.ask in ("earliest", "latest"):
        dated = clause(query.any_of[0][0])
        return f'{opening}Take every {x} {condition}. Of the dated facts "{dated}", which {x} has the {query.ask}?'
    if query.ask == "list":
        return f"{opening}List every {x} {_stopped(condition)}"
    return f"{opening}Find the one {x} {_stopped(condition)}"


def _stopped(text: str) -> str:
    """Ends a sentence; one that ends in `Inc.` has its full stop already."""
    return text if text.endswith(".") else f"{text}."


def _condition(query: Query, clause: Callable[[Pattern], str], names: Sequence[str]) -> str:
    held = 2 if query.between else 1
    parts = []
    for branch in query.any_of:
        inner = sorted({end for p in branch for end in (p.head, p.tail) if isinstance(end, int) and end >= held})
        some = f"for some {_listed([names[end] for end in inner])}, " if inner else ""
        clauses = [clause(pattern) for pattern in branch]
        if query.when:
            clauses[0] += {
                "before": f" with a date before {query.when.year}",
                "after": f" with a date after {query.when.year}",
                "in": f" at some time in {query.when.year}",
            }[query.when.how]
        parts.append(some + _listed(clauses))
    text = parts[0] if len(parts) == 1 else "; or ".join(f"({n}) {part}" for n, part in enumerate(parts, start=1))
    text = f"such that {text}"
    return text + "".join(f", but it is not so that {clause(pattern)}" for pattern in query.none_of)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _clause(problem: GraphProblem, head: str, tail: str, relation: str) -> str:
    style = problem.relations[relation]
    if problem.query.style == "triples":
        return f"({head}, {style.name}, {tail})"
    return _SLOT.sub(lambda slot: head if slot[0] == "X" else tail, style.phrase)


def _fact(problem: GraphProblem, edge: Edge) -> str:
    text = _clause(problem, problem.labels[edge.head], problem.labels[edge.tail], edge.relation)
    dates = [edge.time] if edge.time else []
    if edge.valid_from or edge.valid_to:
        dates.append(f"from {edge.valid_from or 'the start'} to {edge.valid_to or 'today'}")
    return f"{text} [{', '.join(dates)}]" if dates else text


def answer_text(problem: GraphProblem, nodes: Sequence[str]) -> str:
    """Gives the one right answer line's content for a set of nodes: labels in alphabetical order, case aside."""
    return SEPARATOR.join(sorted((problem.labels[node] for node in nodes), key=lambda text: (text.casefold(), text)))


# Answering


def expected_answer(problem: GraphProblem) -> str:
    """Computes the answer with networkx, from the record's own facts.

    Raises:
        PromptError: nothing fits (`no_answer`), or more than one answer does where one is asked for (`not_unique`).
    """
    query = problem.query
    facts = _as_graph(problem)
    if query.between:
        counts = {node: len(_fitting(facts, query, {1: node})) for node in query.between}
        (few, fewest), (many, most) = sorted(counts.items(), key=lambda item: item[1])
        if fewest == most:
            raise PromptError(f"both have {most}", "not_unique")
        return answer_text(problem, [many if query.ask == "more" else few])
    if query.ask == "count":
        return str(len(_fitting(facts, query, {})))
    found = _extreme(facts, query) if query.ask in ("earliest", "latest") else sorted(_fitting(facts, query, {}))
    if not found:
        raise PromptError("no node answers the question", "no_answer")
    if query.ask != "list" and len(found) != 1:
        raise PromptError(f"{len(found)} nodes answer a question for one", "not_unique")
    return answer_text(problem, found)


def _as_graph(problem: GraphProblem) -> Any:
    """A networkx MultiDiGraph with the relation as key; each edge holds all facts of its (head, relation, tail)."""
    try:
        import networkx  # type: ignore[import-untyped]  # 0.2 s that only graph questions pay
    except ImportError as error:
        hint = "pip install 'frontier-data-engine[graphs]'"
        raise EnvironmentMissing("judging graph questions needs networkx", hint=hint) from error
    facts = networkx.MultiDiGraph(num_steps=0)
    facts.add_nodes_from(problem.labels)
    for edge in problem.edges:
        if Pattern(*edge[:3]) in problem.query.without:
            continue
        if facts.has_edge(edge.head, edge.tail, key=edge.relation):
            facts.edges[edge.head, edge.tail, edge.relation]["facts"].append(edge)
        else:
            facts.add_edge(edge.head, edge.tail, key=edge.relation, facts=[edge])
    return facts


def _fitting(facts: Any, query: Query, held: dict[int, str]) -> set[str]:
    found = {
        binding[0]
        for branch in query.any_of
        for binding in _bindings(facts, branch, held)
        if query.when is None or any(_in_time(fact, query.when) for fact in _facts_of(facts, branch[0], binding))
    }
    return {x for x in found if not any(_facts_of(facts, pattern, {0: x}) for pattern in query.none_of)}


def _bindings(facts: Any, patterns: Sequence[Pattern], held: dict[int, str]) -> Iterator[dict[int, str]]:
    """Yields every assignment of variables under which all patterns are edges, by depth-first search."""
    facts.graph["num_steps"] += 1
    if facts.graph["num_steps"] > MAX_STEPS:
        raise PromptError(f"the question takes more than {MAX_STEPS} steps", "bad_query")
    if not patterns:
        yield held
        return
    # The pattern with the most known ends first: its candidates are fewest.
    pattern = max(patterns, key=lambda p: sum(_known(end, held) is not None for end in (p.head, p.tail)))
    rest = [other for other in patterns if other is not pattern]
    head, tail = _known(pattern.head, held), _known(pattern.tail, held)
    heads = [head] if head is not None else facts.predecessors(tail) if tail is not None else facts
    for start in list(heads):
        for end in [tail] if tail is not None else list(facts.successors(start)):
            if pattern.head == pattern.tail and start != end:
                continue
            if facts.has_edge(start, end, key=pattern.relation):
                grown = dict(held)
                if isinstance(pattern.head, int):
                    grown[pattern.head] = start
                if isinstance(pattern.tail, int):
                    grown[pattern.tail] = end
                yield from _bindings(facts, rest, grown)


def _known(end: Term, held: Mapping[int, str]) -> str | None:
    return held.get(end) if isinstance(end, int) else end


def _facts_of(facts: Any, pattern: Pattern, binding: Mapping[int, str]) -> list[Edge]:
    data = facts.get_edge_data(_known(pattern.head, binding), _known(pattern.tail, binding), pattern.relation)
    return data["facts"] if data else []


def _in_time(fact: Edge, when: When) -> bool:
    if when.how == "in":
        if not (fact.valid_from or fact.valid_to):
            return False
        begins = not fact.valid_from or _year(fact.valid_from) <= when.year
        return begins and (not fact.valid_to or when.year <= _year(fact.valid_to))
    if not fact.date:
        return False
    return _year(fact.date) < when.year if when.how == "before" else _year(fact.date) > when.year


def _year(text: str) -> int:
    return int(_DATE.match(text)[1])  # type: ignore[index]  # reading the record has checked it


def _extreme(facts: Any, query: Query) -> list[str]:
    """The X of the earliest or latest dated fact; several when dates can't tell them apart."""
    fitting = _fitting(facts, query, {})
    spans: dict[str, tuple[Date, Date]] = {}
    for branch in query.any_of:
        for binding in _bindings(facts, branch, {}):
            for fact in _facts_of(facts, branch[0], binding):
                span = date_range(fact.date) if fact.date else None
                if span is None or binding[0] not in fitting or (query.when and not _in_time(fact, query.when)):
                    continue
                pick = min if query.ask == "earliest" else max
                first = spans.get(binding[0], span)
                spans[binding[0]] = (pick(first[0], span[0]), pick(first[1], span[1]))
    if query.ask == "earliest":
        bound = min((last for _, last in spans.values()), default=(0, 0, 0))
        return sorted(x for x, (first, _) in spans.items() if first <= bound)
    bound = max((first for first, _ in spans.values()), default=(0, 0, 0))
    return sorted(x for x, (_, last) in spans.items() if last >= bound)
