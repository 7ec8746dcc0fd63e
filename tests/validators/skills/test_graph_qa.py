"""Graph answers: known by hand here, recomputed there; a thousand wrong ones, and records that don't fit together."""

import copy
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import EnvironmentMissing
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from generators.graphs.graph_qa import GENERATOR
from validators.base import Verdict
from validators.graphs import date_range, prompt_of, read_problem
from validators.skills.dialogue import PromptError
from validators.skills.graph_qa import verify

NODES = [{"id": name} for name in ("Ana", "Ben", "Cem", "Dora", "Oslo", "Rome")]
EDGES = [
    {"head": "Ana", "relation": "lives_in", "tail": "Rome"},
    {"head": "Ben", "relation": "lives_in", "tail": "Rome"},
    {"head": "Cem", "relation": "lives_in", "tail": "Oslo", "valid_from": "1990", "valid_to": "1999"},
    {"head": "Ana", "relation": "taught", "tail": "Cem", "time": "1984"},
    {"head": "Ben", "relation": "taught", "tail": "Cem", "time": "1986-05"},
    {"head": "Ben", "relation": "taught", "tail": "Dora", "time": "1991"},
    {"head": "Dora", "relation": "taught", "tail": "Ana"},
]
RELATIONS = {
    "lives_in": {"name": "lives_in", "phrase": "X lives in Y"},
    "taught": {"name": "taught", "phrase": "X taught Y"},
}


def fact(head, relation, tail):
    return {"head": head, "relation": relation, "tail": tail}


def record_of(query, edges=EDGES):
    record = {"nodes": NODES, "edges": edges, "relations": RELATIONS, "query": query, "metadata": {"skill": "graph_qa"}}
    record["messages"] = [{"role": "user", "content": prompt_of(read_problem(record))}]
    return record


CASES = [
    ({"ask": "one", "any_of": [[fact("Cem", "lives_in", 0)]]}, "Oslo"),
    ({"ask": "list", "any_of": [[fact(0, "taught", "Cem")]]}, "Ana; Ben"),
    ({"ask": "one", "any_of": [[fact("Dora", "taught", 1), fact(1, "taught", 2), fact(2, "lives_in", 0)]]}, "Oslo"),
    ({"ask": "one", "any_of": [[fact(0, "taught", "Cem"), fact(0, "taught", "Dora")]]}, "Ben"),
    ({"ask": "list", "any_of": [[fact(0, "taught", "Ana")], [fact("Ana", "taught", 0)]]}, "Cem; Dora"),
    ({"ask": "count", "any_of": [[fact(0, "lives_in", "Rome")]]}, "2"),
    ({"ask": "count", "any_of": [[fact("Cem", "taught", 0)]]}, "0"),
    ({"ask": "more", "any_of": [[fact(1, "taught", 0)]], "between": ["Ana", "Ben"]}, "Ben"),
    ({"ask": "fewer", "any_of": [[fact(1, "taught", 0)]], "between": ["Ben", "Cem"]}, "Cem"),
    ({"ask": "one", "any_of": [[fact(0, "lives_in", "Rome")]], "none_of": [fact(0, "taught", "Dora")]}, "Ana"),
    ({"ask": "one", "any_of": [[fact(0, "taught", "Cem")]], "without": [fact("Ana", "taught", "Cem")]}, "Ben"),
    ({"ask": "earliest", "any_of": [[fact(0, "taught", "Cem")]]}, "Ana"),
    ({"ask": "latest", "any_of": [[fact("Ben", "taught", 0)]]}, "Dora"),
    ({"ask": "one", "any_of": [[fact("Ben", "taught", 0)]], "when": {"before": 1990}}, "Cem"),
    ({"ask": "one", "any_of": [[fact("Ben", "taught", 0)]], "when": {"after": 1986}}, "Dora"),
    ({"ask": "one", "any_of": [[fact(0, "lives_in", "Oslo")]], "when": {"in": 1999}}, "Cem"),
    ({"ask": "list", "any_of": [[fact("Ana", "lives_in", 1), fact(0, "lives_in", 1)]]}, "Ana; Ben"),
]


@pytest.mark.parametrize(("query", "answer"), CASES)
def test_each_kind_of_question_is_answered(query, answer):
    assert verify(record_of(query), f"ANSWER: {answer}").ok


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (CASES[0][0], "Find the one X such that Cem lives in X."),
        (CASES[2][0], "Find the one X such that for some A and B, Dora taught A, A taught B and B lives in X."),
        (CASES[4][0], "List every X such that (1) X taught Ana; or (2) Ana taught X."),
        (CASES[5][0], "How many different X are there such that X lives in Rome?"),
        (CASES[7][0], "For which of Ana and Ben, put in place of A, are there more X such that A taught X?"),
        (CASES[9][0], "Find the one X such that X lives in Rome, but it is not so that X taught Dora."),
        (
            CASES[10][0],
            "Suppose it were no longer so that Ana taught Cem. Find the one X such that X taught Cem.",
        ),
        (
            CASES[11][0],
            'Take every X such that X taught Cem. Of the dated facts "X taught Cem", which X has the earliest?',
        ),
        (CASES[13][0], "Find the one X such that Ben taught X with a date before 1990."),
        ({**CASES[0][0], "style": "triples"}, "Find the one X such that (Cem, lives_in, X)."),
    ],
)
def test_questions_read_like_this(query, words):
    assert record_of(query)["messages"][0]["content"].split("\n")[-2] == words


