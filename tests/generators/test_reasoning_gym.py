"""Tasks of the reasoning-gym library behind our adapter."""

import hashlib
import importlib.metadata
import os
import pickle
import subprocess
import sys
from random import Random

import pytest

from frontier_core.errors import EnvironmentMissing, FrontierError, UsageError
from frontier_core.jsonl import dumps
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from generators import reasoning_gym
from generators.reasoning_gym import CAPACITY, TASKS, GymSkill
from generators.table import GENERATORS
from tests.generators.mutants import mutants
from validators.schema_gate import SchemaGate
from validators.skills.reasoning_gym import verify
from validators.skills.table import GYM_TASKS

pytest.importorskip("reasoning_gym")


def test_the_list_of_tasks_is_that_of_the_tables():
    assert set(TASKS) == set(GYM_TASKS)
    assert all(GENERATORS.get(f"rg_{task}").skill == f"rg_{task}" for task in TASKS)
    with pytest.raises(AttributeError):
        _ = reasoning_gym.syllogism


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_right_and_mutants_of_them_refused(task):
    generator, gate = GymSkill(task), SchemaGate("chat_sft_v1")
    for level in generator.levels:
        for index in range(5):
            record = generator.sample(3, index, level)
            answer = undress(last_assistant(record))
            assert gate.check(record)[1] == ()
            assert verify(record, answer).ok
            wrong = mutants(answer, Random(index))
            assert not any(verify(record, next(wrong)).ok for _ in range(10))
    assert record["metadata"]["source_license"] == "Apache-2.0"
    assert record["metadata"]["generator_version"].startswith("1.0.0+reasoning_gym.")


@pytest.mark.parametrize("task", TASKS)
def test_neighbouring_seeds_share_next_to_nothing(task):
    generator = GymSkill(task)
    level = generator.levels[-1]
    questions = [{generator.problem(generator.sample(seed, index, level)) for index in range(60)} for seed in (42, 43)]
    assert len(questions[0] & questions[1]) <= 6


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_level_has_the_capacity_it_claims(task):
    generator = GymSkill(task)
    for level in generator.levels:
        seen, index = set(), 0
        while len(seen) < CAPACITY and index < 20 * CAPACITY:
            seen.add(generator.problem(generator.sample(1, index, level)))
            index += 1
        assert len(seen) == CAPACITY == generator.capacity(level)


_DIGEST = """
import hashlib
from frontier_core.jsonl import dumps
from generators.reasoning_gym import TASKS, GymSkill
digest = hashlib.sha256()
for task in TASKS:
    generator = GymSkill(task)
    for level in generator.levels:
        for index in range(6):
            digest.update(dumps(generator.sample(5, index, level)))
print(digest.hexdigest())
"""


def test_bytes_are_the_same_under_every_hash_seed_and_in_any_order():
    here = hashlib.sha256()
    for task in TASKS:
        generator = pickle.loads(pickle.dumps(GymSkill(task)))
        for level in generator.levels:
            records = {index: generator.sample(5, index, level) for index in reversed(range(6))}
            for index in range(6):
                here.update(dumps(records[index]))
    for hash_seed in ("0", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", _DIGEST], capture_output=True, text=True, check=True, env=env)
        assert done.stdout.strip() == here.hexdigest()


def test_what_the_library_prints_stays_off_the_standard_output(monkeypatch, capsys):
    generator = GymSkill("gcd")

    class Noisy:
        seed = 0

        def __getitem__(self, index):
            sys.stdout.write("junk")
            return {"question": f"of these numbers: {self.seed}, {self.seed}.", "answer": str(self.seed)}

    generator._datasets[1] = Noisy()
    generator.sample(1, 0, 1)
    assert capsys.readouterr().out == ""


def test_a_wrong_label_is_drawn_again():
    generator = GymSkill("gcd")

    class Liar:
        seed = 0
        calls = 0

        def __getitem__(self, index):
            self.calls += 1
            return {"question": "of these numbers: 12, 8.", "answer": "4" if self.calls == 3 else "5"}

    generator._datasets[1] = liar = Liar()
    assert undress(last_assistant(generator.sample(1, 0, 1))) == "4"
    assert liar.calls == 3
    with pytest.raises(FrontierError, match="no label of the library is confirmed"):
        generator.sample(1, 0, 1)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(EnvironmentMissing, match="reasoning-gym is not installed") as caught:
        GymSkill("gcd")
    assert caught.value.hint == "pip install 'frontier-data-engine[rg]'"
    assert caught.value.exit_code == 3


def test_an_unknown_level_is_a_usage_error():
    with pytest.raises(UsageError, match="rg_gcd has no level 5"):
        GymSkill("gcd").sample(1, 0, 5)
