"""Tasks of the reasoning-gym library as skills `rg_NAME`, an optional extra: an allow-list, our seeds, checked labels.

What the library does otherwise and why it stays outside: neighbouring seeds share nearly all problems (seed + index),
a few tasks print to standard output or depend on PYTHONHASHSEED, and one in eight labels of one task is wrong. Here the
seed of each problem is mixed by hash, the tasks of the list do none of that, and a problem whose label our own solver
does not confirm (validators/skills/reasoning_gym.py) is drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any

from frontier_core.errors import EnvironmentMissing, FrontierError
from frontier_core.records import Record
from frontier_core.seeds import child_seed
from generators.procedural.chat_skill import ChatSkill
from validators.skills.dialogue import PromptError
from validators.skills.reasoning_gym import solve

VERSION = "1.0.0"
MAX_ATTEMPTS = 50
"""Draws of one problem until the library's label and our solution agree."""

Config = Mapping[str, Any]


def _sizes(name: str, *bounds: tuple[int, int], **others: Any) -> tuple[Config, ...]:
    """Gives a configuration for each (smallest, largest) of one quantity, `min_NAME` and `max_NAME`."""
    return tuple({f"min_{name}": low, f"max_{name}": high, **others} for low, high in bounds)


def _grids(*sides: tuple[int, int]) -> tuple[Config, ...]:
    return tuple({"min_rows": low, "max_rows": high, "min_cols": low, "max_cols": high} for low, high in sides)


TASKS: dict[str, tuple[Config, ...]] = {
    "chain_sum": tuple(
        {"min_terms": 2, "max_terms": 2 + level, "min_digits": level, "max_digits": level} for level in (1, 2, 3, 4)
    ),
    "products": _sizes("digits", (1, 2), (2, 3), (3, 4), (4, 5)),
    "basic_arithmetic": tuple(
        {
            "min_terms": 1 + level,
            "max_terms": 2 + level,
            "min_digits": 1,
            "max_digits": level,
            "operators": ("+", "-", "*"),
        }
        for level in (1, 2, 3, 4)
    ),
    "base_conversion": _sizes("value", (16, 255), (256, 4095), (4096, 65_535), (65_536, 1_000_000)),
    "gcd": _sizes("value", (2, 100), (101, 1000), (1001, 10_000), (10_001, 100_000)),
    "lcm": _sizes("value", (2, 70), (71, 150), (151, 400), (401, 1000)),
    "count_bits": _sizes("n", (256, 4095), (4096, 65_535), (65_536, 1 << 24), (1 << 24, (1 << 31) - 1)),
    "count_primes": _sizes("n", (1, 100), (101, 500), (501, 2000), (2001, 10_000)),
    "prime_factorization": _sizes("value", (100, 2999), (3000, 9999), (10_000, 99_999), (100_000, 999_999)),
    "fraction_simplification": _sizes("value", (2, 50), (51, 200), (201, 1000), (1001, 5000), styles=("plain",)),
    "letter_counting": _sizes("words", (4, 6), (8, 12), (16, 24), (32, 48)),
    "spell_backward": _sizes("word_len", (3, 5), (6, 7), (8, 8), (9, 10)),
    "word_sequence_reversal": _sizes("words", (3, 4), (5, 7), (8, 11), (12, 18)),
    "word_sorting": _sizes("words", (3, 4), (5, 7), (8, 11), (12, 18)),
    "number_filtering": _sizes("numbers", (3, 4), (5, 7), (8, 12), (13, 20)),
    "course_schedule": _sizes("num_courses", (5, 6), (7, 9), (10, 14), (15, 20)),
    "spiral_matrix": _sizes("n", (2, 3), (4, 5), (6, 7), (8, 10)),
    "rotate_matrix": _sizes("n", (2, 3), (4, 5), (6, 7), (8, 10)),
    "binary_matrix": _sizes("n", (3, 4), (5, 6), (7, 8), (9, 10)),
    "largest_island": _grids((5, 5), (6, 7), (8, 9), (10, 12)),
}
"""Task -> its configuration at level 1, 2, 3, 4."""

CAPACITY = 2000
"""Distinct problems that every level of every task has at least; counted in the tests."""


class GymSkill(ChatSkill):
    """Generator of one task. The library is imported at the first record.

    Args:
        task: a name of TASKS.
    Raises:
        EnvironmentMissing: the library is not installed.
    """

    def __init__(self, task: str) -> None:
        levels = tuple(range(1, len(TASKS[task]) + 1))
        version = f"{VERSION}+reasoning_gym.{_library_version()}"  # either may change what is made
        super().__init__(f"rg_{task}", domain=f"rg_{task}", task_type="answer", levels=levels, version=version)
        self._task = task
        self._datasets: dict[int, Any] = {}

    def capacity(self, level: int) -> int:
        """Gives a lower bound of how many distinct problems the level has, both splits together."""
        self.check_level(level)
        return CAPACITY

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level); same three and same version of the library, same bytes."""
        self.check_level(level)
        for attempt in range(MAX_ATTEMPTS):
            place = child_seed(self.generator_id, self.generator_version, seed, level, index, attempt)
            question, answer = self._draw(place, level)
            try:
                is_right = solve(self._task, question) == answer
            except PromptError:
                is_right = False
            if is_right:
                made = self.record([question, answer], scenario=self._task, seed=seed, index=index, level=level)
                made["metadata"]["source_license"] = "Apache-2.0"
                return made
        raise FrontierError(
            f"{self.skill} level {level}: no label of the library is confirmed by our solver",
            hint="this version of reasoning-gym asks otherwise; install 0.1.25",
        )

    def _draw(self, place: int, level: int) -> tuple[str, str]:
        """Gives question and label of the library at one seed; what it prints is thrown away."""
        with redirect_stdout(StringIO()):
            if level not in self._datasets:
                create_dataset = import_module("reasoning_gym").create_dataset  # 1.3 CPU seconds, 1,200 modules
                self._datasets[level] = create_dataset(self._task, seed=0, size=1, **TASKS[self._task][level - 1])
            dataset = self._datasets[level]
            dataset.seed = place
            entry = dataset[0]
        return entry["question"].strip(), str(entry["answer"]).strip()

    def __reduce__(self) -> tuple[type[GymSkill], tuple[str]]:
        return GymSkill, (self._task,)  # a worker process opens its own data sets


def _library_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("reasoning-gym")
    except PackageNotFoundError as error:
        hint = "pip install 'frontier-data-engine[rg]'"
        raise EnvironmentMissing("reasoning-gym is not installed", hint=hint) from error


def __getattr__(name: str) -> GymSkill:
    """Gives the generator of a task by the task's name, for the registry."""
    if name not in TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return GymSkill(name)
