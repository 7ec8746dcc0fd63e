"""What a run will hold in memory, from the sizes of its model and the passes of its first steps; no torch.

Counted is what the flat layout keeps for the gradient, layer by layer (trainer/decoder.py, attention.py, losses.py). A
step holds most either where it turns, with every activation there and no gradient, or where the backward pass
ends, the other way round. `_RUNTIME_BYTES` and the slacks are measured, on a CPU (benchmarks/dry_run.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config import TrainerConfig
from trainer.data import Unit, plan_batches
from trainer.layout import FlatBatch
from trainer.packing import Pass, make_passes

LOOKED_AT_STEPS = 64
"""Steps whose passes are laid out to find the largest."""

_RUNTIME_BYTES = 73_000_000
"""What libraries take for themselves once they compute (kernels, buffers, their last imports)."""

KEPT_SLACK = 0.24
"""How much more is held than weights and optimizer take: the optimizer's passing copies, and what lies free."""

SLACK = 0.11
"""The same for what a step makes and drops."""

MERGED_SHARE = 0.66
"""How much of a checkpoint's merged copy comes on top: the rest lies where a step's tensors lay."""

_FLOAT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a decoder: weights in all, and what its activations are made of."""

    num_parameters: int
    num_layers: int
    hidden: int
    feed_forward: int
    query: int
    key: int
    num_heads: int
    vocabulary: int
    has_norm_of_heads: bool


def memory_estimate(shape: ModelShape, units: Sequence[Unit], config: TrainerConfig, num_steps: int) -> dict[str, int]:
    """Gives bytes of a run: `weights`, `gradients`, `optimizer`, `activations`, `runtime`, `peak`.

    The largest pass of the run's own first `LOOKED_AT_STEPS` steps counts.

    Args:
        shape: the model.
        units: what is drawn.
        config: the run.
        num_steps: its optimizer steps.
    """
    passes: list[Pass] = []
    layout = "padded" if config.layout == "padded" else "shared"
    for step in plan_batches(len(units), config.batch_size, min(num_steps, LOOKED_AT_STEPS), seed=config.seed):
        numbered = [(index, units[index]) for index in step]
        passes += make_passes(numbered, layout=layout, max_forward_tokens=config.max_forward_tokens)
    weights = _FLOAT * shape.num_parameters
    is_whole = config.adapter == "none"
    trained = weights if is_whole else _FLOAT * _adapter_parameters(shape, config)
    kept = weights + 2 * trained
    merged = 0.0 if is_whole else MERGED_SHARE * weights
    activations = max(kept_bytes(shape, one) for one in passes)
    # The gradient of the head is the first to be made; tied, that of the embeddings is made beside it at the end.
    head = _FLOAT * shape.vocabulary * shape.hidden if is_whole else 0
    at_loss = max(kept_bytes(shape, one) + _top_bytes(shape, one) for one in passes) + head
    at_end = trained + head + max(_backward_bytes(shape, one) for one in passes)
    if not is_whole:
        at_end = max(at_end, weights)  # a checkpoint holds the merged model
    return {
        "weights": weights,
        "gradients": trained,
        "optimizer": 2 * trained,
        "activations": activations,
        "runtime": _RUNTIME_BYTES,
        "peak": _RUNTIME_BYTES + round((1 + KEPT_SLACK) * kept + merged + (1 + SLACK) * max(at_loss, at_end)),
    }


def _adapter_parameters(shape: ModelShape, config: TrainerConfig) -> int:
    """Gives the weights of an adapter on every linear layer."""
    ends = 2 * (shape.hidden + shape.query) + 2 * (shape.hidden + shape.key) + 3 * (shape.hidden + shape.feed_forward)
    return shape.num_layers * config.lora_rank * ends


def _per_token(shape: ModelShape) -> int:
    """Gives the floats a layer keeps of a token it computes whole."""
    # Two norms' inputs and outputs; queries and keys as projected, where a norm needs them, and as rotated; values and
    # what attention gives; gate, up, the opened gate and their product.
    return 4 * shape.hidden + (3 if shape.has_norm_of_heads else 2) * (shape.query + shape.key) + 4 * shape.feed_forward


def _sizes(one: Pass) -> tuple[int, int, int]:
    """Gives a pass's tokens, the rows its last layer computes whole, and the attention scores of one head."""
    batch: Any = one.batch
    if not isinstance(batch, FlatBatch):
        return batch.ids_BT.size, batch.ids_BT.size, 0
    scores = 0
    for index, span in enumerate(batch.segments):
        above = sum(part.end - part.start for part in batch.chain(index))
        scores += (span.end - span.start) * (span.end - span.start + above)
    return len(batch.ids_T), len(batch.row_R), scores


def kept_bytes(shape: ModelShape, one: Pass) -> int:
    """Gives what a pass keeps for its gradient, from the embeddings to the last layer's output."""
    tokens, rows, scores = _sizes(one)
    whole = (shape.num_layers - 1) * (tokens * _per_token(shape) + scores * shape.num_heads)
    last = tokens * (2 * shape.hidden + 3 * shape.key) + rows * _per_token(shape)
    return _FLOAT * (whole + last)


def _top_bytes(shape: ModelShape, one: Pass) -> int:
    """Gives what is made while all is still kept: log-probabilities and their gradient, or one layer's gradients."""
    logits = 2 * one.num_supervised * shape.vocabulary
    return _FLOAT * max(logits, _sizes(one)[0] * (4 * shape.feed_forward + 2 * shape.hidden))


def _backward_bytes(shape: ModelShape, one: Pass) -> int:
    """Gives what the first layer still holds while its gradient is made."""
    tokens, _, scores = _sizes(one)
    return _FLOAT * (tokens * (_per_token(shape) + 3 * shape.feed_forward) + scores * shape.num_heads)
