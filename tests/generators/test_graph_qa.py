"""Graph questions: the same everywhere, right in the whole graph, unique, harder by level, and even in coverage."""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import jsonschema_rs
import networkx
import pytest

from frontier_core.domains import Domain
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.profiles import undress, violation
from frontier_core.records import last_assistant
from frontier_core.schemas import guess_spec, load_schema
from frontier_core.seeds import is_held_out
from generators import synth
from generators.graphs.coverage import graphs_covered
from generators.graphs.graph_qa import GENERATOR, VERSION, _permuted, graph_generator
from generators.graphs.worlds import PHRASES, WORLDS, kinship, transit
from validators.graphs import read_problem
from validators.skills.graph_qa import verify

DATA = Path(__file__).parent.parent / "data"
LEVELS = (1, 2, 3, 4, 5)
SOURCES = ("invented", "moons.csv", "imports.tsv")
CELLS = [(source, level) for source in SOURCES for level in LEVELS]


@cache
def generator_of(source):
    return GENERATOR if source == "invented" else graph_generator(DATA / source)


@cache
def records(source, level, seed=42, num=60):
    generator = generator_of(source)
    return [generator.sample(seed, index, level) for index in range(num)]


def answer_of(record):
    return undress(last_assistant(record)).strip()


@pytest.mark.parametrize(("source", "level"), CELLS)
def test_the_verifier_accepts_every_answer(source, level):
    for record in records(source, level):
        verdict = verify(record, answer_of(record))
        assert verdict.ok, (verdict.message, record)


@pytest.mark.parametrize(("source", "level"), CELLS)
def test_records_keep_schema_and_profile(source, level):
    schema = jsonschema_rs.validator_for(
        load_schema("graph_v1"), retriever=lambda uri: load_schema(uri.removeprefix("frontier:"))
    )
    for record in records(source, level):
        assert guess_spec(record) == "graph_v1"
        assert schema.is_valid(record), next(schema.iter_errors(record)).message
        assert violation(record["messages"][1]["content"], "emoji_think") is None


@pytest.mark.parametrize(("source", "level"), CELLS)
def test_a_question_of_level_n_takes_n_steps(source, level):
    assert {read_problem(record).query.num_steps for record in records(source, level)} == {level}


@pytest.mark.parametrize("source", SOURCES)
def test_prompts_grow_with_the_level(source):
    means = [sum(len(r["edges"]) for r in records(source, level)) / 60 for level in LEVELS]
    assert means == sorted(means)


def as_networkx(path):
    """The whole file as a graph, read here and not by our loader."""
    import csv

    graph = networkx.MultiDiGraph()
    with path.open() as stream:
        for row in csv.reader(stream, delimiter="\t" if path.suffix == ".tsv" else ","):
            if row[0] != "subject":
                graph.add_edge(row[0], row[2], key=row[1], date=row[3] if len(row) > 3 else "")
    return graph


def fits(graph, query, x, held):
    """Whether X fits, by trying: some branch can be filled in, and nothing that is ruled out holds of it."""

    def fill(patterns, values):
        if not patterns:
            return True
        (first, *rest), known = patterns, {**values}
        ends = [known.get(end) if isinstance(end, int) else end for end in (first["head"], first["tail"])]
        for head in [ends[0]] if ends[0] else list(graph):
            for tail in [ends[1]] if ends[1] else list(graph[head]):
                if graph.has_edge(head, tail, key=first["relation"]):
                    pairs = zip((first["head"], first["tail"]), (head, tail), strict=True)
                    grown = known | {end: node for end, node in pairs if isinstance(end, int)}
                    if len(set(grown)) == len(grown) and fill(rest, grown):
                        return True
        return False

    def order(branch):
        return sorted(branch, key=lambda p: not (p["head"] == 0 or p["tail"] == 0))

    holds = any(fill(order(branch), {0: x, **held}) for branch in query["any_of"])
    return holds and not any(fill([pattern], {0: x}) for pattern in query.get("none_of", []))


def recomputed(graph, query):
    graph = graph.copy()
    graph.remove_edges_from([(f["head"], f["tail"], f["relation"]) for f in query.get("without", [])])
    if "between" in query:
        counts = {node: sum(fits(graph, query, x, {1: node}) for x in graph) for node in query["between"]}
        pick = max if query["ask"] == "more" else min
        best = [node for node in counts if counts[node] == pick(counts.values())]
        assert len(best) == 1
        return best[0]
    fitting = [x for x in graph if fits(graph, query, x, {})]
    if query["ask"] == "count":
        return str(len(fitting))
    if query["ask"] == "one":
        assert len(fitting) == 1
    return "; ".join(sorted(fitting, key=lambda name: (name.casefold(), name)))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("source", ["moons.csv", "imports.tsv"])
