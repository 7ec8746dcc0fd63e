"""A causal language model run on a pass of any layout: hidden rows that predict, and a loss made of them.

Three ways, best first: "native" (the decoder layers of trainer/decoder.py on flat rows), "interface" (the model's own
layers, our attention through transformers' AttentionInterface) and "padded" (the model as it is). Before the first step
the way is checked against the padded one, loss and gradients; where it differs or fails the next is taken and a note
says so. Everything happens inside the model's own forward, so wrappers around it (DDP, FSDP, autocast) stay in charge.
"""

# T flat tokens, B rows, N predictions, H hidden, V vocabulary

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from trainer.attention import FlatPlan, flat_attention
from trainer.data import Unit
from trainer.decoder import is_plain_layer, layer_forward
from trainer.layout import FlatBatch
from trainer.losses import Head, LossOutput, cross_entropy
from trainer.packing import Pass, make_pass
from trainer.recipes import Rows, StepTotals

ATTENTION = "frontier_flat"
"""Name under which our attention is known to transformers."""

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Relative error of loss and gradients up to which a layout counts as equal to the padded path, by precision."""

CHECK_TOKENS = 256
"""Tokens of each example the first-use check reads at most."""

_REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError)
"""What foreign model code raises when it is run in a way it was not made for."""

LossOf = Callable[[Rows], LossOutput]


class FlatModel:
    """Runs passes through a model.

    Args:
        model: a causal language model; adapters may be on it. It is changed in place until `close`.
        layout: "auto" or "flat" (flat where it agrees with the padded path), "padded".
    """

    def __init__(self, model: Any, layout: str = "auto") -> None:
        self.model = model
        self.way = "padded" if layout == "padded" else "native"
        self.plan: FlatPlan | None = None
        self._undo: list[Callable[[], None]] = []
        self._job: Callable[[Any], Any] | None = None
        self._former = self._config()._attn_implementation
        self._install()

    @property
    def layout(self) -> str:
        """The layout passes should have: "shared" where common beginnings may be computed once, else "padded"."""
        return "padded" if self.way == "padded" else "shared"

    def close(self) -> None:
        """Gives the model back as it was."""
        while self._undo:
            self._undo.pop()()

    def settle_way(self, units: Sequence[Unit], *, call: Any = None, notes: list[str], autocast: Any = None) -> None:
        """Chooses the best way that agrees with the padded path on a few examples; a way that is passed over is noted.

        Args:
            units: the data set; its shortest units are looked at.
            call: what to call for a forward pass (a wrapper around the model); the model itself when not given.
            notes: gets one remark when flat layout does not apply.
            autocast: a context manager factory for mixed precision.
        """
        if self.way == "padded":
            return
        if getattr(self._config(), "attention_dropout", 0):
            self.way = "padded"
            notes.append("padded layout: the model drops attention at random, which flat layout does not")
            return
        sample = check_units(units)
        layers = self._layers()
        ways = ["native", "interface"] if layers and all(map(is_plain_layer, layers)) else ["interface"]
        reasons = []
        was_training = self.model.training
        self.model.eval()
        try:
            for self.way in ways:
                reason = self._differs(sample, call or self.model, autocast)
                if not reason:
                    break
                reasons.append(f"{self.way}: {reason}")
            else:
                self.way = "padded"
        finally:
            self.model.train(was_training)
        if reasons:
            notes.append(f"layout {self.way}, since {type(self.model).__name__} gives another result flat: {reasons}")

    def run(self, one: Pass, loss_of: LossOf, step: StepTotals, *, call: Any = None, **more: Any) -> LossOutput:
        """Runs one pass forward and gives its loss; go back through it inside `holding`.

        Args:
            one: the pass, in `layout`.
            loss_of: makes the loss of the rows; called once, within the model's forward.
            step: what the whole step holds.
            call: what to call for a forward pass; the model itself when not given.
            more: further fields of `Rows`.
        """
        found: list[LossOutput] = []
        device = next(self.model.parameters()).device
        target_N, weight_N, sample_N, count_S = (
            torch.from_numpy(array).to(device) for array in (one.target_N, one.weight_N, one.sample_N, one.count_S)
        )

        def job(hidden: Any) -> Any:
            rows = Rows(
                hidden_NH=self._pick(hidden, one),
                head=self._head(),
                target_N=target_N,
                weight_N=weight_N,
                sample_N=sample_N,
                count_S=count_S,
                examples=one.examples,
                index_U=one.index_U,
                step=step,
                **more,
            )
            found.append(loss_of(rows))
            loss = found[0].loss
            return loss.reshape(1, 1, 1) if isinstance(loss, torch.Tensor) else hidden[..., :1]

        batch = one.batch
        self._job = job
        try:
            if isinstance(batch, FlatBatch):
                ids = torch.from_numpy(batch.ids_T).to(device)[None]
                places = torch.from_numpy(batch.position_T).to(device)[None]
                self._set_plan(FlatPlan(batch, device))
                (call or self.model)(input_ids=ids, position_ids=places, use_cache=False)
            else:
                self._set_plan(None)
                # No mask: padding stands on the right, where causal attention never looks from a real token.
                (call or self.model)(input_ids=torch.from_numpy(batch.ids_BT).to(device), use_cache=False)
        finally:
            self._job = None
        return found[0]

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keeps the pass's plan until the backward pass is through (layers may be computed again in it)."""
        try:
            yield
        finally:
            self._set_plan(None)

    def _set_plan(self, plan: FlatPlan | None) -> None:
        self.plan = plan
        # transformers makes no mask for an attention it knows no mask of, and the plan says who sees whom.
        self._config()._attn_implementation = self._former if plan is None else ATTENTION

    def _config(self) -> Any:
        return self.model.config.get_text_config()

    def _pick(self, hidden: Any, one: Pass) -> Any:
        batch = one.batch
        if not isinstance(batch, FlatBatch):
            return hidden.flatten(0, -2)[torch.from_numpy(batch.place_N).to(hidden.device)]
        assert self.plan is not None
        rows = hidden[0] if self.way == "native" else hidden[0][self.plan.row_R]
        pick_N = torch.from_numpy(batch.pick_N).to(hidden.device)
        return rows if len(pick_N) == len(rows) and (batch.pick_N[1:] > batch.pick_N[:-1]).all() else rows[pick_N]

    def _head(self) -> Head:
        """Gives the output head: its weight where it is that alone, else everything the model does for its logits."""
        module, config = self.model.get_output_embeddings(), self._config()
        cap = getattr(config, "final_logit_softcapping", None)
        scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
        if type(module) is nn.Linear and module.bias is None and not cap and scale == 1:
            return module.weight

        def logits(hidden: Any) -> Any:
            scores = type(module).forward(module, hidden) * scale
            return torch.tanh(scores / cap) * cap if cap else scores

        return logits

    def _layers(self) -> list[Any]:
        for module in self.model.modules():
            layers = getattr(module, "layers", None)
            if isinstance(layers, nn.ModuleList):
                return list(layers)
        return []

    def _install(self) -> None:
        head = self.model.get_output_embeddings()
        original = head.forward
        head.forward = lambda hidden: self._job(hidden) if self._job is not None else original(hidden)
        self._undo.append(partial(_drop_attribute, head, "forward"))
        if self.way == "padded":
            return
        layers = self._layers()
        for layer in layers:
            layer.forward = partial(self._layer, layer, layer.forward, layer is layers[-1])
            self._undo.append(partial(_drop_attribute, layer, "forward"))
        register()
        for module in self.model.modules():
            object.__setattr__(module, "frontier_flat", self)
            self._undo.append(partial(object.__delattr__, module, "frontier_flat"))

    def _layer(self, layer: Any, original: Any, is_last: bool, hidden: Any, *args: Any, **kwargs: Any) -> Any:
        if self.plan is None or self.way != "native":
            return original(hidden, *args, **kwargs)
        return layer_forward(layer, hidden, self.plan, kwargs["position_embeddings"], is_last=is_last)

    def _differs(self, sample: list[tuple[int, Unit]], call: Any, autocast: Any) -> str:
        """Says how the present way differs from the padded one, "" when it does not."""
        way, found = self.way, []
        try:
            for self.way in ("padded", way):
                found.append(self._probe(sample, call, autocast))
        except _REFUSALS as problem:
            if self.way == "padded":
                raise
            return f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0][:120]}"
        finally:
            self.way = way
            self._set_plan(None)
        (loss, grads), (other, others) = found
        limit = TOLERANCE.get(self.model.dtype if autocast is None else torch.bfloat16, 5e-2)
        if not abs(loss - other) <= limit * max(abs(loss), 1e-3):
            return f"loss {other:.6f} instead of {loss:.6f}"
        error = sum((a - b).square().sum().item() for a, b in zip(grads, others, strict=True)) ** 0.5
        size = sum(a.square().sum().item() for a in grads) ** 0.5
        if error > limit * max(size, 1e-12):
            return f"gradient differs by {error / max(size, 1e-12):.1e}"
        return self._leaks(sample, call, autocast, limit / 10)

    def _leaks(self, sample: list[tuple[int, Unit]], call: Any, autocast: Any, limit: float) -> str:
        """Says that an example's losses depend on another that lies before it in the pass, "" when they do not."""
        (_, before), behind = sample[0], sample[-1]
        found = []
        for turned in (before, tuple(replace(example, ids=example.ids[::-1]) for example in before)):
            one = make_pass([(0, turned), behind], layout="flat")
            step = StepTotals(num_tokens=one.num_supervised, num_samples=len(one.examples), num_units=2)

            def loss_of(rows: Rows, first: int = len(before)) -> LossOutput:
                loss_N, _ = cross_entropy(rows.hidden_NH, rows.head, rows.target_N)
                return LossOutput(loss=None, row_loss_N=loss_N[rows.sample_N >= first])

            with torch.no_grad(), self.holding(), (autocast or _nothing)():
                found.append(self.run(one, loss_of, step, call=call).row_loss_N)
        far = (found[0] - found[1]).abs().max().item()
        return "" if far <= limit * found[0].abs().max().item() else f"another tokens moves a loss by {far:.1e}"

    def _probe(self, sample: list[tuple[int, Unit]], call: Any, autocast: Any) -> tuple[float, list[Any]]:
        one = make_pass(sample, layout=self.layout)
        step = StepTotals(num_tokens=one.num_supervised, num_samples=len(one.examples), num_units=len(sample))

        def loss_of(rows: Rows) -> LossOutput:
            loss_N, _ = cross_entropy(rows.hidden_NH, rows.head, rows.target_N)
            return LossOutput(loss=loss_N.mean(), row_loss_N=loss_N.detach())

        weights = _probed(self.model, self._layers())
        with torch.enable_grad(), self.holding(), (autocast or _nothing)():
            loss = self.run(one, loss_of, step, call=call).loss
            grads = torch.autograd.grad(loss, weights, allow_unused=True)
        kept = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, grads, strict=True)]
        return loss.item(), [grad.float() for grad in kept]


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _drop_attribute(module: Any, name: str) -> None:
    module.__dict__.pop(name, None)


