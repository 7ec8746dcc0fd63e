"""Supervised training on answers, plain or weighted by surprise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from frontier_core.profiles import profile_named
from frontier_core.records import Record
from trainer.config import TrainerConfig
from trainer.data import Dressing, TrainingData, Unit, read_training_data, tokenize
from trainer.recipes import Bench, Rows

if TYPE_CHECKING:
    from trainer.losses import LossOutput


class SupervisedRecipe:
    """Cross-entropy over answer tokens; `surprise_metric` other than "none" weighs them by how unexpected they are.

    Args:
        config: the run; read are `loss_mean` and the `surprise` settings.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config

    def read(self, config: TrainerConfig) -> TrainingData:
        """Reads chats and texts; see `read_training_data`."""
        return self.read_seen(config, lambda _: None)

    def read_seen(self, config: TrainerConfig, see: Callable[[Record], None]) -> TrainingData:
        """Reads chats and texts and shows each fit record to `see`."""
        dressing = Dressing(mode=config.profile_mode, system_prompt=config.system_prompt, seed=config.seed)
        return read_training_data(config.train_files, profile_named(config.profile), dressing, see=see)

    def units(self, tokenizer: Any, data: TrainingData, config: TrainerConfig) -> tuple[list[Unit], int]:
        """Gives one example a unit."""
        examples, num_dropped = tokenize(tokenizer, data.samples, config.max_length_tokens, too_long=config.too_long)
        return [(example,) for example in examples], num_dropped

    def begin(self, bench: Bench) -> None:
        """Needs nothing."""

    def measure(self, rows: Rows) -> Any:
        """Gives the rows' surprise: it is normalised over the whole step, however the step is cut into passes."""
        if self.config.surprise_metric == "none":
            return None
        from trainer.losses import cross_entropy

        return cross_entropy(rows.hidden_NH, rows.head, rows.target_N, surprise=self.config.surprise_metric)[1]  # type: ignore[arg-type]

    def settle(self, measured: Sequence[Any]) -> Sequence[Any]:
        """Gives each pass its rows' weights, with mean 1 over the step."""
        import torch

        weights = self._weights(torch.cat(list(measured)))
        return list(weights.split([len(part) for part in measured]))

    def loss(self, rows: Rows) -> LossOutput:
        """Gives the weighted cross-entropy."""
        import torch

        from trainer.losses import LossOutput, cross_entropy, mean_loss, sample_sums

        config = self.config
        is_hit_N = None if rows.is_fresh_S is None else torch.empty_like(rows.target_N, dtype=torch.bool)
        loss_N, surprise_N = cross_entropy(
            rows.hidden_NH,
            rows.head,
            rows.target_N,
            surprise=config.surprise_metric,  # type: ignore[arg-type]
            is_hit_N=is_hit_N,
        )
        weight_N, metrics = rows.weight_N, {}
        if config.surprise_metric != "none":
            weight_N = weight_N * (rows.settled if rows.settled is not None else self._weights(surprise_N))
            metrics["surprise"] = sample_sums(surprise_N, rows.sample_N, rows.num_samples) / rows.count_S
        loss = mean_loss(
            loss_N,
            weight_N,
            rows.sample_N,
            num_samples=rows.num_samples,
            mean=config.loss_mean,
            total=rows.step.total(config.loss_mean),
            count_S=rows.count_S,
        )
        return LossOutput(loss=loss, row_loss_N=loss_N.detach(), metrics=metrics, is_hit_N=is_hit_N)

    def _weights(self, surprise_N: Any) -> Any:
        from trainer.losses import surprise_weights

        config = self.config
        return surprise_weights(
            surprise_N,
            surprise_N == surprise_N,  # every row counts
            minimum=config.surprise_min_weight,
            maximum=config.surprise_max_weight,
            temperature=config.surprise_temperature,
        )
