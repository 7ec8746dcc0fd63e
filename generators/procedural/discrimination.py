"""Is the proposed answer right? Six in ten are, the others hold a realistic slip; half of those are corrected.

Built over the problems of `binary`, `sequence_predict` and, from level 2 on, `math_mc`. A problem here is the quoted
question: whatever answer is proposed, it stays on the side of the held-out split where its own skill has it, so no
skill's exam leaks through another's lessons.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple

from frontier_core.records import Record
from generators.base import Generator
from generators.procedural import binary, math_mc, sequence_predict
from generators.procedural.chat_skill import ChatSkill, Problem, QuestionSkill
from generators.procedural.slips import slips_of_problem

RIGHT_SHARE = 0.6
CORRECTED_SHARE = 0.5
"""Of the wrong proposals."""


class Quoted(NamedTuple):
    """Where quoted problems come from, and how many distinct ones there are at least."""

    draw: Callable[[Random], Problem]
    num_problems: int


def _of(skill: QuestionSkill, level: int) -> Quoted:
    return Quoted(partial(skill.draw, level=level), skill.capacity(level))


def _stems(level: int) -> Quoted:
    return Quoted(math_mc.STEMS[level].draw, math_mc.STEMS[level].num_problems)


SOURCES = {
    1: (_of(binary.SKILL, 1), _of(sequence_predict.SKILL, 1)),
    2: (_of(binary.SKILL, 2), _of(binary.SKILL, 3), _of(sequence_predict.SKILL, 2), _stems(2)),
    3: (*(_of(binary.SKILL, level) for level in (4, 5, 6, 7)), _of(sequence_predict.SKILL, 3), _stems(3)),
}
"""Level -> the problems that are quoted, each source as often as the others."""

_OPENING = "Question: "


class Discrimination(ChatSkill):
    """Generator of the `discrimination` skill."""

    def __init__(self) -> None:
        super().__init__("discrimination", domain="judging", task_type="judge", levels=tuple(SOURCES), version="2.0.0")

    def capacity(self, level: int) -> int:
        """Gives a lower bound of how many distinct questions the level quotes, both splits together."""
        self.check_level(level)
        return sum(source.num_problems for source in SOURCES[level])

    def problem(self, record: Record) -> str:
        """Gives the quoted question, without the proposed answer."""
        return super().problem(record).split("\n", 1)[0].removeprefix(_OPENING)

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level): two turns, or four when a wrong proposal is corrected."""
        rng = self.random_at(seed, index, level)
        problem = rng.choice(SOURCES[level]).draw(rng)
        if rng.random() < RIGHT_SHARE:
            turns = [_claim(problem, problem.answer), "CORRECT"]
            return self.record(turns, scenario="right", seed=seed, index=index, level=level)
        turns = [_claim(problem, _slip(rng, problem)), "INCORRECT"]
        if rng.random() >= CORRECTED_SHARE:
            return self.record(turns, scenario="wrong", seed=seed, index=index, level=level)
        turns += ["What is the right answer?", problem.answer]
        return self.record(turns, scenario="wrong_corrected", seed=seed, index=index, level=level)


def _claim(problem: Problem, proposal: str) -> str:
    return f"{_OPENING}{problem.question}\nProposed answer: {proposal}\nIs it right? Reply CORRECT or INCORRECT."


def _slip(rng: Random, problem: Problem) -> str:
    return rng.choice(slips_of_problem(problem))


GENERATOR: Generator = Discrimination()
