"""Attention over flat segments: each token sees its own segment up to itself and every segment above it, nothing else.

On a CPU every segment is a few matrix products in one autograd function, so that no autograd node, no mask and no
padding is made per text; on CUDA the same rule is a FlexAttention block mask. The rule comes from trainer/layout.py;
fitting it into a model is trainer/flat_model.py. Dropout inside attention is not covered.
"""

# T flat tokens, Q query rows, K key heads, G query heads per key head, D head width, L keys a block of queries sees

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from trainer.layout import FlatBatch

BLOCK_ROWS = 256
"""Query rows of a segment taken at once: a longer segment's early rows are never multiplied with its late keys."""

KEEP_BYTES = 512 * 2**20
"""Attention probabilities of one layer kept for the gradient at most; above it they are made again."""


class Block(NamedTuple):
    """Query rows `start` to `end`, the runs of keys they see, and the additive mask of their last keys (or None)."""

    start: int
    end: int
    keys: tuple[tuple[int, int], ...]
    mask: Any


class FlatPlan:
    """Which keys each query row sees, as blocks, for all rows and for the rows that predict.

    Args:
        batch: the layout.
        device: where the masks live.
    """

    def __init__(self, batch: FlatBatch, device: Any = "cpu") -> None:
        self.batch = batch
        self.device = device
        self.row_R = torch.from_numpy(batch.row_R).to(device)
        self._blocks: dict[tuple[bool, int | None], list[Block]] = {}
        self._flex: dict[tuple[bool, int | None], Any] = {}

    def blocks(self, *, is_last: bool = False, window: int | None = None) -> list[Block]:
        """Gives the blocks: of every row, or (`is_last`) of the rows `row_R` only.

        Args:
            is_last: queries are the rows that predict, packed; keys are always all rows.
            window: a token sees only the `window` latest positions; None: no such limit.
        """
        key = (is_last, window)
        if key not in self._blocks:
            self._blocks[key] = self._make(is_last, window)
        return self._blocks[key]

    def _make(self, is_last: bool, window: int | None) -> list[Block]:
        blocks: list[Block] = []
        row_R, position_T = self.batch.row_R, self.batch.position_T
        for index, span in enumerate(self.batch.segments):
            above = tuple((one.start, one.end) for one in self.batch.chain(index))
            if is_last:
                first, last = np.searchsorted(row_R, (span.start, span.end)).tolist()
                cuts = [*range(first, last, BLOCK_ROWS), last]
                rows = [(one, two, int(row_R[two - 1]) + 1) for one, two in pairwise(cuts)]
            else:
                cuts = [*range(span.start, span.end, BLOCK_ROWS), span.end]
                rows = [(one, two, two) for one, two in pairwise(cuts)]
            for one, two, end in rows:
                keys = _joined((*above, (span.start, end)))
                if not is_last and window is None:
                    mask = _triangle(two - one, str(self.device))
                else:
                    queries = position_T[row_R[one:two]] if is_last else position_T[one:two]
                    places = np.concatenate([position_T[slice(*run)] for run in keys])
                    hidden = places > queries[:, None]
                    if window is not None:
                        hidden |= places <= queries[:, None] - window
                    mask = torch.zeros(hidden.shape).masked_fill_(torch.from_numpy(hidden), float("-inf"))
                    mask = mask.to(self.device)[:, None]
                blocks.append(Block(one, two, keys, mask))
        return blocks

    def flex_mask(self, *, is_last: bool = False, window: int | None = None) -> Any:
        """Gives the same rule as a FlexAttention block mask."""
        from torch.nn.attention.flex_attention import create_block_mask

        key = (is_last, window)
        if key not in self._flex:
            tensors = (self.batch.segment_T(), self.batch.position_T, self.batch.sees())
            segment_T, position_T, sees_GG = (torch.from_numpy(array).to(self.device) for array in tensors)
            query_T = self.row_R if is_last else torch.arange(len(position_T), device=self.device)

            def is_seen(_batch: Any, _head: Any, query: Any, place: Any) -> Any:
                row = query_T[query]
                seen = sees_GG[segment_T[row], segment_T[place]] & (position_T[place] <= position_T[row])
                return seen if window is None else seen & (position_T[place] > position_T[row] - window)

            self._flex[key] = create_block_mask(
                is_seen, None, None, len(query_T), len(position_T), device=str(self.device)
            )
        return self._flex[key]


@lru_cache(maxsize=2048)
def _triangle(size: int, device: str) -> Any:
    """Gives the additive causal mask of the last `size` keys, size x 1 x size; None for a single row."""
    if size == 1:
        return None
    return torch.full((size, size), float("-inf"), device=device).triu_(1)[:, None]