def test_answers_equal_a_recomputation_in_the_whole_graph(source, level):
    graph = as_networkx(DATA / source)
    for record in records(source, level)[: 25 if level < 5 else 10]:
        query = record["query"]
        if query["ask"] in ("earliest", "latest") or "when" in query:
            continue
        assert answer_of(record) == f"ANSWER: {recomputed(graph, query)}"


@pytest.mark.parametrize("level", [2, 3])
def test_dated_answers_equal_a_recomputation_in_the_whole_graph(level):
    graph = as_networkx(DATA / "moons.csv")
    seen = 0
    for record in records("moons.csv", level, num=400):
        query = record["query"]
        if query["ask"] not in ("earliest", "latest") or len(query["any_of"][0]) > 1:
            continue
        (pattern,) = query["any_of"][0]
        dated = {
            (head if pattern["head"] == 0 else tail): data["date"]
            for head, tail, key, data in graph.edges(keys=True, data=True)
            if key == pattern["relation"] and pattern["tail" if pattern["head"] == 0 else "head"] in (head, tail)
        }
        dates = sorted(dated.values())
        extreme = dates[0] if query["ask"] == "earliest" else dates[-1]
        assert answer_of(record) == f"ANSWER: {next(x for x, date in dated.items() if date == extreme)}"
        assert dates.count(extreme) == 1
        seen += 1
    assert level == 3 or seen >= 5


@pytest.mark.parametrize("source", SOURCES)
def test_one_answer_is_asked_for_only_where_there_is_one(source):
    for level in LEVELS:
        for record in records(source, level):
            names = answer_of(record).removeprefix("ANSWER: ").split("; ")
            if record["query"]["ask"] == "list":
                assert len(names) > 1
                assert len(set(names)) == len(names)
            else:
                assert len(names) == 1


def test_every_kind_of_question_is_asked():
    kinds = Counter(r["metadata"]["scenario"] for level in LEVELS for r in records("invented", level, num=200))
    assert set(kinds) == {
        "path", "intersection", "tree", "cycle", "union", "count", "count_union", "comparison", "temporal", "negation",
        "counterfactual", "count_negation", "count_counterfactual", "counterfactual_negation",
    }  # fmt: skip
    assert min(kinds.values()) >= 5
    asks = Counter(r["query"]["ask"] for level in LEVELS for r in records("invented", level, num=200))
    assert set(asks) == {"one", "list", "count", "more", "fewer", "earliest", "latest"}


_DIGEST = """
import hashlib, sys
from frontier_core.jsonl import dumps
from generators.graphs.graph_qa import GENERATOR, graph_generator
digest = hashlib.sha256()
for generator in (GENERATOR, graph_generator(sys.argv[1])):
    for level in generator.levels:
        for index in range(15):
            digest.update(dumps(generator.sample(5, index, level)))
print(digest.hexdigest())
"""


def test_bytes_are_the_same_in_every_process_and_under_every_hash_seed():
    here = hashlib.sha256()
    for source in ("invented", "moons.csv"):
        for level in LEVELS:
            for record in records(source, level, seed=5, num=15):
                here.update(dumps(record))
    for hash_seed in ("0", "4711"):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", _DIGEST, str(DATA / "moons.csv")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == here.hexdigest()


@pytest.mark.parametrize(("source", "level"), [cell for cell in CELLS if cell[1] in (1, 3)])
def test_neighboring_seeds_share_no_more_problems_than_distant_ones(source, level):
    generator = generator_of(source)
    problems = {
        seed: [generator.problem(record) for record in records(source, level, seed=seed)] for seed in (42, 43, 900_042)
    }
    near = len(set(problems[42]) & set(problems[43]))
    far = len(set(problems[42]) & set(problems[900_042]))
    # Two counts of up to 60 in common differ by chance with a standard deviation of at most about 6.
    assert near <= far + 20
    assert sum(a == b for a, b in zip(problems[42], problems[43], strict=True)) <= 8


def test_the_same_question_over_other_surroundings_is_the_same_problem():
    first = records("invented", 2)[0]
    other = {**first, "edges": first["edges"][::-1], "query": {**first["query"], "style": "triples"}}
    assert GENERATOR.problem(first) == GENERATOR.problem(other)
    shares = [is_held_out(GENERATOR.problem(r)) for level in LEVELS for r in records("invented", level)]
    assert 0.05 < sum(shares) / len(shares) < 0.16


@pytest.mark.parametrize("level", [1, 3])
def test_a_run_covers_nodes_and_relations_of_a_file_evenly(level):
    generator = generator_of("imports.tsv")
    made = [generator.sample(1, index, level) for index in range(2 * 166)]
    (coverage,) = graphs_covered(made).values()
    report = coverage.report()
    assert (report["num_nodes"], report["num_edges"], report["num_relations"]) == (166, 512, 2)
    assert report["node_share"] > 0.95
    assert report["relation_share"] == 1.0


