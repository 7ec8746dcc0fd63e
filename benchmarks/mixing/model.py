"""A tiny causal model of the Qwen3 architecture in plain torch, and how it scores a batch.

RMSNorm before each part, grouped-query attention with normalised queries and keys and rotary positions, SwiGLU, tied
embeddings: what `transformers` calls Qwen3ForCausalLM, and from the same weights the same logits (a test holds them
side by side). Written out here because at this size transformers' own class takes 1.5 times the CPU of a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The size of the model; the default has about 100,000 parameters."""

    vocabulary: int
    width: int = 64
    layers: int = 2
    heads: int = 4
    key_heads: int = 2
    head_width: int = 16
    hidden: int = 192
    positions: int = 48
    rope_theta: float = 10_000.0


class Norm(torch.autograd.Function):
    """RMSNorm; its backward written out, which takes half the time of what autograd records."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Gives x / rms(x) * weight over the last dimension; `weight` may have more dimensions before it."""
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True).add_(EPSILON))
        unit = x * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the gradients of x and weight."""
        unit, scale, weight = ctx.saved_tensors
        grad_weight = (grad * unit).flatten(0, -1 - weight.dim()).sum(0)
        grad = grad * weight
        along = (grad * unit).mean(-1, keepdim=True)
        return grad.addcmul_(unit, along, value=-1.0).mul_(scale), grad_weight


class Rotate(torch.autograd.Function):
    """Rotary positions: each pair (first half, second half) turned by its angle; backward turns back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Gives x turned; cos and sin hold half of x's last dimension."""
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Gives the gradient of x."""
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, -sin), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    out = torch.empty_like(x)
    left, right = out.chunk(2, -1)
    torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1.0)
    torch.mul(second, cos, out=right).addcmul_(first, sin)
    return out


class Attention(nn.Module):
    """Grouped-query attention with RMS-normalised queries and keys; one product gives queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.q_proj = nn.Linear(config.width, config.heads * config.head_width, bias=False)
        self.k_proj = nn.Linear(config.width, config.key_heads * config.head_width, bias=False)
        self.v_proj = nn.Linear(config.width, config.key_heads * config.head_width, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_width, config.width, bias=False)
        self.q_norm = nn.RMSNorm(config.head_width, eps=EPSILON)
        self.k_norm = nn.RMSNorm(config.head_width, eps=EPSILON)

    def forward(self, x_btd: Tensor, cos_t1e: Tensor, sin_t1e: Tensor, mask_b1tt: Tensor) -> Tensor:
        """B rows, T tokens, D width, H heads, E width of a head; gives what `o_proj` takes."""
        batch, tokens, _ = x_btd.shape
        config = self.config
        heads, key_heads = config.heads, config.key_heads
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight))
        qkv = functional.linear(x_btd, weight).view(batch, tokens, -1, config.head_width)
        scale = torch.cat((self.q_norm.weight.expand(heads, -1), self.k_norm.weight.expand(key_heads, -1)))
        qk = Rotate.apply(Norm.apply(qkv[:, :, : heads + key_heads], scale), cos_t1e, sin_t1e)
        groups = heads // key_heads
        q = qk[:, :, :heads].transpose(1, 2)
        k = qk[:, :, heads:].transpose(1, 2).repeat_interleave(groups, 1)
        v = qkv[:, :, heads + key_heads :].transpose(1, 2).repeat_interleave(groups, 1)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_b1tt)
        return out.transpose(1, 2).reshape(batch, tokens, -1)


