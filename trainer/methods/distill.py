"""Distillation: the model learns a teacher's whole prediction at every answer token, not only the token in the data.

A local teacher with the same vocabulary gives its predictions once, before the first step: its hidden rows while they
fit in `HIDDEN_BYTES`, else the best `TOP_K` tokens of each. A remote teacher gives its answers as files (`frontier
synth teach`): without `teacher_dir` the loss is that of the data, on records that say which teacher wrote them.
Source: Hinton et al. 2015, section 2; Kim and Rush 2016 for answers alone.
"""

# N predictions, H hidden, K best tokens

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frontier_core.errors import ConfigError, DataError
from frontier_core.records import Record, metadata_of
from trainer.checkpoints import resolve_model
from trainer.config import TrainerConfig
from trainer.data import TrainingData
from trainer.recipes import Bench, Rows
from trainer.sft import SupervisedRecipe

if TYPE_CHECKING:
    from trainer.losses import LossOutput

HIDDEN_BYTES = 2**30
TOP_K = 64


class DistillRecipe(SupervisedRecipe):
    """Divergence from a teacher, mixed with the loss of the data by `distill_share`; surprise weights apply to both.

    Args:
        config: the run; read are the `distill` settings and those of supervised training.
    """

    def __init__(self, config: TrainerConfig) -> None:
        super().__init__(config)
        self._teacher_head: Any = None
        self._kept: dict[int, tuple[Any, ...]] = {}

    def read(self, config: TrainerConfig) -> TrainingData:
        """Reads chats and texts; without a local teacher each record must name the one that wrote it.

        Raises:
            DataError: a record that names no teacher, and there is no local one; else as `read_training_data`.
        """
        num_nameless = 0

        def see(record: Record) -> None:
            nonlocal num_nameless
            num_nameless += "teacher" not in metadata_of(record) and "teacher_model" not in record

        data = self.read_seen(config, see)
        if not config.teacher_dir and num_nameless:
            raise DataError(
                f"{num_nameless} records name no teacher in metadata.teacher, and there is no local one",
                path=config.train_files[0],
                hint="--teacher DIR, or records of frontier synth teach",
                code="no_teacher",
            )
        return data

    def begin(self, bench: Bench) -> None:
        """Takes the teacher's predictions of the whole data set, once, and lets the teacher go.

        Raises:
            ConfigError: the teacher's tokenizer is another one.
        """
        if not self.config.teacher_dir:
            return
        import torch

        from trainer.model_files import load_model, load_tokenizer

        folder = resolve_model(self.config.teacher_dir)
        if load_tokenizer(folder).get_vocab() != bench.tokenizer.get_vocab():
            raise ConfigError(
                f"teacher_dir: {folder} has another tokenizer than the model",
                hint="let it write answers instead: frontier serve, synth teach, then method distill without --teacher",
            )
        teacher = load_model(folder).to(bench.model.device).eval()
        num_rows = sum(example.num_supervised for unit in bench.units for example in unit)
        width = teacher.get_output_embeddings().weight.shape[1]
        is_whole = num_rows * width * 4 <= HIDDEN_BYTES

        def keep(rows: Rows) -> tuple[tuple[Any, ...], Any]:
            if is_whole:
                return (rows.hidden_NH.float().cpu(),), rows.count_S
            weight = rows.head
            logits_NV = rows.hidden_NH @ weight.T if isinstance(weight, torch.Tensor) else weight(rows.hidden_NH)
            best = (logits_NV.float() / self.config.distill_temperature).log_softmax(-1).topk(TOP_K)
            return (best.indices.int().cpu(), best.values.half().cpu()), rows.count_S

        for index_U, (values, count_S) in bench.map_rows(teacher, keep):
            counts = [int(count) for count in count_S.tolist()]
            parts = zip(*(value.split(counts) for value in values), strict=True)
            self._kept |= dict(zip(index_U, parts, strict=True))
        if is_whole:
            self._teacher_head = teacher.get_output_embeddings().weight.detach().clone()
        else:
            bench.notes.append(f"teacher: its {TOP_K} best tokens of each of {num_rows} predictions were kept")

    def loss(self, rows: Rows) -> LossOutput:
        """Gives the mix of divergence and cross-entropy; the divergence goes into telemetry as `kl`."""
        if not self.config.teacher_dir:
            return super().loss(rows)
        import torch

        from trainer.losses import distill, distill_top_k

        config, device = self.config, rows.hidden_NH.device
        weight_N = self._row_weights(rows)
        parts = [self._kept[index] for index in rows.index_U]
        common: dict[str, Any] = {
            "num_samples": rows.num_samples,
            "mean": config.loss_mean,
            "total": rows.step.total(config.loss_mean),
        }
        if self._teacher_head is not None:
            return distill(
                rows.hidden_NH,
                rows.head,
                rows.target_N,
                weight_N,
                rows.sample_N,
                teacher_NH=torch.cat([part[0] for part in parts]).to(device),
                teacher_head=self._teacher_head,
                temperature=config.distill_temperature,
                hard_share=1 - config.distill_share,
                **common,
            )
        soft = distill_top_k(
            rows.hidden_NH,
            rows.head,
            rows.target_N,
            weight_N,
            rows.sample_N,
            teacher_ids_NK=torch.cat([part[0] for part in parts]).long().to(device),
            teacher_logp_NK=torch.cat([part[1] for part in parts]).float().to(device),
            **common,
        )
        if config.distill_share == 1:
            return soft
        hard = super().loss(rows)
        share = config.distill_share
        return type(soft)(
            loss=soft.loss * share + hard.loss * (1 - share),
            row_loss_N=soft.row_loss_N * share + hard.row_loss_N * (1 - share),
            metrics=soft.metrics,
        )

    def _row_weights(self, rows: Rows) -> Any:
        if self.config.surprise_metric == "none":
            return rows.weight_N
        settled: Any = rows.settled
        if settled is None:
            (settled,) = self.settle([self.measure(rows)])
        return rows.weight_N * settled