def test_a_prompt_reads_like_this():
    record = record_of(CASES[1][0], edges=EDGES[2:6])
    assert record["messages"][0]["content"] == (
        "Facts:\n"
        "- Cem lives in Oslo [from 1990 to 1999]\n"
        "- Ana taught Cem [1984]\n"
        "- Ben taught Cem [1986-05]\n"
        "- Ben taught Dora [1991]\n"
        "Only these facts hold. A letter stands for any name, and two letters may stand for the same one.\n\n"
        "List every X such that X taught Cem.\n"
        "Reply with one line: ANSWER: <name>; <name>; ... in alphabetical order"
    )


def test_a_variable_never_goes_by_the_name_of_a_node():
    problem = read_problem(
        {
            "nodes": [{"id": "1", "label": "X"}, {"id": "2", "label": "A"}],
            "edges": [fact("1", "r", "2")],
            "relations": {"r": {"name": "r", "phrase": "X likes Y"}},
            "query": {"ask": "one", "any_of": [[fact("1", "r", 0)]]},
        }
    )
    assert "Find the one B such that X likes B." in prompt_of(problem)


def test_a_name_with_a_full_stop_of_its_own_ends_the_question():
    problem = read_problem(
        {
            "nodes": [{"id": "1", "label": "Ann"}, {"id": "2", "label": "ACME, Inc."}],
            "edges": [fact("1", "r", "2")],
            "relations": {"r": {"name": "r", "phrase": "X works for Y"}},
            "query": {"ask": "one", "any_of": [[fact(0, "r", "2")]]},
        }
    )
    assert "Find the one X such that X works for ACME, Inc.\n" in prompt_of(problem)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"ask": "one", "any_of": [[fact(0, "taught", "Cem")]]}, "not_unique"),
        ({"ask": "one", "any_of": [[fact("Cem", "taught", 0)]]}, "no_answer"),
        ({"ask": "more", "any_of": [[fact(1, "lives_in", 0)]], "between": ["Ana", "Ben"]}, "not_unique"),
        ({"ask": "earliest", "any_of": [[fact("Dora", "taught", 0)]]}, "no_answer"),
    ],
)
def test_questions_without_a_unique_answer_are_the_records_fault(query, code):
    assert verify(record_of(query), "ANSWER: Ana").code == code


def test_dates_of_which_none_is_surely_first_leave_no_answer():
    edges = [
        {"head": "Ana", "relation": "taught", "tail": "Cem", "time": "1984"},
        {"head": "Ben", "relation": "taught", "tail": "Cem", "time": "1984-05"},
    ]
    query = {"ask": "earliest", "any_of": [[fact(0, "taught", "Cem")]]}
    assert verify(record_of(query, edges), "ANSWER: Ana").code == "not_unique"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Ana; Ben", "not_an_answer"), ("ANSWER: Ben; Ana", "wrong_answer"), ("ANSWER: Ana", "wrong_answer"),
        ("ANSWER: Ana, Ben", "wrong_answer"), ("ANSWER: Ana; Ben; Cem", "wrong_answer"), ("ANSWER:", "not_an_answer"),
        ("answer: Ana; Ben", "not_an_answer"), ("ANSWER: ana; ben", "wrong_answer"), ("", "not_an_answer"),
        ("ANSWER: Ana; Ben\nANSWER: Ana", "not_an_answer"), ("So: ANSWER: Ana; Ben", "not_an_answer"),
        ("ANSWER: Ana; Ana; Ben", "wrong_answer"), ("ANSWER: Ana; Ben..", "wrong_answer"),
    ],
)  # fmt: skip
def test_answers_of_another_form_or_set_are_refused(answer, code):
    verdict = verify(record_of(CASES[1][0]), answer)
    assert verdict.code == code
    assert verdict.findings[0].pointer == "/messages/1/content"


def test_white_space_and_one_full_stop_are_forgiven():
    assert verify(record_of(CASES[1][0]), " ANSWER:  Ana; Ben.\n").ok


