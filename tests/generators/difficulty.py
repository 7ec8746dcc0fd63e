"""How hard the levels of a skill are: one set of measures, for the suite and for benchmarks/laws.py.

What a record takes to solve is counted in the unit of its skill: steps with pencil and paper for arithmetic, words of a
shell plan, turns of a tool trace, else the lines of Python that the skill's own solver runs through. Where a solver is
one call of a library, the entropy of the answers or the bits of question and answer say more.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import log2
from types import FrameType
from typing import Any
from zlib import compress

from frontier_core.jsonl import dumps
from frontier_core.profiles import undress
from frontier_core.records import Record, last_assistant
from generators.base import Generator
from tests.generators import pencil
from validators.skills.table import VERIFIERS


def entropy_bits(values: Iterable[Any]) -> float:
    """Gives the entropy of a sample, in bits."""
    counts = Counter(values)
    total = counts.total()
    return -sum(count / total * log2(count / total) for count in counts.values())


def pencil_steps(generator: Generator, record: Record) -> int:
    """Gives the steps that a question of `binary` or `math_mc` takes on paper; they must lead to its answer."""
    problem, answer = generator.problem(record), undress(last_assistant(record))
    if generator.skill == "math_mc":
        options = dict(line.split(") ") for line in record["messages"][0]["content"].split("\n")[1:5])
        answer = options[answer]
    solution, steps = pencil.solve(problem)
    assert solution == answer, (problem, answer, solution)
    return steps


def solver_lines(generator: Generator, record: Record) -> int:
    """Gives how many lines of Python the skill's verifier runs through to find the answer to a record."""
    verify = VERIFIERS.get(generator.skill)
    answer = undress(last_assistant(record))
    verify(record, answer)  # tables are loaded once
    num_lines = 0

    def count(_frame: FrameType, event: str, _: Any) -> Any:
        nonlocal num_lines
        num_lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        verify(record, answer)
    finally:
        sys.settrace(before)
    return num_lines


def plan_words(record: Record) -> int:
    """Gives the words of a shell plan, and twice the commits of a history that it must take into account."""
    words = sum(len(re.findall(r"[\w./-]+", step["command"])) for step in record["output"])
    return words + 2 * int(record["fixture"].get("setup", "").count("git commit"))


def steps_of(generator: Generator, record: Record) -> int:
    """Gives what it takes to solve a record, in the unit of its skill."""
    if generator.skill in ("binary", "math_mc"):
        return pencil_steps(generator, record)
    if generator.skill.startswith("shell_"):
        return plan_words(record)
    if generator.skill == "tool_use":
        return sum(turn["role"] == "assistant" for turn in record["messages"])
    return solver_lines(generator, record)


def difficulty(generator: Generator, num: int) -> dict[str, list[float]]:
    """Gives the measures of difficulty, a mean for each level, over `num` records of each; lines over a fifth."""
    is_shell = generator.skill.startswith("shell_")
    is_cheap = is_shell or generator.skill in ("binary", "math_mc", "tool_use")
    found: dict[str, list[float]] = {"solver_steps": [], "answer_entropy_bits": [], "problem_bits": []}
    for level in generator.levels:
        records = [generator.sample(31, index, level) for index in range(num)]
        few = records[: max(num // 5, 20)]
        steps = [steps_of(generator, record) for record in (records if is_cheap else few)]
        found["solver_steps"].append(round(sum(steps) / len(steps), 2))
        answers = [dumps(record["output"]) if is_shell else last_assistant(record) for record in records]
        found["answer_entropy_bits"].append(round(entropy_bits(answers), 3))
        texts = [f"{generator.problem(record)} {list(record.values())[:2]}".encode() for record in few]
        found["problem_bits"].append(round(sum(8 * len(compress(text)) for text in texts) / len(texts), 1))
    return found


def grows_by(measures: dict[str, list[float]]) -> str:
    """Gives the first measure that grows with every level, "" when none does."""
    for name, means in measures.items():
        if all(low < high for low, high in pairwise(means)):
            return name
    return ""
