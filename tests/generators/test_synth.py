import random
from collections import Counter

import jsonschema_rs
import orjson
import pytest

from frontier_core.allocation import allocate
from frontier_core.domains import Domain, load_domains, prior_weights
from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.records import tag_of
from frontier_core.resources import shipped
from frontier_core.schemas import guess_spec, load_schema, schema_ids
from generators.formats import convert
from generators.synth import (
    MAX_MISSES,
    Plan,
    Request,
    bound,
    check_capacity,
    generate,
    generate_lines,
    plan_requests,
    replay,
    split_capacity,
)
from generators.table import GENERATORS

BINARY = Domain(name="arithmetic", skill="binary", levels=(1, 2))
CHOICE = Domain(name="choice", skill="math_mc", levels=(1,), weight=2.0)


def problems(records):
    pairs = ((record["metadata"]["skill"], record) for record in records)
    return {(skill, GENERATORS.get(skill).problem(record)) for skill, record in pairs}


def test_counts_follow_the_priors():
    counts = {(r.domain.skill, r.level): r.count for r in plan_requests([BINARY, CHOICE], 9)}
    assert counts == {("binary", 1): 2, ("binary", 2): 1, ("math_mc", 1): 6}


def test_a_policy_shifts_counts_and_levels():
    weights = {"skill=binary,level=2": 0.75, "skill=math_mc,level=1": 0.25}
    counts = {(r.domain.skill, r.level): r.count for r in plan_requests([BINARY, CHOICE], 8, weights=weights)}
    assert counts == {("binary", 2): 6, ("math_mc", 1): 2}


def test_levels_narrow_a_run():
    counts = {(r.domain.skill, r.level): r.count for r in plan_requests([BINARY, CHOICE], 6, levels=[2])}
    assert counts == {("binary", 2): 6}


def test_a_run_with_nothing_to_generate_is_refused():
    with pytest.raises(UsageError, match="nothing to generate: no domain has these levels"):
        plan_requests([BINARY], 5, levels=[9])
    with pytest.raises(UsageError, match="nothing to generate: the policy gives no weight"):
        plan_requests([BINARY], 5, weights={"skill=other,level=1": 1.0})


def test_a_run_is_deterministic_distinct_and_of_the_asked_counts():
    requests = plan_requests([BINARY, CHOICE], 120)
    first = [dumps(record) for record in generate(requests, seed=7)]
    records = list(generate(requests, seed=7))
    assert [dumps(record) for record in records] == first
    assert len(problems(records)) == 120
    assert Counter(tag_of(record["metadata"]) for record in records) == {
        f"skill={r.domain.skill},level={r.level}": r.count for r in requests
    }


def test_the_splits_never_share_a_problem_whatever_the_seeds():
    requests = plan_requests([BINARY], 60)
    train = [record for seed in range(4) for record in generate(requests, seed=seed)]
    held_out = [
        record for seed in range(4) for record in generate(plan_requests([BINARY], 16), seed=seed, split="eval")
    ]
    assert problems(train).isdisjoint(problems(held_out))


def test_no_prompt_a_model_is_asked_stands_in_training_data_even_in_the_poorest_cell():
    domains = [Domain(name="p", skill="shell_processes", levels=(3,)), Domain(name="b", skill="binary", levels=(1,))]

    def prompts(records):
        return {convert(record, "chat")["messages"][0]["content"] for record in records}

    train = prompts(generate(plan_requests(domains, 1600), seed=0))
    asked = prompts(generate(plan_requests(domains, 120), seed=0, split="eval"))
    assert train.isdisjoint(asked)


def test_more_than_a_level_has_is_refused_at_once():
    requests = plan_requests([Domain(name="a", skill="binary", levels=(1,))], 10_000_000)
    with pytest.raises(UsageError, match="binary level 1 has about"):
        next(generate(requests, seed=0))


