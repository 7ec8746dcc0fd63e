"""Reading triples: every format gives the same graph, every fault names its place."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.errors import DataError, EnvironmentMissing, UsageError
from generators.graphs.graph import Graph, Naming, Triple
from generators.graphs.triples import load_graph
from generators.graphs.wording import default_phrase, labels_of, name_relations
from validators.graphs import Relation

FACTS = [("Rome", "capital_of", "Italy"), ("Rome", "lies_on", "Tiber"), ("Milan", "lies_in", "Italy")]


def facts_of(graph):
    return [
        (graph.nodes[graph.heads[e]], graph.relations[graph.kinds[e]], graph.nodes[graph.tails[e]])
        for e in range(len(graph))
    ]


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "\n".join("\t".join(fact) for fact in FACTS)),
        ("a.csv", "\n".join(",".join(fact) for fact in FACTS) + "\n"),
        ("semicolons.csv", "\n".join(";".join(fact) for fact in FACTS)),
        ("header.csv", "object,subject,predicate\n" + "\n".join(f'"{t}",{h},{r}' for h, r, t in FACTS)),
        ("bom.csv", "\ufeffhead,relation,tail\r\n" + "\r\n".join(",".join(fact) for fact in FACTS)),
        ("comment.txt", "# cities\n\n" + "\n".join("\t".join(fact) for fact in FACTS)),
        ("a.json", json.dumps([dict(zip(("head", "relation", "tail"), fact, strict=True)) for fact in FACTS])),
        ("lists.json", json.dumps({"triples": FACTS}, indent=1)),
        ("a.jsonl", "\n".join(json.dumps(dict(zip(("s", "p", "o"), fact, strict=True))) for fact in FACTS)),
        ("neo.jsonl", "\n".join(json.dumps(dict(zip(("start", "type", "end"), fact, strict=True))) for fact in FACTS)),
    ],
)
def test_each_format_gives_the_same_facts(tmp_path, name, text):
    assert facts_of(load_graph(write(tmp_path, name, text)).graph) == FACTS


def test_a_compressed_table_is_read(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress("\n".join("\t".join(fact) for fact in FACTS).encode()))
    assert facts_of(load_graph(path).graph) == FACTS


def test_duplicates_are_counted_and_dropped_but_other_times_are_other_facts(tmp_path):
    lines = ["head\trelation\ttail\ttime", "A\tmet\tB\t1990", "A\tmet\tB\t1991", "A\tmet\tB\t1990", "B\tmet\tA\t1990"]
    graph = load_graph(write(tmp_path, "a.tsv", "\n".join(lines))).graph
    assert facts_of(graph) == [("A", "met", "B"), ("A", "met", "B"), ("B", "met", "A")]
    assert graph.num_duplicates == 1
    assert graph.times == {0: ("1990", "", ""), 1: ("1991", "", ""), 2: ("1990", "", "")}


def test_times_and_types_are_read_from_named_columns(tmp_path):
    text = "from,rel,to,since,until,source_type,target_type\nAna,leads,Hut,1990,1995-05,person,team\n"
    graph = load_graph(write(tmp_path, "a.csv", text)).graph
    assert graph.times == {0: ("", "1990", "1995-05")}
    assert graph.naming.types == {"Ana": "person", "Hut": "team"}


NT = """# moons
<http://x.org/Io> <http://x.org/orbits> <http://x.org/Jupiter> .
<http://x.org/Io> <http://www.w3.org/2000/01/rdf-schema#label> "Io, the \\u0069nner"@en .
<http://x.org/Io> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://x.org/Moon> .
_:b1 <http://x.org/found> "1610"^^<http://www.w3.org/2001/XMLSchema#gYear> . # a year
"""
TURTLE = """@prefix x: <http://x.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
x:Io x:orbits x:Jupiter ; a x:Moon ; rdfs:label "Io, the inner"@en .
"""


def test_n_triples_give_labels_types_and_local_names(tmp_path):
    graph = load_graph(write(tmp_path, "a.nt", NT)).graph
    assert facts_of(graph) == [
        ("http://x.org/Io", "http://x.org/orbits", "http://x.org/Jupiter"),
        ("_:b1", "http://x.org/found", "1610"),
    ]
    assert [graph.label(node) for node in range(4)] == ["Io, the inner", "Jupiter", "_:b1", "1610"]
    assert graph.naming.types == {"http://x.org/Io": "http://x.org/Moon"}
    assert graph.relation(0) == Relation("orbits", 'X is linked by "orbits" to Y')


def test_turtle_is_read_by_rdflib(tmp_path):
    pytest.importorskip("rdflib")
    graph = load_graph(write(tmp_path, "a.ttl", TURTLE)).graph
    assert facts_of(graph) == [("http://x.org/Io", "http://x.org/orbits", "http://x.org/Jupiter")]
    assert graph.label(0) == "Io, the inner"


def test_turtle_without_rdflib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rdflib", None)
    with pytest.raises(EnvironmentMissing) as error:
        load_graph(write(tmp_path, "a.ttl", TURTLE))
    assert error.value.hint == "pip install 'frontier-data-engine[graphs]'"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "a\tr\tb\na\tr\n", "a.tsv:2: has 2 columns, the first row has 3"),
        ("a.csv", "a r b\n", "a.csv:1: needs at least 3 columns, has 1"),
        ("a.csv", 'a,r,"b\n', "a.csv:1: not valid CSV: unexpected end of data"),
        ("a.csv", "head,relation,tail\na,,b\n", "a.csv:2: the relation is empty or no text: ''"),
        ("a.tsv", "a\tr\tb\tMay 1990\n", "a.tsv:1: 'May 1990' is no year or ISO date"),
        ("a.tsv", "\n\n", "a.tsv: holds no triples"),
        ("a.jsonl", '{"head":"a","relation":"r","tail":"b"}\n{"head":"a"}\n', "a.jsonl:2: 'relation' is missing"),
        ("a.jsonl", '{"head":"a","relation":"r","tail":["b"]}\n', "a.jsonl:1: the tail is empty or no text: ['b']"),
        ("a.json", '[{"head":"a","relation":"r"}]', "a.json /0: 'tail' is missing"),
        ("a.json", '[["a","r","b"],["a","r"]]', "a.json /1: a triple has 3 parts or 4 with a time, this has 2"),
        ("a.json", '{"nodes":[]}', "a.json: needs a list of triples, or an object with `triples`"),
        ("a.nt", "<a> <b> <c> .\n<a> <b> .\n", "a.nt:2: is no N-Triples statement"),
    ],
)
def test_a_fault_names_file_and_line(tmp_path, name, text, message):
    with pytest.raises(DataError) as error:
        load_graph(write(tmp_path, name, text))
    assert error.value.message == f"{tmp_path}/{message}"


def test_broken_json_and_turtle_name_the_place(tmp_path):
    with pytest.raises(DataError, match=r"a\.json:2: not valid JSON"):
        load_graph(write(tmp_path, "a.json", '[\n{"head": }]'))
    pytest.importorskip("rdflib")
    with pytest.raises(DataError, match=r"a\.ttl:\d+: can't be parsed"):
        load_graph(write(tmp_path, "a.ttl", TURTLE + "x:Io x:orbits .\n"))


def test_a_missing_file_and_an_unknown_suffix_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_graph(tmp_path / "a.tsv")
    with pytest.raises(UsageError, match="can't tell the format") as error:
        load_graph(write(tmp_path, "a.dat", "a\tr\tb"))
    assert ".tsv" in error.value.hint


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("a,r,Zürich\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        load_graph(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("capital_of", "X is capital of Y"),
        ("bornIn", "X is born in Y"),
        ("reports_to", "X reports to Y"),
        ("has_part", "X has part Y"),
        ("isPartOf", "X is part of Y"),
        ("embassy", 'X is linked by "embassy" to Y'),
        ("of", 'X is linked by "of" to Y'),
    ],
)
def test_a_relation_is_worded_by_its_name(name, phrase):
    assert default_phrase(name) == phrase


def test_relations_that_would_read_the_same_are_told_apart():
    named = name_relations(["capital_of", "capitalOf"], {})
    assert [relation.phrase for relation in named.values()] == [
        'X is linked by "capital_of" to Y',
        'X is linked by "capitalOf" to Y',
    ]


@given(st.lists(st.text(alphabet="ab; ()2", min_size=1, max_size=5), min_size=1, max_size=12, unique=True))
def test_labels_are_never_shared_and_never_hold_the_separator(nodes):
    ids = [f"http://x.org/{number}" for number in range(len(nodes))]
    named = labels_of(ids, dict(zip(ids, nodes, strict=True)))
    labels = [named.get(node, node) for node in ids]
    assert len(set(labels)) == len(ids)
    assert not any(";" in label for label in labels)


def test_phrases_replace_the_default_wording(tmp_path):
    phrases = write(tmp_path, "phrases.yaml", "capital_of: X is the capital of Y\n")
    loaded = load_graph(write(tmp_path, "a.tsv", "Rome\tcapital_of\tItaly\n"), phrases)
    assert loaded.graph.relation(0) == Relation("capital_of", "X is the capital of Y")
    assert loaded.digest != load_graph(tmp_path / "a.tsv").digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("capital: X is the capital of Y\n", "/capital: the graph has no relation 'capital'"),
        ("capital_of: the capital of Y\n", "/capital_of: needs X and Y once each"),
        ("- X of Y\n", "needs lines"),
        ("capital_of: X likes Y\nlies_in: X likes Y\n", "two relations read 'X likes Y'"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_bad_phrases_are_explained(tmp_path, text, message):
    triples = write(tmp_path, "a.tsv", "Rome\tcapital_of\tItaly\nMilan\tlies_in\tItaly\n")
    with pytest.raises(DataError) as error:
        load_graph(triples, write(tmp_path, "p.yaml", text))
    assert message in error.value.message


_node = st.integers(0, 5).map(lambda number: f"n{number}")
_triples = st.lists(st.tuples(_node, st.sampled_from("rst"), _node), min_size=1, max_size=30)


@given(_triples)
def test_the_indexes_find_exactly_the_facts(facts):
    graph = Graph((Triple(*fact) for fact in facts), Naming())
    distinct = list(dict.fromkeys(facts))
    assert facts_of(graph) == distinct
    assert graph.num_duplicates == len(facts) - len(distinct)
    for node, name in enumerate(graph.nodes):
        assert sorted(graph.out_edges(node)) == [e for e, fact in enumerate(distinct) if fact[0] == name]
        assert sorted(graph.in_edges(node)) == [e for e, fact in enumerate(distinct) if fact[2] == name]
        at_node = {graph.edge_at(node, place) for place in range(graph.degree(node))}
        assert at_node == {e for e, fact in enumerate(distinct) if name in (fact[0], fact[2])}
        for kind, relation in enumerate(graph.relations):
            leaving = [e for e, fact in enumerate(distinct) if fact[:2] == (name, relation)]
            entering = [e for e, fact in enumerate(distinct) if fact[1:] == (relation, name)]
            assert (sorted(graph.out_edges(node, kind)), graph.num_out(node, kind)) == (leaving, len(leaving))
            assert (sorted(graph.in_edges(node, kind)), graph.num_in(node, kind)) == (entering, len(entering))
    for kind, relation in enumerate(graph.relations):
        of_kind = [e for e, fact in enumerate(distinct) if fact[1] == relation]
        assert sorted(graph.edge_of_kind(kind, place) for place in range(len(of_kind))) == of_kind


@pytest.mark.slow
def test_a_million_triples_are_read_in_bounded_memory(tmp_path):
    import subprocess
    import sys

    path = tmp_path / "big.tsv"
    with path.open("w") as stream:
        for number in range(1_000_000):
            stream.write(f"entity_{number % 400_000}\trelation_{number % 61}\tentity_{number * 7919 % 400_000}\n")
    code = (
        "from generators.graphs.triples import load_graph\n"
        f"graph = load_graph({str(path)!r}).graph\n"
        # VmHWM begins anew with the program; ru_maxrss would remember what the process was before.
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(len(graph), int(peak.split()[1]) // 1024)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    count, peak_mb = map(int, done.stdout.split())
    assert count == 1_000_000
    assert peak_mb < 400


BLANKS = """@prefix x: <http://x.org/> .
x:Io x:found [ x:by x:Galileo ; x:in "1610" ] ; x:seen [ x:by x:Marius ] .
_:someone x:knows [ x:knows _:someone ] .
"""


def test_blank_nodes_of_turtle_get_the_same_names_in_every_process(tmp_path):
    pytest.importorskip("rdflib")
    path = write(tmp_path, "blank.ttl", BLANKS)
    script = (
        "import sys; from generators.graphs.triples import load_graph; g = load_graph(sys.argv[1]).graph;"
        "print([(g.nodes[g.heads[e]], g.relations[g.kinds[e]], g.nodes[g.tails[e]]) for e in range(len(g))])"
    )
    root = str(Path(__file__).parents[2])
    said = set()
    for hash_seed in ("1", "2"):
        env = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root}
        command = [sys.executable, "-c", script, str(path)]
        said.add(subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout)
    assert said == {f"{facts_of(load_graph(path).graph)}\n"}
    assert "_:b1" in said.pop()
