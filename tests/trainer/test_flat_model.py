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
from trainer.attention import FlatPlan
from trainer.data import Example, Unit
from trainer.flat_model import FlatModel
from trainer.packing import make_pass
from trainer.recipes import Rows, StepTotals
from trainer.telemetry import Window, count_samples

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
    layouts = ["padded"] if way == "padded" else ["shared", "flat", "padded"]
    found = [step(flat, data, layout) for layout in layouts]
    flat.close()
    loss, gradient = reference(model, data)
    for output, grads in found:
        assert output.loss.item() == pytest.approx(loss.item(), rel=1e-6)
        assert far(grads, gradient) < 1e-5


def paired(seed: int = 4) -> list[Unit]:
    """Chosen and rejected answers to the same prompts."""
    rng = random.Random(seed)
    found: list[Unit] = []
    for _ in range(3):
        prompt = [rng.randrange(VOCABULARY) for _ in range(rng.randint(9, 20))]
        sides = []
        for _ in range(2):
            answer = [rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 6))]
            mask = [False] * len(prompt) + [True] * len(answer)
            sides.append(Example(ids=prompt + answer, is_supervised=mask, tag="skill=pair", place=""))
        found.append(tuple(sides))
    return found


def rows_of(rows: Rows) -> tuple[Any, ...]:
    return rows.hidden_NH, rows.head, rows.target_N, rows.weight_N, rows.sample_N


TEACHER = torch.Generator().manual_seed(5)
TEACHER_EMBEDDING = torch.randn(VOCABULARY, 16, generator=TEACHER)
LOSSES: dict[str, Callable[[Rows], Any]] = {
    "token mean": lambda rows: losses.sft(*rows_of(rows), num_samples=rows.num_samples, mean="token"),
    "example mean": lambda rows: losses.sft(*rows_of(rows), num_samples=rows.num_samples, mean="example"),
    "dpo": lambda rows: losses.dpo(*rows_of(rows), reference_S=torch.linspace(-30, -20, rows.num_samples), beta=0.3),
    "distill": lambda rows: losses.distill(
        *rows_of(rows),
        teacher_NH=TEACHER_EMBEDDING[rows.target_N],
        teacher_head=TEACHER_EMBEDDING,
        num_samples=rows.num_samples,
        temperature=2.0,
        hard_share=0.3,
    ),
    **{
        metric: lambda rows, metric=metric: losses.surprise_weighted(
            *rows_of(rows), num_samples=rows.num_samples, metric=metric
        )
        for metric in ("entropy", "confidence", "perplexity", "margin")
    },
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_the_gradient_of_the_padded_path(name: str) -> None:
    # Weights large enough that predictions differ: surprise is normalised, so of a flat model it is only rounding.
    flat = FlatModel(qwen3(initializer_range=0.3))
    data = paired() if name == "dpo" else units(5)
    expected, gradient = step(flat, data, "padded", LOSSES[name])
    for layout in ("flat", "shared"):
        output, grads = step(flat, data, layout, LOSSES[name])
        assert output.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)
        assert far(grads, gradient) < 1e-5
        assert torch.allclose(output.row_loss_N, expected.row_loss_N, rtol=1e-5, atol=1e-6)


def test_canary_never_reaches_another_samples_loss() -> None:
    flat = FlatModel(qwen3())
    data = units(4, stem=0)
    (canary,) = data[1]
    changed = [token if token != 7 else 8 for token in canary.ids[::-1]]
    other = [*data[:1], (Example(ids=changed, is_supervised=canary.is_supervised, tag="t", place=""),), *data[2:]]
    before, after = step(flat, data, "flat")[0], step(flat, other, "flat")[0]
    kept = torch.from_numpy(make_pass(list(enumerate(data)), layout="flat").sample_N != 1)
    assert torch.equal(before.row_loss_N[kept], after.row_loss_N[kept])
    assert not torch.equal(before.row_loss_N[~kept], after.row_loss_N[~kept])


def test_gradient_of_a_samples_loss_is_zero_at_every_token_only_others_hold() -> None:
    flat = FlatModel(model_of("llama", tie_word_embeddings=False))
    mine = Example(ids=[3, 4, 5, 6, 7], is_supervised=[False, False, False, True, True], tag="t", place="")
    secret = Example(ids=[50, 51, 52, 53], is_supervised=[False, True, True, True], tag="t", place="")

    def only_mine(rows: Rows) -> Any:
        loss_N, _ = losses.cross_entropy(rows.hidden_NH, rows.head, rows.target_N)
        return losses.LossOutput(loss=loss_N[rows.sample_N == 1].sum(), row_loss_N=loss_N.detach())

    step(flat, [(secret,), (mine,)], "shared", only_mine)
    touched = flat.model.get_input_embeddings().weight.grad.abs().sum(-1).nonzero().flatten().tolist()
    assert touched == [3, 4, 5, 6]


def test_rule_for_flex_attention_is_that_of_the_segments() -> None:
    one = make_pass(list(enumerate(units(5))), layout="shared")
    batch = one.batch
    plan = FlatPlan(batch)
    num = len(batch.ids_T)
    query, place = torch.arange(num)[:, None], torch.arange(num)[None]
    for window in (None, 5):
        seen = plan.flex_mask(window=window).mask_mod(0, 0, query, place)
        segment_T = torch.from_numpy(batch.segment_T())
        position_T = torch.from_numpy(batch.position_T)
        ahead = position_T[:, None] - position_T[None]
        expected = torch.from_numpy(batch.sees())[segment_T][:, segment_T] & (ahead >= 0)
        assert torch.equal(seen, expected if window is None else expected & (ahead < window))


def test_telemetry_counts_each_sample_under_its_own_tag() -> None:
    data = units(6)
    flat = FlatModel(qwen3())
    output, _ = step(flat, data, "shared")
    flat.close()
    one = make_pass(list(enumerate(data)), layout="shared")
    window = Window(0)
    tags = [example.tag for example in one.examples]
    count_samples(window, output.row_loss_N, torch.from_numpy(one.sample_N), one.count_S.tolist(), tags)
    found = {line.key.tag: line.stats for line in window.lines("r", 1, 0)}
    for tag, parity in (("skill=0", 0), ("skill=1", 1)):
        mine = data[parity::2]
        means = [reference(flat.model, [unit])[0].item() for unit in mine]
        assert found[tag].total == pytest.approx(sum(means), rel=1e-6)
        assert found[tag].n == 3
        assert found[tag].tokens == sum(unit[0].num_supervised for unit in mine)
    assert found["all"].total == pytest.approx(found["skill=0"].total + found["skill=1"].total)