def test_a_level_without_problems_names_those_that_have_some():
    class Small:
        skill, levels = "graph_qa", (1, 2, 3)
        generator_id, generator_version = "small", "1"

        def capacity(self, level):
            return {1: 200, 2: 0, 3: 90}[level]

    requests = plan_requests([Domain(name="a", skill="graph_qa", levels=(2,))], 5)
    with pytest.raises(UsageError, match="graph_qa level 2 has about 0 distinct problems") as caught:
        check_capacity(requests, split="train", allow_duplicates=False, source=bound(Small()))
    assert caught.value.hint == "levels that have problems: 1 (about 163), 3 (about 69); choose with --level"


def test_an_unknown_level_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        check_capacity(
            plan_requests([Domain(name="a", skill="syllo", levels=(9,))], 1), split="train", allow_duplicates=False
        )
    assert caught.value.hint == "its levels: 1, 2, 3, 4, 5"


def test_a_cell_that_runs_dry_stops_instead_of_hanging(monkeypatch):
    generator = GENERATORS.get("binary")

    class Poor:
        skill, levels = "binary", (1,)
        generator_id, generator_version = generator.generator_id, generator.generator_version

        def capacity(self, level):
            return 1000

        def sample(self, seed, index, level):
            return generator.sample(0, 0, 1)

        def problem(self, record):
            return generator.problem(record)

    monkeypatch.setitem(GENERATORS._loaded, "binary", Poor())
    requests = plan_requests([Domain(name="a", skill="binary", levels=(1,))], 5)
    with pytest.raises(UsageError, match="ran out of distinct problems after"):
        list(generate(requests, seed=0))
    assert MAX_MISSES == 400


MIXED = [
    Request(domain=Domain(name=skill, skill=skill, levels=(level,)), level=level, count=count)
    for skill, level, count in (("binary", 1, 40), ("syllo", 4, 11), ("math_mc", 2, 30), ("shell_network", 1, 19))
]


def lines(**plan):
    num_workers = plan.pop("num_workers", 1)
    return [line.data for line in generate_lines(Plan(requests=MIXED, seed=5, **plan), num_workers=num_workers)]


def test_lines_are_the_records_and_carry_tag_and_mark():
    found = list(generate_lines(Plan(requests=MIXED, seed=5)))
    assert [line.data for line in found] == [dumps(record) for record in generate(MIXED, seed=5)]
    for line in found:
        metadata = orjson.loads(line.data)["metadata"]
        assert line.tag == tag_of(metadata)
        assert [line.mark] == metadata["lineage"]


