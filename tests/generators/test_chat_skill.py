"""Laws every chat skill keeps: replay, splits, capacity, schema, and agreement with the independent verifier."""

import hashlib
import subprocess
import sys
from functools import cache

import jsonschema_rs
import pytest

from frontier_core.errors import UsageError
from frontier_core.jsonl import dumps
from frontier_core.profiles import EMOJI_PREFIX, undress, violation
from frontier_core.records import last_assistant
from frontier_core.schemas import guess_spec, load_schema
from generators.procedural.chat_skill import Mix, Scenario
from generators.table import GENERATORS
from validators.skills.table import VERIFIERS

LEVELS = {
    "syllo": (1, 2, 3, 4, 5),
    "binary": (1, 2, 3, 4, 5, 6, 7),
    "discrimination": (1, 2, 3),
    "math_mc": (1, 2, 3),
    "sequence_predict": (1, 2, 3),
}
CELLS = [(skill, level) for skill, levels in LEVELS.items() for level in levels]


@cache
def records(skill, level, seed=42, num=300):
    generator = GENERATORS.get(skill)
    return [generator.sample(seed, index, level) for index in range(num)]


@cache
def schema_of(spec):
    return jsonschema_rs.validator_for(
        load_schema(spec), retriever=lambda uri: load_schema(uri.removeprefix("frontier:"))
    )


@pytest.mark.parametrize("skill", LEVELS)
def test_levels_are_those_of_the_contract(skill):
    assert GENERATORS.get(skill).levels == LEVELS[skill]


@pytest.mark.parametrize(("skill", "level"), CELLS)
def test_the_independent_verifier_accepts_every_answer(skill, level):
    verify = VERIFIERS.get(skill)
    refused = [r for r in records(skill, level) if not verify(r, undress(last_assistant(r))).ok]
    assert refused == []


@pytest.mark.slow
@pytest.mark.parametrize(("skill", "level"), CELLS)
def test_the_independent_verifier_accepts_ten_thousand_answers(skill, level):
    generator, verify = GENERATORS.get(skill), VERIFIERS.get(skill)
    num = 1_000 if skill == "syllo" else 10_000
    for index in range(num):
        record = generator.sample(2024, index, level)
        verdict = verify(record, undress(last_assistant(record)))
        assert verdict.ok, (verdict.message, record)


@pytest.mark.parametrize(("skill", "level"), CELLS)
def test_records_keep_their_schema_and_the_emoji_profile(skill, level):
    spec = "syllo_v1" if skill == "syllo" else "chat_sft_v1"
    for record in records(skill, level):
        assert guess_spec(record) == spec
        assert schema_of(spec).is_valid(record)
        for turn in record["messages"]:
            assert turn["role"] == "user" or violation(turn["content"], "emoji_think") is None


def test_metadata_says_how_to_make_the_record_again():
    record = GENERATORS.get("binary").sample(7, 3, 2)
    assert record["metadata"] == {
        "skill": "binary",
        "domain": "arithmetic",
        "level": 2,
        "task_type": "calculate",
        "scenario": record["metadata"]["scenario"],
        "source": "procedural",
        "source_license": "CC0-1.0",
        "generator_id": "binary",
        "generator_version": "2.0.0",
        "seed": 7,
        "index": 3,
    }
    assert record["metadata"]["scenario"] in (
        "add", "subtract", "multiply", "compare", "to_binary", "from_binary", "increment",
    )  # fmt: skip


@pytest.mark.parametrize("skill", LEVELS)
def test_a_record_depends_on_nothing_but_seed_index_and_level(skill):
    generator = GENERATORS.get(skill)
    forward = [generator.sample(9, index, 1) for index in range(20)]
    backward = [generator.sample(9, index, 1) for index in reversed(range(20))]
    assert [dumps(r) for r in forward] == [dumps(r) for r in reversed(backward)]


_DIGEST = """
import hashlib
from frontier_core.jsonl import dumps
from generators.table import GENERATORS
digest = hashlib.sha256()
for skill in ("syllo", "binary", "discrimination", "math_mc", "sequence_predict"):
    generator = GENERATORS.get(skill)
    for level in generator.levels:
        for index in range(30):
            digest.update(dumps(generator.sample(5, index, level)))
print(digest.hexdigest())
"""


def test_bytes_are_the_same_in_every_process_and_under_every_hash_seed():
    here = hashlib.sha256()
    for skill, level in CELLS:
        for record in records(skill, level, seed=5, num=30):
            here.update(dumps(record))
    paths = ":".join(sys.path)
    for hash_seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths},
        )  # fmt: skip
        assert done.stdout.strip() == here.hexdigest()


@pytest.mark.parametrize(("skill", "level"), CELLS)
def test_neighboring_seeds_share_no_more_problems_than_distant_ones(skill, level):
    generator = GENERATORS.get(skill)
    problems = {seed: [generator.problem(r) for r in records(skill, level, seed=seed)] for seed in (42, 43, 900_042)}
    near = len(set(problems[42]) & set(problems[43]))
    far = len(set(problems[42]) & set(problems[900_042]))
    # The difference of two counts near 300*p has a standard deviation of at most about 15 here.
    assert near <= far + 45
    shifted = sum(a == b for a, b in zip(problems[42][1:], problems[43], strict=False))
    assert shifted <= 15


@pytest.mark.parametrize(("skill", "level"), [("binary", 1), ("sequence_predict", 1), ("discrimination", 1)])
def test_small_levels_have_the_capacity_they_claim(skill, level):
    generator = GENERATORS.get(skill)
    capacity = generator.capacity(level)
    seen = set()
    for index in range(60 * capacity):
        seen.add(generator.problem(generator.sample(1, index, level)))
        if len(seen) >= 0.97 * capacity:
            break
    assert len(seen) >= 0.97 * capacity


@pytest.mark.parametrize(("skill", "level"), CELLS)
def test_every_level_has_hundreds_of_problems(skill, level):
    assert GENERATORS.get(skill).capacity(level) >= 400


@pytest.mark.parametrize("skill", LEVELS)
def test_no_prompt_stands_in_two_levels(skill):
    prompts = [{r["messages"][0]["content"] for r in records(skill, level)} for level in LEVELS[skill]]
    assert len(set().union(*prompts)) == sum(map(len, prompts))


@pytest.mark.parametrize("skill", LEVELS)
def test_an_unknown_level_is_a_usage_error_naming_the_levels(skill):
    generator = GENERATORS.get(skill)
    for call in (lambda: generator.sample(1, 0, 9), lambda: generator.capacity(0)):
        with pytest.raises(UsageError) as error:
            call()
        assert f"{skill} has no level" in error.value.message
        assert "1, 2, 3" in error.value.hint


def test_an_answer_is_dressed_once():
    content = GENERATORS.get("binary").sample(1, 0, 1)["messages"][1]["content"]
    assert content.startswith(EMOJI_PREFIX)
    assert content.removeprefix(EMOJI_PREFIX).isdigit()


def test_a_mix_draws_scenarios_by_weight():
    from random import Random

    rare = Scenario(name="rare", draw=lambda rng: ("q", "a"), num_problems=1, weight=1)
    common = Scenario(name="common", draw=lambda rng: ("q", "a"), num_problems=5, weight=9)
    mix, rng = Mix([rare, common]), Random(1)
    drawn = [mix.draw(rng).scenario for _ in range(2000)]
    assert 150 <= drawn.count("rare") <= 250
    assert mix.num_problems == 6
