"""The recipe of GRPO: what is read, how many problems there are, and the loop it brings (trainer/methods/grpo.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from frontier_core.errors import ConfigError, DataError
from frontier_core.profiles import profile_named
from trainer.chat_template import encode, render_prompt
from trainer.config import TrainerConfig
from trainer.data import Example, Sample, TrainingData, Unit
from trainer.methods.problems import Problem, read_problems
from trainer.recipes import Bench, Rows
from trainer.rewards import Judge

if TYPE_CHECKING:
    from trainer.losses import LossOutput


class RolloutRecipe:
    """Problems that the model answers as it trains.

    Args:
        config: the run; read are the `grpo` settings, the profile and the longest text.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config
        self._read: list[Problem] = []
        self._kept: list[Problem] = []

    def read(self, config: TrainerConfig) -> TrainingData:
        """Reads problems whose answers can be judged; raises as `read_problems`."""
        found = read_problems(config.train_files, profile_named(config.profile))
        self._read = found.problems
        samples = []
        for problem in found.problems:
            path, _, line = problem.place.rpartition(":")
            samples.append(Sample(messages=tuple(problem.prompt), text="", tag=problem.tag, path=path, line=int(line)))
        return TrainingData(samples=samples, sha=found.sha, notes=found.notes)

    def units(self, tokenizer: Any, data: TrainingData, config: TrainerConfig) -> tuple[list[Unit], int]:
        """Gives a prompt a unit, and how many leave no room for an answer."""
        prompts = encode(tokenizer, [render_prompt(tokenizer, problem.prompt) for problem in self._read])
        room = config.max_length_tokens - config.max_new_tokens
        found: list[Unit] = []
        self._kept = []
        for problem, (ids, _) in zip(self._read, prompts, strict=True):
            if len(ids) <= room:
                self._kept.append(problem)
                # Nothing of a prompt is learnt; its last token stands for the answer to come where units are counted.
                mask = [False] * (len(ids) - 1) + [True]
                found.append((Example(ids=ids, is_supervised=mask, tag=problem.tag, place=problem.place),))
            elif config.too_long == "refuse":
                message = f"{problem.place}: a prompt of {len(ids)} tokens leaves no room for max_new_tokens"
                raise DataError(message, code="too_long")
        if not found:
            raise ConfigError(
                f"max_length_tokens {config.max_length_tokens} leaves no prompt room for max_new_tokens "
                f"{config.max_new_tokens}",
                hint="raise the one or lower the other",
            )
        return found, len(self._read) - len(found)

    def make_trainer(self, model: Any, tokenizer: Any, **parts: Any) -> Any:
        """Gives TRL's loop with our rewards; opens the sandbox when a plan must be run.

        Raises:
            EnvironmentMissing: no sandbox works here.
        """
        from trainer.methods.grpo import RolloutTrainer

        notes: list[str] = parts.pop("notes")
        judge = Judge(profile_named(self.config.profile), sandbox=self.config.sandbox, on_note=notes.append)
        return RolloutTrainer(model, tokenizer, self._kept, judge=judge.open(self._kept), **parts)

    def begin(self, bench: Bench) -> None:
        """Needs nothing."""

    def measure(self, rows: Rows) -> Any:
        """Is never asked: the loop is another."""
        raise NotImplementedError

    def settle(self, measured: Sequence[Any]) -> Sequence[Any]:
        """Is never asked."""
        raise NotImplementedError

    def loss(self, rows: Rows) -> LossOutput:
        """Is never asked."""
        raise NotImplementedError
