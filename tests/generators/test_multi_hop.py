"""Multi-hop word problems: the same everywhere, as many steps as the level says, every family at every level."""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import jsonschema_rs
import pytest

from frontier_core.errors import UsageError
from frontier_core.jsonl import dumps
from frontier_core.profiles import undress, violation
from frontier_core.records import last_assistant
from frontier_core.schemas import guess_spec, load_schema
from generators.procedural.multi_hop import GENERATOR
from generators.procedural.multi_hop_families import FAMILIES, clock
from validators.skills.multi_hop import solve, verify

LEVELS = (1, 2, 3, 4, 5)


@cache
def records(level, seed=42, num=600):
    return [GENERATOR.sample(seed, index, level) for index in range(num)]


def prompt_of(record):
    return record["messages"][0]["content"]


@pytest.mark.parametrize("level", LEVELS)
def test_the_independent_verifier_accepts_every_answer(level):
    for record in records(level):
        verdict = verify(record, undress(last_assistant(record)).strip())
        assert verdict.ok, (verdict.message, record)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_the_independent_verifier_accepts_ten_thousand_answers(level):
    for index in range(10_000):
        record = GENERATOR.sample(2024, index, level)
        assert verify(record, undress(last_assistant(record)).strip()).ok


@pytest.mark.parametrize("level", LEVELS)
def test_level_n_takes_n_plus_1_steps(level):
    assert {solve(prompt_of(record)).num_steps for record in records(level)} == {level + 1}


def test_seventeen_families_appear_at_every_level():
    assert len(FAMILIES) == 17
    for level in LEVELS:
        counts = Counter(record["metadata"]["scenario"] for record in records(level))
        assert set(counts) == {family.name for family in FAMILIES}
        assert min(counts.values()) >= 10


def test_prompts_grow_with_the_level():
    lengths = [sum(len(prompt_of(record)) for record in records(level)) for level in LEVELS]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_has_more_than_five_thousand_problems(level):
    assert GENERATOR.capacity(level) >= 5_000
    assert len({GENERATOR.problem(record) for record in records(level)}) == 600


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family_has_hundreds_of_problems(family):
    assert family.num_problems >= 700


@pytest.mark.parametrize("level", LEVELS)
def test_half_of_the_answers_show_their_steps_and_the_prompt_asks_for_them(level):
    num_shown = 0
    for record in records(level):
        answer = undress(last_assistant(record)).strip()
        asks = prompt_of(record).endswith("then end with the line ANSWER: <answer>")
        assert asks == ("\n" in answer)
        assert answer.split("\n")[-1].startswith("ANSWER: ")
        num_shown += asks
    assert 240 <= num_shown <= 360


@pytest.mark.parametrize("level", LEVELS)
def test_the_answer_is_never_the_only_candidate_in_the_prompt(level):
    for record in records(level):
        if record["metadata"]["scenario"] in ("people", "ranking", "containers", "tables"):
            assert prompt_of(record).count("\n") + prompt_of(record).count(". ") >= level + 2


@pytest.mark.parametrize("level", LEVELS)
def test_records_keep_schema_and_profile(level):
    schema = jsonschema_rs.validator_for(
        load_schema("chat_sft_v1"), retriever=lambda uri: load_schema(uri.removeprefix("frontier:"))
    )
    for record in records(level):
        assert guess_spec(record) == "chat_sft_v1"
        assert schema.is_valid(record)
        assert violation(record["messages"][1]["content"], "emoji_think") is None


_DIGEST = """
import hashlib
from frontier_core.jsonl import dumps
from generators.procedural.multi_hop import GENERATOR
digest = hashlib.sha256()
for level in GENERATOR.levels:
    for index in range(100):
        digest.update(dumps(GENERATOR.sample(5, index, level)))
print(digest.hexdigest())
"""


def test_bytes_are_the_same_in_every_process_and_under_every_hash_seed():
    here = hashlib.sha256()
    for level in LEVELS:
        for record in records(level, seed=5, num=100):
            here.update(dumps(record))
    for hash_seed in ("0", "1", "4711"):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stdout.strip() == here.hexdigest()


@pytest.mark.parametrize("level", LEVELS)
def test_two_seeds_share_no_problem(level):
    problems = [{GENERATOR.problem(record) for record in records(level, seed=seed)} for seed in (42, 43)]
    assert problems[0] & problems[1] == set()


def test_no_prompt_stands_in_two_levels():
    assert len({prompt_of(record) for level in LEVELS for record in records(level)}) == 600 * len(LEVELS)


@pytest.mark.parametrize("level", LEVELS)
def test_one_thing_is_no_plural(level):
    assert not [record for record in records(level) if re.search(r"\bgives [A-Z][a-z]+ 1 [a-z]+s\b", prompt_of(record))]


def test_times_of_day_are_written_with_two_digits():
    assert (clock(495), clock(725)) == ("08:15", "12:05")


def test_an_unknown_level_is_a_usage_error():
    with pytest.raises(UsageError, match="multi_hop has no level 6"):
        GENERATOR.sample(1, 0, 6)
