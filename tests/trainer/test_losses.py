"""Losses against their formulas, written out, and the surprise weights against the promises made of them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from trainer import losses

pytestmark = pytest.mark.torch


@pytest.fixture
def rows() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {
        "hidden": torch.randn(12, 8, generator=generator, requires_grad=True),
        "weight": torch.randn(20, 8, generator=generator, requires_grad=True),
        "target": torch.randint(0, 20, (12,), generator=generator),
        "sample": torch.tensor([0] * 5 + [1] * 4 + [2] * 1 + [3] * 2),
    }


def plain(rows: dict[str, Any]) -> Any:
    return torch.nn.functional.cross_entropy(rows["hidden"] @ rows["weight"].T, rows["target"], reduction="none")


def gradients(loss: Any, rows: dict[str, Any]) -> Any:
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, [rows["hidden"], rows["weight"]])])


def far(one: Any, two: Any) -> float:
    return ((one - two).norm() / two.norm()).item()


@pytest.mark.parametrize("block_bytes", [2**28, 8 * 20 * 4 * 3])
@pytest.mark.parametrize("is_function", [False, True])
def test_cross_entropy_and_its_gradient_are_torchs(
    rows: dict[str, Any], block_bytes: int, is_function: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "BLOCK_BYTES", block_bytes)
    head = (lambda hidden: hidden @ rows["weight"].T) if is_function else rows["weight"]
    loss_N, _ = losses.cross_entropy(rows["hidden"], head, rows["target"])
    scale = torch.linspace(0.5, 2, 12)
    assert far(loss_N, plain(rows)) < 1e-6
    assert far(gradients((loss_N * scale).sum(), rows), gradients((plain(rows) * scale).sum(), rows)) < 1e-6


@pytest.mark.parametrize(
    ("metric", "formula"),
    [
        ("entropy", lambda p, target: -(p * p.log()).sum(-1)),
        ("confidence", lambda p, target: 1 - p.max(-1).values),
        ("perplexity", lambda p, target: 1 / p.gather(-1, target[:, None])[:, 0]),
        (
            "margin",
            lambda p, target: (
                1 - p.gather(-1, target[:, None])[:, 0] + p.scatter(-1, target[:, None], -1.0).max(-1).values
            ),
        ),
    ],
)
def test_each_surprise_is_its_formula_detached_and_safe_at_ignored_targets(
    rows: dict[str, Any], metric: Any, formula: Any
) -> None:
    expected = formula((rows["hidden"] @ rows["weight"].T).softmax(-1), rows["target"]).detach()
    target = rows["target"].clone()
    target[3] = losses.IGNORE
    loss_N, surprise_N = losses.cross_entropy(rows["hidden"], rows["weight"], target, surprise=metric)
    assert not surprise_N.requires_grad
    assert (loss_N[3].item(), surprise_N[3].item()) == (0.0, 0.0)
    keep = target != losses.IGNORE
    assert torch.allclose(surprise_N[keep], expected[keep], rtol=1e-4, atol=1e-5)
    weights = losses.surprise_weights(surprise_N, keep)
    assert weights[keep].mean().item() == pytest.approx(1.0, abs=1e-6)
    assert weights[3].item() == 0.0
    order = surprise_N[keep].argsort()
    assert (weights[keep][order].diff() >= 0).all()


@pytest.mark.parametrize("metric", ["entropy", "confidence", "perplexity", "margin"])
def test_weighted_loss_has_the_gradient_of_fixed_weights(rows: dict[str, Any], metric: Any) -> None:
    ones = torch.ones(12)
    output = losses.surprise_weighted(
        rows["hidden"], rows["weight"], rows["target"], ones, rows["sample"], num_samples=4, metric=metric
    )
    _, surprise_N = losses.cross_entropy(rows["hidden"], rows["weight"], rows["target"], surprise=metric)
    fixed = losses.surprise_weights(surprise_N, ones > 0)
    assert far(gradients(output.loss, rows), gradients((plain(rows) * fixed).sum() / 12, rows)) < 1e-6


def test_equal_surprise_weighs_one_and_no_valid_row_weighs_nothing() -> None:
    assert losses.surprise_weights(torch.full((4,), 2.0), torch.ones(4) > 0).tolist() == [1.0] * 4
    assert losses.surprise_weights(torch.full((2,), 2.0), torch.zeros(2) > 0).tolist() == [0.0, 0.0]


def test_perfect_next_token_logits_have_no_loss() -> None:
    # The rows come aligned: nothing may be shifted once more.
    target = torch.arange(6)
    loss_N, _ = losses.cross_entropy(torch.eye(6) * 50, torch.eye(6), target)
    assert loss_N.max().item() < 1e-6


def test_means_over_tokens_and_over_examples(rows: dict[str, Any]) -> None:
    given = (rows["hidden"], rows["weight"], rows["target"], torch.ones(12), rows["sample"])
    by_row = plain(rows)
    token = losses.sft(*given, num_samples=4, mean="token").loss
    example = losses.sft(*given, num_samples=4, mean="example").loss
    assert token.item() == pytest.approx(by_row.mean().item())
    parts = [by_row[rows["sample"] == index].mean().item() for index in range(4)]
    assert example.item() == pytest.approx(sum(parts) / 4)


def test_dpo_is_the_written_formula(rows: dict[str, Any]) -> None:
    reference = torch.tensor([-9.0, -11.0, -2.0, -5.0])
    output = losses.dpo(
        rows["hidden"],
        rows["weight"],
        rows["target"],
        torch.ones(12),
        rows["sample"],
        reference_S=reference,
        beta=0.2,
    )
    logp = [-plain(rows)[rows["sample"] == index].sum() for index in range(4)]
    margins = [0.2 * ((logp[2 * i] - reference[2 * i]) - (logp[2 * i + 1] - reference[2 * i + 1])) for i in range(2)]
    expected = sum(-torch.nn.functional.logsigmoid(margin) for margin in margins) / 2
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert far(gradients(output.loss, rows), gradients(expected, rows)) < 1e-5
    assert output.metrics["margin"].tolist() == pytest.approx([margin.item() for margin in margins], rel=1e-4)
    assert output.rates["accuracy"].tolist() == [margin.item() > 0 for margin in margins]


@pytest.mark.parametrize("block_bytes", [2**28, 2000])
def test_distillation_is_kl_and_nothing_at_the_teacher_itself(
    rows: dict[str, Any], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "BLOCK_BYTES", block_bytes)
    given = (rows["hidden"], rows["weight"], rows["target"], torch.ones(12), rows["sample"])
    teacher = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
    head = torch.randn(20, 5, generator=torch.Generator().manual_seed(2))
    output = losses.distill(*given, teacher_NH=teacher, teacher_head=head, num_samples=4, temperature=2.0)
    student = (rows["hidden"] @ rows["weight"].T / 2).log_softmax(-1)
    wanted = (teacher @ head.T / 2).log_softmax(-1)
    expected = torch.nn.functional.kl_div(student, wanted, log_target=True, reduction="batchmean") * 4
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert far(gradients(output.loss, rows), gradients(expected, rows)) < 1e-5
    for direction in ("forward", "reverse", "jensen_shannon"):
        same = losses.distill(
            *given,
            teacher_NH=rows["hidden"].detach(),
            teacher_head=rows["weight"].detach(),
            num_samples=4,
            direction=direction,
        )
        assert same.loss.item() == pytest.approx(0.0, abs=1e-6)


def test_distillation_from_the_best_tokens_of_an_endpoint(rows: dict[str, Any]) -> None:
    given = (rows["hidden"], rows["weight"], rows["target"], torch.ones(12), rows["sample"])
    logp, ids = (rows["hidden"] @ rows["weight"].T).log_softmax(-1).detach().topk(3)
    same = losses.distill_top_k(*given, teacher_ids_NK=ids, teacher_logp_NK=logp, num_samples=4)
    assert same.loss.item() == pytest.approx(0.0, abs=1e-6)
    ids, logp = ids.flip(-1).clone(), logp.clone()
    ids[0] = losses.IGNORE
    other = losses.distill_top_k(*given, teacher_ids_NK=ids, teacher_logp_NK=logp, num_samples=4)
    assert other.loss.item() > 0.01
    assert other.row_loss_N[0].item() == 0.0
    assert (other.row_loss_N >= 0).all()