class Layer(nn.Module):
    """One block: attention, then SwiGLU, each behind a norm and beside a residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.width, eps=EPSILON)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.width, eps=EPSILON)
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(config.width, config.hidden, bias=False),
                "up_proj": nn.Linear(config.width, config.hidden, bias=False),
                "down_proj": nn.Linear(config.hidden, config.width, bias=False),
            }
        )

    def forward(
        self, x_btd: Tensor, cos_t1e: Tensor, sin_t1e: Tensor, mask_b1tt: Tensor, places_n: Tensor | None = None
    ) -> Tensor:
        """Gives the residual stream after the block; with `places_n` only there, as rows of N."""
        seen = self.self_attn(Norm.apply(x_btd, self.input_layernorm.weight), cos_t1e, sin_t1e, mask_b1tt)
        if places_n is not None:
            x_btd, seen = x_btd.flatten(0, 1)[places_n], seen.flatten(0, 1)[places_n]
        x_btd = x_btd + self.self_attn.o_proj(seen)
        inner = Norm.apply(x_btd, self.post_attention_layernorm.weight)
        mlp = self.mlp
        return x_btd + mlp["down_proj"](functional.silu(mlp["gate_proj"](inner)) * mlp["up_proj"](inner))


class TinyQwen3(nn.Module):
    """The model; parameter names are those of `Qwen3ForCausalLM` without its prefix `model.`."""

    def __init__(self, config: ModelConfig, *, seed: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=EPSILON)
        frequencies = config.rope_theta ** (-torch.arange(0, config.head_width, 2) / config.head_width)
        angles = torch.outer(torch.arange(config.positions), frequencies)[:, None]
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() > 1:  # norms stay at one
                    parameter.normal_(0.0, config.width**-0.5 / 2, generator=generator)

    def forward(self, ids_bt: Tensor, mask_b1tt: Tensor, places_n: Tensor) -> Tensor:
        """Gives the last hidden state at places (row by row); `logits` of it is a product with the embeddings.

        `mask_b1tt` is added to the attention scores: 0 where a token may look, -inf elsewhere. Positions run through a
        row of several examples: rotary attention only sees differences of positions. What the last block makes of
        other places nobody looks at, so it is not computed there.
        """
        cos, sin = self.cos[: ids_bt.shape[1]], self.sin[: ids_bt.shape[1]]
        x_btd = self.embed_tokens(ids_bt)
        for layer in self.layers[:-1]:
            x_btd = layer(x_btd, cos, sin, mask_b1tt)
        return Norm.apply(self.layers[-1](x_btd, cos, sin, mask_b1tt, places_n), self.norm.weight)

    def logits(self, hidden_nd: Tensor) -> Tensor:
        """Gives the logits of the next token."""
        return hidden_nd @ self.embed_tokens.weight.T


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Examples packed into rows: ids, the mask that keeps them apart, and what counts.

    `places_n` are the places (row by row) whose next token counts, `targets_n` those tokens, `owners_n` the example
    each belongs to, `num` how many examples there are.
    """

    ids_bt: Tensor
    mask_b1tt: Tensor
    places_n: Tensor
    targets_n: Tensor
    owners_n: Tensor
    num: int


def pack(examples: list[tuple[list[int], list[int]]], *, width: int = 24) -> Batch:
    """Packs (ids, labels) into rows of at least `width` tokens, longest first, each into the first row with room.

    Rows instead of padding: of a padded batch of these skills nearly half would be padding.
    """
    width = max(width, *(len(ids) for ids, _ in examples))
    order = sorted(range(len(examples)), key=lambda index: -len(examples[index][0]))
    rows: list[list[int]] = []
    spans: list[list[int]] = []  # which example each place of a row belongs to
    places: list[tuple[int, int, int]] = []
    for index in order:
        ids, labels = examples[index]
        at = next((i for i, row in enumerate(rows) if len(row) + len(ids) <= width), len(rows))
        if at == len(rows):
            rows.append([])
            spans.append([])
        start = len(rows[at])
        rows[at] += ids
        spans[at] += [index] * len(ids)
        places += [(at * width + start + i, label, index) for i, label in enumerate(labels) if label >= 0]
    for row, span in zip(rows, spans, strict=True):
        span += [-1] * (width - len(row))
        row += [0] * (width - len(row))
    spans_bt = torch.tensor(spans)
    same = spans_bt[:, :, None] == spans_bt[:, None, :]
    allowed = same & torch.ones(width, width, dtype=torch.bool).tril()
    mask = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
    places_n, targets_n, owners_n = torch.tensor(places).T
    return Batch(
        ids_bt=torch.tensor(rows),
        mask_b1tt=mask[:, None],
        places_n=places_n,
        targets_n=targets_n,
        owners_n=owners_n,
        num=len(examples),
    )


def score(model: TinyQwen3, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Gives the mean loss over answer tokens, each example's mean loss, and whether each would be answered right.

    All tokens of an answer being the likeliest ones given those before is the same as greedy decoding giving that
    answer, so one forward pass is an exact-match evaluation.
    """
    logits_nv = model.logits(model(batch.ids_bt, batch.mask_b1tt, batch.places_n))
    losses_n = functional.cross_entropy(logits_nv, batch.targets_n, reduction="none")
    counts = torch.zeros(batch.num).index_add_(0, batch.owners_n, torch.ones(len(losses_n)))
    each = torch.zeros(batch.num).index_add_(0, batch.owners_n, losses_n.detach()) / counts
    wrong_n = (logits_nv.detach().argmax(-1) != batch.targets_n).float()
    right = torch.zeros(batch.num).index_add_(0, batch.owners_n, wrong_n) == 0
    return losses_n.mean(), each, right
