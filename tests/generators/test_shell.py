"""The shell domains: records are well formed, reproducible and plentiful; their plans do what their records demand."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from importlib import import_module
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.domains import load_domains
from frontier_core.errors import UsageError
from generators.procedural.shell import base, text_processing
from generators.procedural.shell.base import ShellGenerator, changed_files, tools_of
from validators.execution_gate import judge_plan
from validators.plan_lint import lint
from validators.plans import plan_commands
from validators.schema_gate import SchemaGate

DOMAINS = (
    "file_system",
    "text_processing",
    "archives",
    "git",
    "system_info",
    "network",
    "processes",
    "scheduling",
)
NOT_ON_A_MINIMAL_SYSTEM = re.compile(
    r"(?<![\w./-])(?:ps|pgrep|pkill|killall|curl|wget|jq|zip|unzip|nc|ip|ss|python3?|perl)\s"
)

DIGEST = """
import hashlib, orjson
from importlib import import_module
digest = hashlib.sha256()
for domain in {domains!r}:
    generator = import_module(f"generators.procedural.shell.{{domain}}").GENERATOR
    for level in generator.levels:
        for index in range(12):
            digest.update(orjson.dumps(generator.sample(7, index, level)))
print(digest.hexdigest())
"""


def generator_of(domain: str) -> ShellGenerator:
    generator = import_module(f"generators.procedural.shell.{domain}").GENERATOR
    assert isinstance(generator, ShellGenerator)
    return generator


@pytest.fixture(params=DOMAINS)
def generator(request):
    return generator_of(request.param)


def test_domains_file_names_every_generator_and_its_levels():
    listed = {domain.name: domain for domain in load_domains() if domain.skill.startswith("shell_")}
    assert sorted(listed) == sorted(DOMAINS)
    for domain in DOMAINS:
        assert generator_of(domain).skill == listed[domain].skill
        assert generator_of(domain).levels == listed[domain].levels


def test_domain_has_at_least_eight_kinds_of_task_under_different_names(generator):
    names = [template.__name__ for level in generator.levels for template in generator.templates[level]]
    assert len(set(names)) == len(names) >= 8
    assert all(len(generator.templates[level]) >= 3 for level in generator.levels)


def test_text_of_no_plan_is_refused(generator):
    for level in generator.levels:
        for index in range(60):
            findings = lint(plan_commands(generator.sample(7, index, level)))
            assert [finding for finding in findings if finding.severity == "error"] == []


def test_records_fulfil_plan_v1_and_carry_complete_metadata(generator):
    gate = SchemaGate("plan_v1")
    for level in generator.levels:
        for index in range(60):
            record = generator.sample(3, index, level)
            spec, findings = gate.check(record)
            assert (spec, findings) == ("plan_v1", ())
            metadata = record["metadata"]
            assert list(metadata) == [
                "skill", "domain", "level", "task_type", "scenario", "source", "tool_set", "safety_tags",
                "source_license", "generator_id", "generator_version", "seed", "index",
            ]  # fmt: skip
            assert metadata["skill"] == metadata["generator_id"] == f"shell_{metadata['domain']}" == generator.skill
            assert (metadata["seed"], metadata["index"], metadata["level"]) == (3, index, level)
            assert (metadata["task_type"], metadata["source"]) == ("shell", "procedural")


def test_every_record_demands_an_end_state(generator):
    demands = {"files", "stdout", "checks", "processes"}
    for level in generator.levels:
        for index in range(60):
            record = generator.sample(3, index, level)
            assert demands & record["expect"].keys(), record["metadata"]["scenario"]
            assert "allow_other_changes" not in record["expect"]


def test_plans_are_short_and_use_tools_of_a_minimal_system_only(generator):
    for level in generator.levels:
        for index in range(100):
            record = generator.sample(4, index, level)
            commands = [step["command"] for step in record["output"]]
            assert 1 <= len(commands) <= 4
            assert sum(map(len, commands)) <= 250
            assert 4 <= len(record["instruction"].split()) <= 30, record["instruction"]
            assert not NOT_ON_A_MINIMAL_SYSTEM.search("\n".join(commands)), commands
            assert "git" not in record["metadata"]["tool_set"] or generator.domain == "git"


def test_same_place_gives_the_same_bytes_under_every_hash_seed():
    code = DIGEST.format(domains=DOMAINS)
    digests = set()
    for hash_seed in ("0", "1", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        digests.add(run.stdout.strip())
    here = hashlib.sha256()
    for domain in DOMAINS:
        for level in (1, 2, 3):
            for index in range(12):
                here.update(orjson.dumps(generator_of(domain).sample(7, index, level)))
    assert digests == {here.hexdigest()}


def test_neighbouring_seeds_share_no_task(generator):
    def tasks(seed, level):
        records = [generator.sample(seed, index, level) for index in range(150)]
        return {orjson.dumps([record["instruction"], record["fixture"], record["output"]]) for record in records}

    for level in generator.levels:
        assert len(tasks(42, level) & tasks(43, level)) <= 2  # some tasks need no files: a name may come twice


def test_level_gives_five_hundred_distinct_problems_in_few_more_draws(generator):
    for level in generator.levels:
        problems = {generator.problem(generator.sample(1, index, level)) for index in range(720)}
        assert len(problems) >= 500


def test_most_instructions_differ_even_without_their_worlds(generator):
    for level in generator.levels:
        instructions = {generator.sample(1, index, level)["instruction"] for index in range(400)}
        assert len(instructions) >= 320


@pytest.mark.slow
def test_level_reaches_its_declared_capacity(generator):
    for level in generator.levels:
        wanted = generator.capacity(level)
        problems = {generator.problem(generator.sample(2, index, level)) for index in range(wanted + wanted // 2)}
        assert len(problems) >= wanted


def test_unknown_level_is_a_usage_error(generator):
    with pytest.raises(UsageError, match="has no level 4"):
        generator.sample(1, 0, 4)
    with pytest.raises(UsageError, match="has no level 0"):
        generator.capacity(0)


def test_the_problem_is_what_a_model_sees_not_the_world_it_does_not(generator):
    record = generator.sample(1, 0, 1)
    assert generator.problem({**record, "output": [{"command": "true"}]}) == generator.problem(record)
    assert generator.problem({**record, "fixture": {"env": {"A": "b"}}}) == generator.problem(record)


def test_changed_files_lists_what_moved_what_is_new_and_what_is_gone():
    before = {"a/x.txt": "x\n", "a/y.txt": "y\n", "b/z.txt": "z\n"}
    after = {"a/y.txt": "new\n", "b/z.txt": "z\n", "c/d/x.txt": "x\n"}
    assert changed_files(before, after) == {
        "a/x.txt": {"absent": True},
        "c": {"dir": True},
        "c/d": {"dir": True},
        "a/y.txt": {"text": "new\n"},
        "c/d/x.txt": {"text": "x\n"},
    }


def test_changed_files_keeps_folders_that_lost_their_files_unless_told():
    assert changed_files({"a/x.txt": "x"}, {}) == {"a/x.txt": {"absent": True}}
    assert changed_files({"a/x.txt": "x"}, {}, gone=["a"]) == {"a/x.txt": {"absent": True}, "a": {"absent": True}}
    assert changed_files({}, {}, dirs=["a"], made=["a", "a/b"]) == {"a/b": {"dir": True}}


TREES = st.dictionaries(st.sampled_from(["a/x", "a/y", "a/b/z", "c/x", "w"]), st.sampled_from(["1\n", "2\n", "3\n"]))


@given(before=TREES, after=TREES)
def test_applying_the_changed_files_to_the_world_before_gives_the_world_after(before, after):
    world = dict(before)
    for path, wanted in changed_files(before, after).items():
        if wanted.get("absent"):
            del world[path]
        elif "text" in wanted:
            assert world.get(path) != wanted["text"]
            world[path] = wanted["text"]
    assert world == after


def test_tools_of_a_plan_are_those_beyond_bash_and_coreutils():
    assert tools_of(["sort a.txt | uniq -c > b.txt"]) == ()
    assert tools_of(["find . -name '*.log' -exec gzip {} +"]) == ("find", "gzip")
    assert tools_of(["tar -xzf a.tar.gz -C b", "cat tar/find.txt"]) == ("gzip", "tar")


def test_stems_are_distinct_and_none_begins_another():
    for seed in range(200):
        names = base.stems(Random(seed), 6)
        assert not any(one != other and other.startswith(one) for one in names for other in names)


def test_column_total_is_that_of_the_csv_rows():
    made = text_processing.totals_by_group(Random(5))
    (source,) = made.fixture["files"].values()
    totals = {}
    for row in source["text"].splitlines()[1:]:
        city, _, amount = row.split(",")
        totals[city] = totals.get(city, 0) + int(amount)
    (result,) = made.expect["files"].values()
    assert result["text"].splitlines() == [f"{city},{total}" for city, total in sorted(totals.items())]


@pytest.mark.parametrize("domain", DOMAINS)
def test_plans_reach_the_state_that_was_computed_apart_from_them(domain, sandbox):
    generator = generator_of(domain)
    for level in generator.levels:
        for index in range(2):
            record = generator.sample(11, index, level)
            verdict = judge_plan(record, sandbox)
            assert verdict.ok, (record["metadata"]["scenario"], verdict.code, verdict.message)


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_every_kind_of_task_reaches_its_state(domain, sandbox):
    generator = generator_of(domain)
    todo = {template.__name__ for level in generator.levels for template in generator.templates[level]}
    for level in generator.levels:
        for index in range(40):
            record = generator.sample(17, index, level)
            if record["metadata"]["scenario"] in todo:
                todo.discard(record["metadata"]["scenario"])
                verdict = judge_plan(record, sandbox)
                assert verdict.ok, (record["metadata"]["scenario"], verdict.code, verdict.message)
    assert not todo