@pytest.mark.parametrize("num_workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bytes(num_workers):
    assert lines(num_workers=num_workers) == lines()
    assert lines(num_workers=num_workers, split="eval") == lines(split="eval")


@pytest.mark.parametrize("num_shards", [1, 3, 110])
def test_the_shards_put_together_are_the_whole_run(num_shards):
    shards = [lines(shard=(number, num_shards)) for number in range(1, num_shards + 1)]
    assert [line for shard in shards for line in shard] == lines()
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_shard_of_workers_is_the_shard():
    assert lines(shard=(2, 3), num_workers=2) == lines(shard=(2, 3))


def test_how_much_is_checked_changes_no_byte():
    assert lines(check_every=1) == lines(check_every=0)


@pytest.mark.parametrize(
    ("skill", "level", "split"), [("binary", 1, "train"), ("binary", 1, "eval"), ("math_mc", 2, "eval")]
)
def test_all_that_a_level_is_said_to_have_can_be_had(skill, level, split):
    domain = Domain(name=skill, skill=skill, levels=(level,))
    count = split_capacity(GENERATORS.get(skill), level, split)
    records = list(generate([Request(domain=domain, level=level, count=count)], seed=1, split=split))
    assert len(problems(records)) == count
    with pytest.raises(
        UsageError, match=f"has about {count} distinct problems in split {split}, {count + 1} are asked"
    ):
        next(generate([Request(domain=domain, level=level, count=count + 1)], seed=1, split=split))


def test_duplicates_are_given_when_they_are_allowed():
    plan = Plan(
        requests=plan_requests([Domain(name="a", skill="binary", levels=(1,))], 6000), seed=0, allow_duplicates=True
    )
    assert sum(1 for _ in generate_lines(plan)) == 6000


def test_a_policy_is_followed_exactly_levels_included():
    domains = load_domains(shipped("domains.yaml"))
    prior = prior_weights(domains)
    tags = [tag for tag in prior if tag.startswith(("skill=binary", "skill=math_mc", "skill=sequence"))]
    weights = {tag: (place + 1) / sum(range(1, len(tags) + 1)) for place, tag in enumerate(tags)}
    num = 910
    seen = Counter(
        tag_of(record["metadata"]) for record in generate(plan_requests(domains, num, weights=weights), seed=2)
    )
    assert seen == allocate(weights, num)
    assert seen == {tag: 10 * (place + 1) for place, tag in enumerate(tags)}


def test_counts_of_any_policy_pass_a_chi_square_test_over_skills_and_levels():
    """Pearson's statistic against the policy's shares: counts are allocated, so that they stay far below chance."""
    domains = [domain for domain in load_domains(shipped("domains.yaml")) if domain.skill in ("binary", "math_mc")]
    tags = list(prior_weights(domains))
    for seed in range(20):
        draws = [random.Random(seed * 100 + place).expovariate(1.0) for place in range(len(tags))]
        weights = {tag: draw / sum(draws) for tag, draw in zip(tags, draws, strict=True)}
        num = 300
        plan = Plan(requests=plan_requests(domains, num, weights=weights), seed=seed)
        seen = Counter(line.tag for line in generate_lines(plan))
        statistic = sum((seen[tag] - num * weight) ** 2 / (num * weight) for tag, weight in weights.items())
        assert len(tags) == 10
        assert statistic < 27.88  # chi-square, 9 degrees of freedom, p = 0.001
        assert all(abs(seen[tag] - num * weight) < 1 for tag, weight in weights.items())


def test_every_skill_of_the_shipped_table_makes_valid_records_that_replay():
    domains = load_domains(shipped("domains.yaml"))
    registry = jsonschema_rs.Registry([(f"frontier:{name}", load_schema(name)) for name in schema_ids()])
    validators = {
        name: jsonschema_rs.validator_for(load_schema(name), registry=registry)
        for name in ("plan_v1", "chat_sft_v1", "syllo_v1")
    }
    records = list(generate(plan_requests(domains, 90), seed=3))
    assert {record["metadata"]["skill"] for record in records} == {domain.skill for domain in domains}
    for record in records:
        assert validators[guess_spec(record)].is_valid(record)
        assert dumps(replay(record["metadata"])) == dumps(record)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [({"seed": "7"}, "/metadata/seed"), ({"generator_version": "0.0.1"}, "/metadata/generator_version")],
)
def test_replay_refuses_what_it_can_not_reproduce(change, pointer):
    (record,) = generate(plan_requests([CHOICE], 1), seed=0)
    with pytest.raises(DataError) as caught:
        replay({**record["metadata"], **change})
    assert caught.value.pointer == pointer


def test_replay_of_a_teacher_s_record_says_what_gives_it_again():
    with pytest.raises(DataError, match="a teacher wrote this record") as caught:
        replay({"skill": "math_mc", "generator_id": "teach_x", "generator_version": "1", "teacher": {"model": "m"}})
    assert "--journal" in caught.value.hint


def test_replay_of_an_unknown_skill_names_the_nearest():
    (record,) = generate(plan_requests([CHOICE], 1), seed=0)
    with pytest.raises(ConfigError) as caught:
        replay({**record["metadata"], "skill": "math_mx"})
    assert caught.value.hint == "did you mean 'math_mc'?"