def test_coverage_names_what_the_answer_rests_on():
    for record in records("moons.csv", 3):
        coverage, edges = record["metadata"]["graph_coverage"], {edge["id"]: edge for edge in record["edges"]}
        assert set(coverage["edge_ids"]) <= set(edges)
        touched = [edges[number] for number in coverage["edge_ids"]]
        assert set(coverage["node_ids"]) == {edge[end] for edge in touched for end in ("head", "tail")}
        assert set(coverage["relations"]) == {edge["relation"] for edge in touched}
        assert coverage["node_share"] == round(len(coverage["node_ids"]) / 55, 6)


def test_facts_beside_the_point_stand_in_every_prompt():
    for level in LEVELS:
        for record in records("invented", level):
            assert len(record["edges"]) > len(record["metadata"]["graph_coverage"]["edge_ids"])


def test_the_order_of_anchors_visits_all_before_any_again():
    for count in (1, 2, 7, 12, 100):
        lap = [_permuted(position, count, "x", 1) for position in range(3 * count)]
        assert all(sorted(lap[start : start + count]) == list(range(count)) for start in (0, count, 2 * count))


def test_a_run_over_a_file_replays_and_other_files_are_refused():
    moons, imports = generator_of("moons.csv"), generator_of("imports.tsv")
    source = synth.bound(moons)
    requests = synth.plan_requests([Domain(name="graphs", skill="graph_qa", levels=(1, 2, 5))], 40)
    made = list(synth.generate(requests, seed=9, source=source))
    assert len(made) == 40
    for record in made:
        assert dumps(synth.replay(record["metadata"], source=source)) == dumps(record)
        with pytest.raises(DataError, match="made by graph_qa:"):
            synth.replay(record["metadata"], source=synth.bound(imports))
        with pytest.raises(DataError, match=f"installed is graph_qa@{VERSION}"):
            synth.replay(record["metadata"])
    assert {len(record["metadata"]["graph_sha256"]) for record in made} == {64}


@pytest.mark.parametrize("level", LEVELS)
def test_a_file_has_the_problems_that_it_claims(level):
    generator = generator_of("moons.csv")
    capacity = generator.capacity(level)
    seen = set()
    for index in range(40 * capacity):
        seen.add(generator.problem(generator.sample(3, index, level)))
        if len(seen) >= min(capacity, 400):
            return
    pytest.fail(f"{len(seen)} of {capacity} problems found")


def test_a_file_generator_travels_to_worker_processes():
    import pickle

    generator = generator_of("moons.csv")
    copy = pickle.loads(pickle.dumps(generator))
    assert dumps(copy.sample(1, 2, 3)) == dumps(generator.sample(1, 2, 3))


def test_a_graph_without_paths_offers_single_facts_and_unions_of_them(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"a{n}\tlikes\tb{n}\n" for n in range(20)))
    assert graph_generator(path).levels == (1, 3, 4)
    path.write_text("a\tlikes\ta\n")
    with pytest.raises(DataError, match="no question can be asked"):
        graph_generator(path)


def test_unknown_levels_are_usage_errors():
    with pytest.raises(UsageError, match="graph_qa has no level 6"):
        GENERATOR.sample(1, 0, 6)


def test_phrases_are_those_of_the_user_in_facts_and_question(tmp_path):
    phrases = tmp_path / "phrases.yaml"
    phrases.write_text("orbits: X goes around Y\n")
    generator = graph_generator(DATA / "moons.csv", phrases)
    made = [generator.sample(1, index, 1) for index in range(60)]
    prompts = [r["messages"][0]["content"] for r in made if r["query"]["style"] == "words"]
    assert any("goes around X." in prompt for prompt in prompts)
    assert not any("orbits" in prompt for prompt in prompts)
    assert generator.generator_id != generator_of("moons.csv").generator_id


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_are_worded_and_typed(name):
    from random import Random

    graph = WORLDS[name](Random(7))
    assert set(graph.relations) <= set(PHRASES)
    assert 40 <= len(graph) <= 130
    assert set(graph.naming.types) >= set(graph.nodes)


def test_nobody_marries_a_sibling():
    for seed in range(80):
        graph = kinship(Random(seed))
        parents, couples = {}, []
        for e in range(len(graph)):
            head, relation = graph.heads[e], graph.relations[graph.kinds[e]]
            if relation == "mother_of":
                parents[graph.tails[e]] = head
            elif relation == "married_to":
                couples.append((head, graph.tails[e]))
        assert couples
        for one, other in couples:
            assert one not in parents or parents[one] != parents.get(other)


def test_no_line_is_called_by_a_letter_that_questions_use():
    for seed in range(20):
        lines = [node for node, kind in transit(Random(seed)).naming.types.items() if kind == "line"]
        assert len(set(lines)) == 4
        assert all(re.fullmatch(r"line \d+", line) for line in lines)
