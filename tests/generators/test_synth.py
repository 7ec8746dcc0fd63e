from collections import Counter

import jsonschema_rs
import pytest

from frontier_core.domains import Domain, load_domains
from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.records import tag_of
from frontier_core.resources import shipped
from frontier_core.schemas import guess_spec, load_schema, schema_ids
from generators.formats import convert
from generators.synth import MAX_MISSES, check_capacity, generate, plan_requests, replay
from generators.table import GENERATORS

BINARY = Domain(name="arithmetic", skill="binary", levels=(1, 2))
CHOICE = Domain(name="choice", skill="math_mc", levels=(1,), weight=2.0)


def problems(records):
    return {GENERATORS.get(record["metadata"]["skill"]).problem(record) for record in records}


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


def test_replay_of_an_unknown_skill_names_the_nearest():
    (record,) = generate(plan_requests([CHOICE], 1), seed=0)
    with pytest.raises(ConfigError) as caught:
        replay({**record["metadata"], "skill": "math_mx"})
    assert caught.value.hint == "did you mean 'math_mc'?"
