"""Flat, packed and padded passes give the same loss and gradient; nothing leaks; what can't run flat falls back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
import transformers

from trainer import losses
from trainer.data import Example, Unit
from trainer.flat_model import FlatModel
from trainer.packing import make_pass
from trainer.recipes import Rows, StepTotals

pytestmark = pytest.mark.torch
VOCABULARY = 120
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def model_of(name: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, **{**SHAPE, **more})
    return transformers.AutoModelForCausalLM.from_config(config)


def qwen3(**more: Any) -> Any:
    return model_of("qwen3", head_dim=8, tie_word_embeddings=True, **more)


def units(num: int, seed: int = 0, stem: int = 12) -> list[Unit]:
    """Examples that begin alike; the last goes on where the first ends."""
    rng = random.Random(seed)
    start = [rng.randrange(VOCABULARY) for _ in range(stem)]
    found: list[Unit] = []
    for index in range(num):
        asked, answered = rng.randint(3, 30), rng.randint(1, 9)
        ids = start + [rng.randrange(VOCABULARY) for _ in range(asked + answered)]
        mask = [False] * (stem + asked) + [True] * answered
        if index == num - 1 and num > 1:
            ids = [*found[0][0].ids, 5, 6, 7]
            mask = [False] * len(found[0][0].ids) + [True] * 3
        found.append((Example(ids=ids, is_supervised=mask, tag=f"skill={index % 2}", place=str(index)),))
    return found


def plain_sft(rows: Rows) -> losses.LossOutput:
    return losses.sft(
        rows.hidden_NH, rows.head, rows.target_N, rows.weight_N, rows.sample_N, num_samples=rows.num_samples
    )


def step(flat: FlatModel, data: list[Unit], layout: str, loss_of: Callable[[Rows], Any] = plain_sft) -> Any:
    """Gives the loss output of one pass and the gradient of every weight in one vector."""
    one = make_pass(list(enumerate(data)), layout=layout)
    totals = StepTotals(num_tokens=one.num_supervised, num_samples=len(one.examples), num_units=len(data))
    flat.model.zero_grad()
    with flat.holding():
        output = flat.run(one, loss_of, totals)
        output.loss.backward()
    weights = flat.model.parameters()
    return output, torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights])


def reference(model: Any, data: list[Unit]) -> tuple[Any, Any]:
    """The model's own forward pass, one example at a time."""
    model.zero_grad()
    total, count = torch.zeros(()), 0
    for (example,) in data:
        ids = torch.tensor([example.ids])
        wanted = torch.tensor(
            [token if keep else -100 for token, keep in zip(example.ids, example.is_supervised, strict=True)]
        )
        scores = model(input_ids=ids).logits[0, :-1].float()
        total = total + torch.nn.functional.cross_entropy(scores, wanted[1:], ignore_index=-100, reduction="sum")
        count += sum(example.is_supervised)
    (total / count).backward()
    weights = model.parameters()
    return total / count, torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights])


def far(one: Any, two: Any) -> float:
    return ((one - two).norm() / two.norm()).item()


WAYS = {
    "qwen3": ("native", qwen3),
    "qwen3 long": ("native", qwen3),
    "llama": ("native", lambda: model_of("llama")),
    "mistral with a window": ("native", lambda: model_of("mistral", sliding_window=9)),
    "qwen2": ("native", lambda: model_of("qwen2")),
    "granite": ("native", lambda: model_of("granite", logits_scaling=2.0)),
    "gemma3 with a window": ("interface", lambda: model_of("gemma3_text", head_dim=8, sliding_window=7)),
    "cohere": ("interface", lambda: model_of("cohere", logit_scale=0.5)),
    "gpt2": (
        "interface",
        lambda: model_of("gpt2", n_embd=32, n_layer=2, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0),
    ),
    "gemma2, whose scores are capped": ("padded", lambda: model_of("gemma2", head_dim=8)),
    "bloom, which takes no interface": ("padded", lambda: model_of("bloom", n_layer=2, n_head=4)),
    "attention that drops": ("padded", lambda: qwen3(attention_dropout=0.1)),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_gives_the_models_own_loss_and_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "long" in name:
        monkeypatch.setattr("trainer.attention.BLOCK_ROWS", 7)
        monkeypatch.setattr("trainer.attention.KEEP_BYTES", 0)
    way, make = WAYS[name]
    model, data, notes = make(), units(6), []
    flat = FlatModel(model)
    flat.settle_way(data, notes=notes)
    assert flat.way == way, notes
    assert bool(notes) == (way == "padded")
    model.train("drops" not in name)
    found = [
        step(flat, data, layout)
        for layout in dict.fromkeys([flat.layout, "flat", "padded"])
        if way != "padded" or layout == "padded"
    ]
    flat.close()
    loss, gradient = reference(model, data)
    for output, grads in found:
        assert output.loss.item() == pytest.approx(loss.item(), rel=1e-6)
        assert far(grads, gradient) < 1e-5
