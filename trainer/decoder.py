"""One decoder layer on flat rows, for the large family built alike (Llama, Mistral, Qwen2, Qwen3 and their kin).

The modules of the model stay in place and are called for every matrix product, so adapters, hooks and sharding work as
ever. What lies between the products (norms, rotation, gating) is done here in fewer passes over memory, with gradients
by hand. The last layer computes queries, output and MLP for predicting rows alone. Whether a model is of the family is
judged by its parts here and by comparison with its own padded path in trainer/flat_model.py.
"""

# R rows, H hidden, F feed-forward width, D head width

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from trainer.attention import FlatPlan, flat_attention

_ATTENTION_PARTS = {"q_proj", "k_proj", "v_proj", "o_proj"}
_OPTIONAL_PARTS = {"q_norm", "k_norm", "rotary_emb", "rotary_fn"}


class _RmsNorm(torch.autograd.Function):  # type: ignore[misc]
    """x / rms(x) * weight, over the last axis."""

    @staticmethod
    def forward(ctx: Any, rows: Any, weight: Any, eps: float) -> Any:
        rows = rows.float()
        inverse = (rows.square().mean(-1, keepdim=True)).add_(eps).rsqrt_()
        ctx.save_for_backward(rows, weight, inverse)
        return (rows * inverse).mul_(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Any) -> Any:
        rows, weight, inverse = ctx.saved_tensors
        unit = rows * inverse
        grad_weight = (grad * unit).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        grad_unit = grad * weight
        along = torch.linalg.vecdot(grad_unit, unit)[..., None] / rows.shape[-1]
        return grad_unit.sub_(unit.mul_(along)).mul_(inverse), grad_weight, None


class _Gate(torch.autograd.Function):  # type: ignore[misc]
    """silu(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        opened = functional.silu(gate)
        ctx.save_for_backward(gate, up, opened)
        return opened * up

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Any) -> Any:
        gate, up, opened = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), grad * opened


class _Rotate(torch.autograd.Function):  # type: ignore[misc]
    """Rotary position embedding of R x heads x D rows by R x D/2 cosines and sines (halves, not pairs)."""

    @staticmethod
    def forward(ctx: Any, rows: Any, cos: Any, sin: Any) -> Any:
        ctx.save_for_backward(cos, sin)
        return _rotated(rows, cos, sin)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Any) -> Any:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, -sin), None, None


def _rotated(rows: Any, cos: Any, sin: Any) -> Any:
    first, second = rows.chunk(2, -1)
    out = torch.empty_like(rows)
    left, right = out.chunk(2, -1)
    torch.mul(first, cos, out=left)
    left.addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=right)
    right.addcmul_(first, sin)
    return out


def is_plain_layer(layer: Any) -> bool:
    """Says whether a decoder layer is built as this family's: by the names and kinds of its parts."""
    parts = {name for name, _ in layer.named_children()}
    if parts != {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}:
        return False
    attention = {name for name, _ in layer.self_attn.named_children()}
    if not attention >= _ATTENTION_PARTS or attention - _ATTENTION_PARTS - _OPTIONAL_PARTS:
        return False
    if {name for name, _ in layer.mlp.named_children()} != {"gate_proj", "up_proj", "down_proj", "act_fn"}:
        return False
    return all(map(_is_plain_norm, _norms(layer))) and _is_silu(layer.mlp.act_fn)


def _norms(layer: Any) -> list[Any]:
    found = [layer.input_layernorm, layer.post_attention_layernorm]
    found += [getattr(layer.self_attn, name) for name in ("q_norm", "k_norm") if hasattr(layer.self_attn, name)]
    return found


def _is_plain_norm(norm: Any) -> bool:
    """Says whether a norm gives what `_RmsNorm` gives (Gemma's adds 1 to its weight, others subtract the mean)."""
    weight = getattr(norm, "weight", None)
    if weight is None or not hasattr(norm, "variance_epsilon") or getattr(norm, "bias", None) is not None:
        return False
    with torch.no_grad():
        rows = torch.linspace(-1, 2, weight.shape[-1], device=weight.device, dtype=weight.dtype)[None]
        ours = _RmsNorm.apply(rows, weight, norm.variance_epsilon)
        return bool(
            torch.allclose(norm(rows).float(), ours.float(), rtol=1e-2 if weight.dtype != torch.float32 else 1e-5)
        )


def _is_silu(function: Any) -> bool:
    probe = torch.linspace(-3, 3, 7)
    return bool(torch.allclose(function(probe), functional.silu(probe)))


def _window(attention: Any) -> int | None:
    """Gives the width of a layer's sliding window: its own, or (Mistral) the whole model's."""
    if hasattr(attention, "sliding_window"):
        return attention.sliding_window  # type: ignore[no-any-return]
    return getattr(attention.config, "sliding_window", None)


def _norm(module: Any, rows: Any) -> Any:
    dtype = rows.dtype
    return _RmsNorm.apply(rows, module.weight, module.variance_epsilon).to(dtype)


def layer_forward(layer: Any, hidden_1RH: Any, plan: FlatPlan, rotation: Any, *, is_last: bool) -> Any:
    """Gives the layer's output rows: of all flat rows, or (`is_last`) of the predicting ones alone.

    Args:
        layer: a layer for which `is_plain_layer` holds.
        hidden_1RH: its input rows, with the batch axis the model keeps.
        plan: who sees whom.
        rotation: the model's cosines and sines, each 1 x R x D.
        is_last: whether only `plan.row_R` matter from here on.
    """
    attention = layer.self_attn
    hidden = hidden_1RH[0]
    width = attention.head_dim
    cos, sin = (half[0, :, None, : width // 2] for half in rotation)
    normed = _norm(layer.input_layernorm, hidden)
    key = attention.k_proj(normed).unflatten(-1, (-1, width))
    value = attention.v_proj(normed).unflatten(-1, (-1, width))
    query_cos, query_sin = cos, sin
    if is_last:
        hidden, normed = hidden.index_select(0, plan.row_R), normed.index_select(0, plan.row_R)
        query_cos, query_sin = cos[plan.row_R], sin[plan.row_R]
    query = attention.q_proj(normed).unflatten(-1, (-1, width))
    if hasattr(attention, "q_norm"):
        query, key = _norm(attention.q_norm, query), _norm(attention.k_norm, key)
    query = _Rotate.apply(query, query_cos, query_sin)
    key = _Rotate.apply(key, cos, sin)
    mixed = flat_attention(
        query.unflatten(1, (key.shape[1], -1)).transpose(0, 1).contiguous(),
        key.transpose(0, 1),
        value.transpose(0, 1),
        plan,
        scale=attention.scaling,
        is_last=is_last,
        window=_window(attention),
    )
    hidden = hidden + attention.o_proj(mixed.transpose(0, 1).flatten(1))
    normed = _norm(layer.post_attention_layernorm, hidden)
    mlp = layer.mlp
    hidden = hidden + mlp.down_proj(_Gate.apply(mlp.gate_proj(normed), mlp.up_proj(normed)))
    return hidden[None]
