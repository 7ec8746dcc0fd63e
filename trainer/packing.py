"""The examples of one optimizer step as forward passes: flat without padding, or padded rows where flat does not apply.

A step's examples are drawn before any thought of layout (trainer/draws.py). Both forms hand the loss the same rows in
the same order, example by example, so that a loss can't tell them apart. Arrays, no torch.
"""

# B rows, T tokens, N predictions, S samples

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data import Example, Unit, split_by_length
from trainer.layout import FlatBatch, flatten, split_flat


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedBatch:
    """Rows of equal length, padded on the right; prediction i is made at flat place `place_N[i]` of the B x T rows."""

    ids_BT: Any
    place_N: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass: its examples, where they lie, and what is predicted.

    Samples are the pass's examples in order; a unit's examples stand side by side. `index_U` are the units' places in
    the data set. `weight_N` repeats each example's weight over its predictions.
    """

    examples: tuple[Example, ...]
    index_U: tuple[int, ...]
    batch: FlatBatch | PaddedBatch
    target_N: Any
    weight_N: Any
    sample_N: Any
    count_S: Any

    @property
    def num_supervised(self) -> int:
        """Predictions of the pass."""
        return len(self.target_N)

    @property
    def num_computed_tokens(self) -> int:
        """Tokens the model computes, padding included."""
        batch = self.batch
        return len(batch.ids_T) if isinstance(batch, FlatBatch) else batch.ids_BT.size


def make_pass(units: Sequence[tuple[int, Unit]], *, layout: str, pad_id: int = 0) -> Pass:
    """Lays units out in one pass.

    Args:
        units: (place in the data set, examples) pairs.
        layout: "shared" (flat, common beginnings once), "flat" (flat, every example whole) or "padded".
        pad_id: fills padded rows.
    """
    examples = tuple(example for _, unit in units for example in unit)
    if layout == "padded":
        padded, target_N, sample_N = _padded(examples, pad_id)
        batch: FlatBatch | PaddedBatch = padded
    else:
        flat = flatten(examples, is_sharing=layout == "shared")
        batch, target_N, sample_N = flat, flat.target_N, flat.sample_N
    weights = np.array([example.weight for example in examples], dtype=np.float32)
    return Pass(
        examples=examples,
        index_U=tuple(index for index, _ in units),
        batch=batch,
        target_N=target_N,
        weight_N=weights[sample_N],
        sample_N=sample_N,
        count_S=np.bincount(sample_N, minlength=len(examples)),
    )


def make_passes(
    units: Sequence[tuple[int, Unit]], *, layout: str, max_forward_tokens: int, pad_id: int = 0
) -> list[Pass]:
    """Cuts one step's units into passes of at most `max_forward_tokens` tokens each; see `make_pass`."""
    if layout == "padded":
        longest = [max(len(example.ids) for example in unit) for _, unit in units]
        size = len(units[0][1])
        groups = split_by_length(longest, max(1, max_forward_tokens // size))
    else:
        groups = split_flat([unit for _, unit in units], max_forward_tokens)
    return [make_pass([units[index] for index in group], layout=layout, pad_id=pad_id) for group in groups]


def _padded(examples: Sequence[Example], pad_id: int) -> tuple[PaddedBatch, Any, Any]:
    width = max(len(example.ids) for example in examples)
    ids_BT = np.full((len(examples), width), pad_id, dtype=np.int64)
    places, targets, samples = [], [], []
    for number, example in enumerate(examples):
        ids_BT[number, : len(example.ids)] = example.ids
        wanted = np.flatnonzero(np.asarray(example.is_supervised, dtype=bool)[1:])
        places.append(number * width + wanted)
        targets.append(ids_BT[number, wanted + 1])
        samples.append(np.full(len(wanted), number))
    batch = PaddedBatch(ids_BT=ids_BT, place_N=np.concatenate(places))
    return batch, np.concatenate(targets), np.concatenate(samples)
