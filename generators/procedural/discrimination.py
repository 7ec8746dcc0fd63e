"""Is the proposed answer right? Half of the proposals are, half hold a realistic slip; half of those are corrected.

Built over the problems of `binary` and `sequence_predict`. A problem here is the quoted question: whatever answer is
proposed, it stays on the side of the held-out split where its own skill has it, so no skill's exam leaks through
another's lessons.
"""

from __future__ import annotations

from random import Random

from frontier_core.records import Record
from generators.base import Generator
from generators.procedural import binary, sequence_predict
from generators.procedural.chat_skill import ChatSkill, Problem, QuestionSkill
from generators.procedural.slips import slips_of_problem

SOURCES: dict[int, tuple[tuple[QuestionSkill, int], ...]] = {
    1: ((binary.SKILL, 1), (sequence_predict.SKILL, 1)),
    2: ((binary.SKILL, 2), (binary.SKILL, 3), (sequence_predict.SKILL, 2)),
    3: (
        (binary.SKILL, 4),
        (binary.SKILL, 5),
        (binary.SKILL, 6),
        (binary.SKILL, 7),
        (sequence_predict.SKILL, 3),
    ),
}
"""Level -> the skills and levels whose problems are quoted."""

_OPENING = "Question: "


class Discrimination(ChatSkill):
    """Generator of the `discrimination` skill."""

    def __init__(self) -> None:
        super().__init__("discrimination", domain="judging", task_type="judge", levels=tuple(SOURCES))

    def capacity(self, level: int) -> int:
        """Gives a lower bound of how many distinct questions the level quotes, both splits together."""
        self.check_level(level)
        return sum(skill.capacity(source_level) for skill, source_level in SOURCES[level])

    def problem(self, record: Record) -> str:
        """Gives the quoted question, without the proposed answer."""
        return super().problem(record).split("\n", 1)[0].removeprefix(_OPENING)

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level): two turns, or four when a wrong proposal is corrected."""
        rng = self.random_at(seed, index, level)
        skill, source_level = rng.choice(SOURCES[level])
        problem = skill.draw(rng, source_level)
        if rng.random() < 0.5:
            turns = [_claim(problem, problem.answer), "CORRECT"]
            return self.record(turns, scenario="right", seed=seed, index=index, level=level)
        turns = [_claim(problem, _slip(rng, problem)), "INCORRECT"]
        if rng.random() < 0.5:
            return self.record(turns, scenario="wrong", seed=seed, index=index, level=level)
        turns += ["What is the right answer?", problem.answer]
        return self.record(turns, scenario="wrong_corrected", seed=seed, index=index, level=level)


def _claim(problem: Problem, proposal: str) -> str:
    return f"{_OPENING}{problem.question}\nProposed answer: {proposal}\nIs it right? Reply CORRECT or INCORRECT."


def _slip(rng: Random, problem: Problem) -> str:
    return rng.choice(slips_of_problem(problem))


GENERATOR: Generator = Discrimination()