def _probed(model: Any, layers: list[Any]) -> list[Any]:
    """Gives the trainable weights of the first and last layer, or all where there are no layers to tell."""
    parts = [layers[0], layers[-1]] if layers else [model]
    found = {id(weight): weight for part in parts for weight in part.parameters() if weight.requires_grad}
    if not found:
        found = {id(weight): weight for weight in model.parameters() if weight.requires_grad}
    return list(found.values())


def check_units(units: Sequence[Unit]) -> list[tuple[int, Unit]]:
    """Gives the few units the first-use check reads: short ones, two of them alike at the start where there are."""
    picked: list[tuple[int, Unit]] = []
    order = sorted(range(len(units)), key=lambda index: (sum(len(e.ids) for e in units[index]), index))
    for index in (order[:2] + order[len(order) // 2 :][:1]) or []:
        unit = tuple(
            replace(example, ids=example.ids[:CHECK_TOKENS], is_supervised=example.is_supervised[:CHECK_TOKENS])
            for example in units[index]
        )
        if all(example.num_supervised for example in unit):
            picked.append((index, unit))
    return picked or [(0, units[0])]


def _flat_interface(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **kwargs: Any
) -> tuple[Any, None]:
    """Our attention as transformers calls it, inside a pass that has a plan."""
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if unknown or kwargs.get("dropout") or attention_mask is not None:
        raise NotImplementedError(f"attention with {', '.join(unknown) or 'dropout or a mask'}")
    mixed = flat_attention(
        query[0].unflatten(0, (key.shape[1], -1)).transpose(1, 2).contiguous(),
        key[0],
        value[0],
        module.frontier_flat.plan,
        scale=scaling if scaling is not None else query.shape[-1] ** -0.5,
        window=kwargs.get("sliding_window"),
    )
    return mixed.transpose(0, 1).flatten(1, 2)[None], None


def register() -> None:
    """Makes our attention known to transformers; doing so twice changes nothing."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _flat_interface)
