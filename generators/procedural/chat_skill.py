"""What the procedural chat skills share: weighted scenarios that draw a problem, and the record around it.

Each skill is one file with its scenarios and levels; this one knows no skill. Shell plans have their own base.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from frontier_core.errors import UsageError
from frontier_core.profiles import EMOJI_PREFIX
from frontier_core.records import Record
from frontier_core.seeds import record_random


class Problem(NamedTuple):
    """A question, its one right answer as bare text, and the scenario it comes from."""

    question: str
    answer: str
    scenario: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of question at one level.

    `draw` gives question and answer; `num_problems` is a lower bound of the distinct problems it can give, none of
    which any other scenario or level of the skill gives; `weight` is its share of the draws, relative.
    """

    name: str
    draw: Callable[[Random], tuple[str, str]]
    num_problems: int
    weight: int = 1


class Mix:
    """The scenarios of one level."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self._scenarios = tuple(scenarios)
        self._cumulative = list(accumulate(scenario.weight for scenario in self._scenarios))
        self._total = self._cumulative[-1]
        self.num_problems = sum(scenario.num_problems for scenario in self._scenarios)

    def pick(self, rng: Random) -> Scenario:
        """Draws a scenario by weight."""
        return self._scenarios[bisect(self._cumulative, rng.random() * self._total)]

    def draw(self, rng: Random) -> Problem:
        """Draws a scenario by weight, then a problem of it."""
        scenario = self.pick(rng)
        question, answer = scenario.draw(rng)
        return Problem(question, answer, scenario.name)


class ChatSkill:
    """Base of a chat skill's generator: see generators.base.Generator for the protocol.

    Args:
        skill: name of the skill.
        domain: its domain in domains.yaml.
        task_type: what is asked for, e.g. "calculate".
        levels: from 1 up.
        version: of the generator; another one makes other records.
    """

    def __init__(self, skill: str, *, domain: str, task_type: str, levels: Sequence[int], version: str) -> None:
        self.skill = skill
        self.generator_id = skill
        self.generator_version = version
        self.levels = tuple(levels)
        self._domain = domain
        self._task_type = task_type

    def problem(self, record: Record) -> str:
        """Gives the question: the text of the first user turn."""
        return str(next(turn["content"] for turn in record["messages"] if turn["role"] == "user"))

    def random_at(self, seed: int, index: int, level: int) -> Random:
        """Gives the private random generator of one record, or raises UsageError for an unknown level."""
        if level not in self.levels:
            self.check_level(level)
        return record_random(self.generator_id, self.generator_version, seed, level, index)

    def check_level(self, level: int) -> None:
        """Raises UsageError, naming the levels there are, when `level` is none of them."""
        if level not in self.levels:
            known = ", ".join(map(str, self.levels))
            raise UsageError(f"{self.skill} has no level {level}", hint=f"choose one of: {known}")

    def record(self, turns: Sequence[str], *, scenario: str, seed: int, index: int, level: int) -> Record:
        """Gives the record of alternating user and assistant texts, the assistant's dressed in the default profile."""
        messages = []
        for place in range(0, len(turns), 2):
            messages.append({"role": "user", "content": turns[place]})
            messages.append({"role": "assistant", "content": EMOJI_PREFIX + turns[place + 1]})
        metadata = {
            "skill": self.skill,
            "domain": self._domain,
            "level": level,
            "task_type": self._task_type,
            "scenario": scenario,
            "source": "procedural",
            "source_license": "CC0-1.0",
            "generator_id": self.generator_id,
            "generator_version": self.generator_version,
            "seed": seed,
            "index": index,
        }
        return {"messages": messages, "metadata": metadata}


class QuestionSkill(ChatSkill):
    """A chat skill whose records are one question and one answer, drawn from a mix of scenarios a level."""

    def __init__(self, skill: str, *, domain: str, task_type: str, mixes: Mapping[int, Mix], version: str) -> None:
        super().__init__(skill, domain=domain, task_type=task_type, levels=tuple(mixes), version=version)
        self._mixes = mixes

    def capacity(self, level: int) -> int:
        """Gives a lower bound of how many distinct problems the level has, both splits together."""
        self.check_level(level)
        return self._mixes[level].num_problems

    def draw(self, rng: Random, level: int) -> Problem:
        """Draws one problem of a level."""
        return self._mixes[level].draw(rng)

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level); same three, same bytes."""
        rng = self.random_at(seed, index, level)
        scenario = self._mixes[level].pick(rng)
        return self.record(scenario.draw(rng), scenario=scenario.name, seed=seed, index=index, level=level)