BROKEN = {
    "no nodes": lambda r: r.pop("nodes"),
    "a node twice": lambda r: r["nodes"].append({"id": "Ana"}),
    "one label for two": lambda r: r["nodes"].append({"id": "x", "label": "Ana"}),
    "an edge to nowhere": lambda r: r["edges"][0].update(tail="Bonn"),
    "no phrase": lambda r: r["relations"].pop("taught"),
    "a date that is none": lambda r: r["edges"][0].update(time="soon"),
    "no query": lambda r: r.pop("query"),
    "unknown ask": lambda r: r["query"].update(ask="why"),
    "no variable 0": lambda r: r["query"].update(any_of=[[fact("Ana", "taught", "Cem")]]),
    "unknown node": lambda r: r["query"].update(any_of=[[fact("Zoe", "taught", 0)]]),
    "a boolean": lambda r: r["query"].update(any_of=[[fact(False, "taught", "Cem")]]),
    "between one": lambda r: r["query"].update(ask="more", between=["Ana", "Ana"]),
    "negation of a variable": lambda r: r["query"].update(none_of=[fact(1, "taught", 0)]),
    "a removed variable": lambda r: r["query"].update(without=[fact(0, "taught", "Cem")]),
    "two conditions": lambda r: r["query"].update(when={"before": 1, "after": 2}),
    "thirteen patterns": lambda r: r["query"].update(any_of=[[fact(0, "taught", "Cem")] * 13]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_records_that_do_not_fit_together_are_refused(name):
    record = copy.deepcopy(record_of(CASES[1][0]))
    BROKEN[name](record)
    assert verify(record, "ANSWER: Ana; Ben").code in ("bad_graph", "bad_query")


def test_a_prompt_that_tells_other_facts_is_refused():
    record = record_of(CASES[1][0])
    fewer = {**record, "edges": EDGES[:-1]}
    other = {**record, "query": CASES[3][0]}
    for changed in (fewer, other):
        assert verify(changed, "ANSWER: Ana; Ben").code == "prompt_mismatch"


def test_a_question_that_would_take_forever_is_refused():
    nodes = [{"id": f"n{n}"} for n in range(40)]
    edges = [fact(f"n{a}", "r", f"n{b}") for a in range(40) for b in range(40)]
    query = {"ask": "count", "any_of": [[fact(n, "r", n + 1) for n in range(9)]]}
    record = {"nodes": nodes, "edges": edges, "relations": {"r": {"name": "r", "phrase": "X r Y"}}, "query": query}
    record["messages"] = [{"role": "user", "content": prompt_of(read_problem(record))}]
    assert verify(record, "ANSWER: 40").code == "bad_query"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1990", ((1990, 1, 1), (1990, 12, 31))),
        ("-44-03", ((-44, 3, 1), (-44, 3, 31))),
        ("1990-05-17T10:00:00Z", ((1990, 5, 17), (1990, 5, 17))),
        ("1990-13", None),
        ("May", None),
        ("1990-00", None),
    ],
)
def test_dates_stand_for_ranges_of_days(text, span):
    assert date_range(text) == span


def mutants_of(rng, record, answer):
    """Wrong answers near the right one."""
    content = answer.removeprefix("ANSWER: ")
    names = sorted(node.get("label", node["id"]) for node in record["nodes"])
    given = content.split("; ")
    yield f"ANSWER: {rng.choice(names)}"
    yield f"ANSWER: {'; '.join([*given, rng.choice(names)])}"
    yield f"ANSWER: {'; '.join(sorted({*given, rng.choice(names)}))}"
    yield f"ANSWER: {'; '.join(given[1:])}"
    yield f"ANSWER: {'; '.join(reversed(given))}"
    yield f"ANSWER: {content.swapcase()}"
    yield f"ANSWER: {int(content) + rng.choice((-1, 1)) if content.isdigit() else len(given)}"
    yield content
    yield f"ANSWER: the {content}"
    yield f"{answer}\n{answer}"


def test_no_mutant_of_a_thousand_is_accepted():
    rng, num_mutants = Random(3), 0
    for index in range(40):
        for level in GENERATOR.levels:
            record = GENERATOR.sample(77, index, level)
            answer = undress(last_assistant(record)).strip()
            for mutant in mutants_of(rng, record, answer):
                if mutant.strip() != answer and mutant.strip().removesuffix(".") != answer:
                    assert not verify(record, mutant).ok, (mutant, answer)
                    num_mutants += 1
    assert num_mutants >= 1000


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 20) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "head", "ask"]), inner),
    max_leaves=6,
)


@given(st.sampled_from(["nodes", "edges", "relations", "query"]), _json)
def test_no_record_makes_the_verifier_raise(key, value):
    verdict = verify({**record_of(CASES[1][0]), key: value}, "ANSWER: Ana; Ben")
    assert isinstance(verdict, Verdict)
    assert not verdict.ok


def test_judging_without_networkx_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(EnvironmentMissing) as error:
        verify(record_of(CASES[0][0]), "ANSWER: Oslo")
    assert error.value.hint == "pip install 'frontier-data-engine[graphs]'"


def test_reading_names_the_place():
    with pytest.raises(PromptError, match="/edges/0: 'Zoe' is none of the nodes"):
        read_problem({**record_of(CASES[0][0]), "edges": [fact("Zoe", "taught", "Cem")]})
