"""The `multi_hop` skill: word problems of 2 to 6 steps over facts in random order, some of them beside the point.

Level n takes n + 1 steps, by the verifier's count. Half of the prompts ask for the steps before the answer line, and
the answer shows them. The families of problems are multi_hop_families.py. What prompts say is written down once more in
validators/skills/multi_hop*.py: a verifier that shared these words would not notice when they change.
"""

from __future__ import annotations

from functools import partial
from random import Random

from generators.base import Generator
from generators.procedural.chat_skill import Mix, QuestionSkill, Scenario
from generators.procedural.multi_hop_families import FAMILIES, Cast, Family, Puzzle

VERSION = "1.0.1"
LEVELS = (1, 2, 3, 4, 5)
BRIEF = "Reply with one line: ANSWER: <answer>"
STEPWISE = "Write one step a line, then end with the line ANSWER: <answer>"


def _draw(rng: Random, family: Family, level: int) -> tuple[str, str]:
    cast = Cast(rng)
    puzzle = family.draw(rng, cast, level + 1, rng.randint(1, 1 + level))
    sentences = [*puzzle.facts, *puzzle.extras]
    if rng.random() < 0.5:
        other = rng.choice([each for each in FAMILIES if each.name != family.name])
        sentences += other.draw(rng, cast, rng.randint(2, 3), 1).facts
    rng.shuffle(sentences)
    shows_steps = rng.random() < 0.5
    prompt = _prompt(rng, sentences, puzzle, STEPWISE if shows_steps else BRIEF)
    return prompt, "\n".join([*(puzzle.steps if shows_steps else ()), f"ANSWER: {puzzle.answer}"])


def _prompt(rng: Random, sentences: list[str], puzzle: Puzzle, form: str) -> str:
    """Facts as one paragraph or as lines, tables as blocks of lines behind them."""
    text = (" " if rng.random() < 0.5 else "\n").join(sentences)
    blocks = rng.sample(puzzle.tables, len(puzzle.tables))
    return "\n".join(part for part in (text, *blocks, puzzle.question, form) if part)


def _mix(level: int) -> Mix:
    return Mix(
        [
            Scenario(name=f.name, draw=partial(_draw, family=f, level=level), num_problems=f.num_problems)
            for f in FAMILIES
        ]
    )


GENERATOR: Generator = QuestionSkill(
    "multi_hop",
    domain="multi_hop",
    task_type="reason",
    mixes={level: _mix(level) for level in LEVELS},
    version=VERSION,
)
