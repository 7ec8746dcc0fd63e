"""Laws of all skills together: an oracle is always right, a mutant never, replay is exact, and levels get harder."""

import math
import re
from itertools import pairwise
from random import Random

import pytest

from frontier_core.domains import load_domains
from frontier_core.jsonl import dumps
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from frontier_core.resources import shipped
from generators.synth import generate, plan_requests, replay
from generators.table import GENERATORS
from tests.generators import pencil
from tests.generators.difficulty import entropy_bits, pencil_steps, plan_words
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


def answers(skill, level, num=1500):
    generator = GENERATORS.get(skill)
    return [undress(last_assistant(generator.sample(31, index, level))) for index in range(num)]


def test_the_next_term_gets_harder_to_guess_with_the_level():
    bits = [entropy_bits(answers("sequence_predict", level)) for level in (1, 2, 3)]
    assert bits == sorted(bits)
    assert bits[-1] > bits[0] + 1


@pytest.mark.parametrize("skill", ["binary", "math_mc"])
def test_a_question_of_arithmetic_takes_more_steps_on_paper_with_the_level(skill):
    generator = GENERATORS.get(skill)
    levels = [
        [pencil_steps(generator, generator.sample(31, n, level)) for n in range(600)] for level in generator.levels
    ]
    means = [sum(steps) / 600 for steps in levels]
    assert all(low < high for low, high in pairwise(means)), means
    assert means[-1] > 3 * means[0]


@pytest.mark.parametrize(
    ("question", "answer", "steps"),
    [
        ("What is 17 + 5?", "22", 2),  # 7+5 and 1+carry
        ("What is 5 + 95 + 7?", "107", 6),
        ("What is 21 - 30?", "-9", 5),  # two digits read in vain, the sign, two columns
        ("What is 12 * 9?", "108", 2),
        ("What is -7 - 5?", "-12", 3),
        ("What is 3 * 4 - 5 * 2?", "2", 7),
        ("What is (3 + 4) * 2?", "14", 2),
        ("Which is smallest, 30, 21 or 100?", "21", 3),
        ("Write 5 in binary.", "101", 11),
        ("True or false: 12 + 5 = 18", "false", 5),
    ],
)
def test_a_pencil_writes_digit_by_digit(question, answer, steps):
    assert pencil.solve(question) == (answer, steps)


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
    means = [sum(plan_words(generator.sample(31, index, level)) for index in range(150)) / 150 for level in (1, 2, 3)]
    assert means == sorted(means)
