"""Laws of all skills together: an oracle is always right, a mutant never, replay is exact, and levels get harder."""

import math
import re
from collections import Counter
from random import Random

import pytest

from frontier_core.domains import load_domains
from frontier_core.jsonl import dumps
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from frontier_core.resources import shipped
from generators.synth import generate, plan_requests, replay
from generators.table import GENERATORS
from tests.generators.mutants import mutants
from validators.skills.table import VERIFIERS

CHAT = ("syllo", "binary", "discrimination", "math_mc", "sequence_predict")
SHELL = ("file_system", "text_processing", "archives", "git", "system_info", "network", "processes", "scheduling")


@pytest.mark.parametrize("skill", CHAT)
def test_an_oracle_is_always_right_and_a_thousand_mutants_never(skill):
    generator, verify = GENERATORS.get(skill), VERIFIERS.get(skill)
    per_level = 1000 // len(generator.levels) // 20 + 1
    num_mutants = 0
    for level in generator.levels:
        for index in range(20):
            record = generator.sample(77, index, level)
            answer = undress(last_assistant(record))
            assert verify(record, answer).ok
            wrong = mutants(answer, Random(index))
            for _ in range(per_level):
                mutant = next(wrong)
                assert not verify(record, mutant).ok, (answer, mutant)
                num_mutants += 1
    assert num_mutants >= 1000


def test_a_thousand_records_replay_byte_for_byte():
    domains = [d for d in load_domains(shipped("domains.yaml")) if d.skill in CHAT or d.skill.startswith("shell_")]
    num = 0
    for record in generate(plan_requests(domains, 1000), seed=99):
        assert dumps(replay(record["metadata"])) == dumps(record)
        num += 1
    assert num == 1000


def entropy_bits(values):
    """Entropy of a sample in bits."""
    counts = Counter(values)
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def answers(skill, level, num=1500):
    generator = GENERATORS.get(skill)
    return [undress(last_assistant(generator.sample(31, index, level))) for index in range(num)]


def test_the_next_term_gets_harder_to_guess_with_the_level():
    bits = [entropy_bits(answers("sequence_predict", level)) for level in (1, 2, 3)]
    assert bits == sorted(bits)
    assert bits[-1] > bits[0] + 1


def test_there_are_more_digits_to_reckon_with_in_each_level_of_binary():
    generator = GENERATORS.get("binary")

    def digits(level):
        records = (generator.sample(31, index, level) for index in range(1500))
        plain = (r for r in records if r["metadata"]["scenario"] in ("add", "subtract", "multiply", "compare"))
        counts = [len(re.findall("[0-9]", generator.problem(record))) for record in plain]
        return sum(counts) / len(counts)

    counts = [digits(level) for level in generator.levels]
    assert counts == sorted(counts)
    assert counts[-1] > 3 * counts[0]


STEPS = {
    "sum": 1, "difference": 1, "product": 1, "extreme": 3, "order": 2, "missing": 1, "remainder": 2, "percent": 2,
    "fraction": 2, "average": 3, "negative": 2, "equation": 2, "two_products": 3,
}  # fmt: skip
"""Operations, comparisons and changes of sign that a kind of multiple-choice question takes."""


def test_a_multiple_choice_question_takes_more_steps_with_the_level():
    generator = GENERATORS.get("math_mc")
    scenarios = [[generator.sample(31, n, level)["metadata"]["scenario"] for n in range(600)] for level in (1, 2, 3)]
    means = [sum(STEPS[scenario] for scenario in drawn) / 600 for drawn in scenarios]
    assert means == sorted(means)


def test_the_largest_number_of_a_quoted_question_grows_with_the_level():
    generator = GENERATORS.get("discrimination")

    def bits(level):
        questions = (generator.problem(generator.sample(31, index, level)) for index in range(800))
        return sum(max(map(int, re.findall("[0-9]+", question))).bit_length() for question in questions) / 800

    means = [bits(level) for level in generator.levels]
    assert means == sorted(means)


def test_a_syllo_solver_has_more_to_try_with_the_level():
    generator = GENERATORS.get("syllo")

    def bits(level):
        prompts = [generator.sample(31, index, level)["messages"][0]["content"] for index in range(60)]
        slots, tiles = sum(p.count("___") for p in prompts) / 60, sum(p.count(" | ") + 1 for p in prompts) / 60
        return (math.lgamma(tiles + 1) - math.lgamma(tiles - slots + 1)) / math.log(2)  # tiles into slots, in order

    steps = [bits(level) for level in generator.levels]
    assert steps == sorted(steps)
    assert steps[-1] > 3 * steps[0]


@pytest.mark.parametrize("domain", SHELL)
def test_a_shell_task_takes_more_with_the_level(domain):
    generator = GENERATORS.get(f"shell_{domain}")

    def steps(record):
        """Words of the plan, and twice the commits of a history that it must take into account."""
        words = sum(len(re.findall(r"[\w./-]+", step["command"])) for step in record["output"])
        return words + 2 * record["fixture"].get("setup", "").count("git commit")

    means = [sum(steps(generator.sample(31, index, level)) for index in range(150)) / 150 for level in (1, 2, 3)]
    assert means == sorted(means)
