"""The memory estimate counts what a step of the flat layout keeps for its gradient, to the byte count autograd has."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
import transformers

from trainer import losses
from trainer.config import TrainerConfig
from trainer.data import Example, Unit
from trainer.flat_model import FlatModel
from trainer.memory import KEPT_SLACK, MERGED_SHARE, ModelShape, kept_bytes, memory_estimate
from trainer.packing import make_pass
from trainer.recipes import Rows, StepTotals

pytestmark = pytest.mark.torch

SHAPE = ModelShape(
    num_parameters=1,
    num_layers=3,
    hidden=64,
    feed_forward=160,
    query=64,
    key=32,
    num_heads=4,
    vocabulary=200,
    has_norm_of_heads=True,
)
CONFIG = TrainerConfig(model_dir="model", train_files=("data.jsonl",), output_dir="run", batch_size=4)


def units(num: int) -> list[Unit]:
    rng = random.Random(0)
    rows = [[rng.randrange(200) for _ in range(rng.randint(40, 90))] for _ in range(num)]
    masks = [[False] * (len(row) - 6) + [True] * 6 for row in rows]
    return [(Example(ids=row, is_supervised=mask, tag="a", place=""),) for row, mask in zip(rows, masks, strict=True)]


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_activations_are_those_autograd_keeps(family: str) -> None:
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(
            family,
            vocab_size=200,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            intermediate_size=160,
        )
    )
    one = make_pass(list(enumerate(units(4))), layout="shared")
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    def loss_of(rows: Rows) -> losses.LossOutput:
        return losses.LossOutput(loss=rows.hidden_NH.sum(), row_loss_N=None)

    flat = FlatModel(model)
    totals = StepTotals(num_tokens=one.num_supervised, num_samples=4, num_units=4)
    with flat.holding(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        flat.run(one, loss_of, totals)
    # Attention keeps its probabilities by itself, and of a later block none of what it can't see.
    scores = sum((span.end - span.start) ** 2 for span in one.batch.segments)
    expected = kept_bytes(replace(SHAPE, has_norm_of_heads=family == "qwen3"), one) - 4 * 2 * 4 * scores
    assert sum(storage.nbytes() for storage in kept.values()) == pytest.approx(expected, rel=0.1)


def test_what_grows_the_estimate() -> None:
    def peak(**changes: Any) -> int:
        return memory_estimate(SHAPE, units(8), replace(CONFIG, **changes), 2)["peak"]

    assert peak(batch_size=1) < peak(batch_size=4) < peak(batch_size=4, layout="padded")
    assert peak(batch_size=4, max_forward_tokens=64) == peak(batch_size=1, max_forward_tokens=64)


def test_an_adapter_trains_little_and_is_merged_in_a_copy() -> None:
    shape = replace(SHAPE, num_parameters=10_000_000)
    whole, adapted = (
        memory_estimate(shape, units(8), replace(CONFIG, adapter=adapter), 2) for adapter in ("none", "lora")
    )
    assert (whole["weights"], whole["gradients"], whole["optimizer"]) == (40_000_000, 40_000_000, 80_000_000)
    # Rank 8 on q, k, v, o and the three of the MLP: 8 * (2 * 128 + 2 * 96 + 3 * 224) weights a layer.
    assert adapted["gradients"] == 4 * 3 * 8 * (2 * 128 + 2 * 96 + 3 * 224)
    assert adapted["weights"] == 40_000_000
    # Whole: weights, two moments, gradients. Adapted: weights, part of a merged copy, its bytes on their way to disk.
    expected = (1 + KEPT_SLACK) * 80_000_000 - MERGED_SHARE * 40_000_000
    assert whole["peak"] - adapted["peak"] == pytest.approx(expected, rel=0.06)
