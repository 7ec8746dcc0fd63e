"""The seam between a training method and the one engine: a recipe says what is drawn and what the loss of its rows is.

The engine draws units, lays them out, runs the model, goes back through the loss, steps, saves, resumes and reports;
it knows no method by name. A recipe never sees a layout: only rows that predict. New method: a class with this shape
and one line in `RECIPES`. A method that writes its own answers as it trains brings its own loop (`BringsTrainer`).
"""

# N predictions, H hidden, S samples, U units

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from trainer.config import TrainerConfig
from trainer.data import Example, TrainingData, Unit

if TYPE_CHECKING:
    from trainer.losses import Head, LossOutput

RECIPES: dict[str, str] = {
    "sft": "trainer.sft:SupervisedRecipe",
    "sparring": "trainer.methods.sparring:SparringRecipe",
    "dpo": "trainer.methods.dpo:PreferenceRecipe",
    "distill": "trainer.methods.distill:DistillRecipe",
    "grpo": "trainer.methods.rollouts:RolloutRecipe",
}
"""Method -> module:class, imported when it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTotals:
    """What a whole optimizer step holds, over all its passes: a pass's loss is its share of the step's mean."""

    num_tokens: int
    num_samples: int
    num_units: int

    def total(self, mean: str) -> float:
        """Gives the divisor of a mean over tokens ("token") or samples ("example")."""
        return float(self.num_tokens if mean == "token" else self.num_samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a loss sees of one pass; row i of `hidden_NH` predicts `target_N[i]` for sample `sample_N[i]`.

    `examples` are the samples; `index_U` the places of their units in the data set. `settled` is what the recipe's
    `settle` made of all passes of the step, None for recipes without `measure`. `is_fresh_S` says which samples the run
    has not learnt from before, None where none is: of these, `LossOutput.is_hit_N` is wanted.
    """

    hidden_NH: Any
    head: Head
    target_N: Any
    weight_N: Any
    sample_N: Any
    count_S: Any
    examples: tuple[Example, ...]
    index_U: tuple[int, ...]
    step: StepTotals
    number: int = 0
    settled: Any = None
    is_fresh_S: Any = None

    @property
    def num_samples(self) -> int:
        """Samples of the pass."""
        return len(self.examples)


class MapRows(Protocol):
    """Runs units through a model without gradient, in the engine's own layout, pass by pass."""

    def __call__(self, model: Any, function: Callable[[Rows], Any]) -> list[tuple[tuple[int, ...], Any]]:
        """Gives (index_U, function(rows)) per pass; together the passes hold every unit once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a recipe may use once the model is loaded, before the first step.

    `model` is the model to be trained, `tokenizer` its own, `units` the data set, `checkpoint` where the run goes on
    from (None: from the start), `map_rows` runs all units through any model; `notes` go into the result.
    """

    model: Any
    tokenizer: Any
    units: Sequence[Unit]
    config: TrainerConfig
    checkpoint: Any
    map_rows: MapRows
    notes: list[str]


class Recipe(Protocol):
    """One training method."""

    def read(self, config: TrainerConfig) -> TrainingData:
        """Reads and checks the records; everything wrong with them is said here, before a model is loaded."""

    def units(self, tokenizer: Any, data: TrainingData, config: TrainerConfig) -> tuple[list[Unit], int]:
        """Gives what is drawn, and how many records were dropped because they are too long."""

    def begin(self, bench: Bench) -> None:
        """Makes ready what the loss needs: a reference's scores, a teacher."""

    def measure(self, rows: Rows) -> Any:
        """Gives what `settle` needs of a pass when a step has several, None when every pass stands alone."""

    def settle(self, measured: Sequence[Any]) -> Sequence[Any]:
        """Turns what `measure` gave for all passes of a step into what each pass finds in `rows.settled`."""

    def loss(self, rows: Rows) -> LossOutput:
        """Gives the pass's share of the step's loss."""


@runtime_checkable
class BringsTrainer(Protocol):
    """A recipe whose loop is its own: it answers, is judged and learns, as GRPO does.

    What `make_trainer` gives has what the engine asks of FrontierTrainer: state, model, step_loss, tokens_done,
    is_between_steps, train, count_step, save_now and close.
    """

    def make_trainer(self, model: Any, tokenizer: Any, **parts: Any) -> Any:
        """Gives the trainer; `parts` are config, num_steps, sink, monitors and notes."""


def units_per_step(config: TrainerConfig) -> int:
    """Gives how many units one optimizer step draws; of GRPO's `batch_size` answers several share a problem."""
    return config.batch_size // config.num_generations if config.method == "grpo" else config.batch_size


def recipe_for(config: TrainerConfig) -> Recipe:
    """Gives the recipe of a run's method; raises ConfigError with the nearest name when there is none."""
    target = RECIPES.get(config.method)
    if target is None:
        raise ConfigError(f"method: unknown {config.method!r}", hint=did_you_mean(config.method, RECIPES))
    module, _, name = target.partition(":")
    recipe: Recipe = getattr(import_module(module), name)(config)
    return recipe