def _joined(runs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Joins runs that touch, so that fewer keys are copied together."""
    found: list[tuple[int, int]] = []
    for start, end in runs:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return tuple(found)


class _FlatAttention(torch.autograd.Function):  # type: ignore[misc]
    """Attention by blocks; queries K x Q x G x D, keys and values K x T x D."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, blocks: list[Block], scale: float) -> Any:
        num_heads, _, num_groups, width = query.shape
        out = torch.empty_like(query)
        num_scores = sum((b.end - b.start) * sum(j - i for i, j in b.keys) for b in blocks) * num_heads * num_groups
        is_kept = num_scores * query.element_size() <= KEEP_BYTES and any(ctx.needs_input_grad[:3])
        kept = []
        for block in blocks:
            keys = _gather(key, block.keys)
            share = _share(query, keys, block, scale)
            rows = (block.end - block.start) * num_groups
            torch.bmm(
                share, _gather(value, block.keys), out=out[:, block.start : block.end].view(num_heads, rows, width)
            )
            if is_kept:
                kept.append(share)
        ctx.blocks, ctx.scale, ctx.kept = blocks, scale, kept
        ctx.save_for_backward(query, key, value)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_out: Any) -> Any:
        query, key, value = ctx.saved_tensors
        num_heads, _, num_groups, width = query.shape
        grad_out = grad_out.contiguous()
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.zeros_like(key), torch.zeros_like(value)
        for number, block in enumerate(ctx.blocks):
            shape = (num_heads, (block.end - block.start) * num_groups, width)
            rows = slice(block.start, block.end)
            keys, values = _gather(key, block.keys), _gather(value, block.keys)
            share = ctx.kept[number] if ctx.kept else _share(query, keys, block, ctx.scale)
            slope = grad_out[:, rows].view(shape)
            to_values = torch.bmm(share.transpose(1, 2), slope)
            to_scores = torch._softmax_backward_data(
                torch.bmm(slope, values.transpose(1, 2)), share, -1, share.dtype
            ).mul_(ctx.scale)
            torch.bmm(to_scores, keys, out=grad_query[:, rows].view(shape))
            to_keys = torch.bmm(to_scores.transpose(1, 2), query[:, rows].view(shape))
            start = 0
            for first, last in block.keys:
                end = start + last - first
                grad_key[:, first:last] += to_keys[:, start:end]
                grad_value[:, first:last] += to_values[:, start:end]
                start = end
        return grad_query, grad_key, grad_value, None, None


def _gather(tensor: Any, runs: tuple[tuple[int, int], ...]) -> Any:
    """Gives the rows of some runs, a view where it is one run."""
    if len(runs) == 1:
        return tensor[:, runs[0][0] : runs[0][1]]
    return torch.cat([tensor[:, start:end] for start, end in runs], 1)


def _share(query: Any, keys: Any, block: Block, scale: float) -> Any:
    """Gives what each query of a block takes from each of its keys: K x (rows x G) x L, each row summing to 1."""
    num_heads, _, num_groups, width = query.shape
    num_rows = block.end - block.start
    rows = query[:, block.start : block.end].view(num_heads, num_rows * num_groups, width)
    scores = torch.bmm(rows, keys.transpose(1, 2)).mul_(scale)
    if block.mask is not None:
        size = block.mask.shape[-1]
        scores.view(num_heads, num_rows, num_groups, -1)[..., scores.shape[-1] - size :].add_(block.mask)
    return torch.softmax(scores, -1)


def flat_attention(
    query_KQGD: Any,
    key_KTD: Any,
    value_KTD: Any,
    plan: FlatPlan,
    *,
    scale: float,
    is_last: bool = False,
    window: int | None = None,
) -> Any:
    """Gives the attention output of flat rows, K x Q x G x D.

    Args:
        query_KQGD: queries by key head, row, head of that group; contiguous.
        key_KTD, value_KTD: keys and values of all rows.
        plan: who sees whom.
        scale: of the scores.
        is_last: queries are the predicting rows only.
        window: width of a sliding window.
    """
    dtype = value_KTD.dtype
    query_KQGD, key_KTD = query_KQGD.to(dtype), key_KTD.to(dtype)
    if query_KQGD.is_cuda:
        heads = query_KQGD.transpose(1, 2).flatten(0, 1)[None]
        mask = plan.flex_mask(is_last=is_last, window=window)
        out = _flex()(heads, key_KTD[None], value_KTD[None], block_mask=mask, scale=scale, enable_gqa=True)
        return out[0].unflatten(0, (len(key_KTD), -1)).transpose(1, 2)
    with torch.autocast(query_KQGD.device.type, enabled=False):
        blocks = plan.blocks(is_last=is_last, window=window)
        return _FlatAttention.apply(query_KQGD.contiguous(), key_KTD, value_KTD, blocks, scale)


@lru_cache(maxsize=1)
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
