"""Losses as pure functions of (hidden rows, output head, targets, row weights, sample ids): one layout, every method.

Only rows that predict a supervised token come here. Where all logits at once would be too large the head and the
cross-entropy run in blocks of rows and the logits are made again for the gradient. Weights by surprise are detached
and have mean 1, so that they never act as a hidden learning rate. Nothing here knows a model, a batch layout or a tag.
"""

# N predictions, H hidden, V vocabulary, S samples, P pairs, K best tokens of a teacher

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch.nn import functional

Surprise = Literal["none", "entropy", "confidence", "perplexity", "margin"]
SURPRISES: tuple[Surprise, ...] = get_args(Surprise)

BLOCK_BYTES = 256 * 2**20
"""Logits kept for the gradient at most; above it they are made in blocks of an eighth of this, twice."""

IGNORE = -100
"""A target that stands for no prediction, as elsewhere: no loss, weight 0, left out of every mean."""

Head = Any
"""The output head: its weight, a V x H tensor, or a function from N x H hidden rows to N x V logits (a bias, a cap)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOutput:
    """What a loss gives.

    `loss` is the scalar to go back through; `row_loss_N` the detached cross-entropy (or divergence) of every
    prediction, for telemetry; `metrics` further detached values per sample or per unit (pair), by name: one named
    "loss" is reported as the loss instead of the mean over rows. `rates` are such values that are 0 or 1. `is_hit_N`,
    where `Rows.is_fresh_S` asks for it, says of each row whether its target was the likeliest token.
    """

    loss: Any
    row_loss_N: Any
    metrics: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, Any] = field(default_factory=dict)
    is_hit_N: Any = None


class _LinearCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Cross-entropy of hidden rows through a weight, blockwise; also gives the rows' surprise, without gradient."""

    @staticmethod
    def forward(ctx: Any, hidden_NH: Any, weight_VH: Any, target_N: Any, surprise: str, is_hit_N: Any) -> Any:
        ctx.set_materialize_grads(False)
        num, block = len(target_N), _block_rows(len(target_N), len(weight_VH))
        loss_N = hidden_NH.new_empty(num, dtype=torch.float32)
        surprise_N = torch.zeros_like(loss_N)
        kept = None
        for start in range(0, num, block):
            rows = slice(start, start + block)
            logp = (hidden_NH[rows] @ weight_VH.T).log_softmax(-1, dtype=torch.float32)
            right = logp.gather(-1, target_N[rows, None])[:, 0]
            loss_N[rows] = -right
            if is_hit_N is not None:
                is_hit_N[rows] = right >= logp.amax(-1)
            if surprise != "none":
                surprise_N[rows] = _surprise(logp, target_N[rows], surprise)
            kept = logp if block >= num else None
        ctx.block, ctx.kept = block, kept
        ctx.save_for_backward(hidden_NH, weight_VH, target_N)
        ctx.mark_non_differentiable(surprise_N)
        return loss_N, surprise_N

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad_N = grads[0]
        if grad_N is None:
            return None, None, None, None, None
        hidden_NH, weight_VH, target_N = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden_NH) if needs_hidden else None
        grad_weight = None
        for start in range(0, len(target_N), ctx.block):
            rows = slice(start, start + ctx.block)
            logp = ctx.kept
            if logp is None:
                logp = (hidden_NH[rows] @ weight_VH.T).log_softmax(-1, dtype=torch.float32)
            slope = logp.exp()
            slope[torch.arange(len(slope), device=slope.device), target_N[rows]] -= 1
            slope = slope.mul_(grad_N[rows, None]).to(hidden_NH.dtype)
            if grad_hidden is not None:
                grad_hidden[rows] = slope @ weight_VH
            if needs_weight:
                part = slope.T @ hidden_NH[rows]
                grad_weight = part if grad_weight is None else grad_weight.add_(part)
        return grad_hidden, grad_weight, None, None, None


def _block_rows(num_rows: int, num_vocab: int) -> int:
    """Gives how many rows' logits are made at once: all when they fit in `BLOCK_BYTES`."""
    if num_rows * num_vocab * 4 <= BLOCK_BYTES:
        return max(1, num_rows)
    return max(1, BLOCK_BYTES // 8 // (num_vocab * 4))


def _surprise(logp_NV: Any, target_N: Any, metric: str) -> Any:
    if metric == "entropy":
        return -torch.linalg.vecdot(logp_NV.exp(), logp_NV)
    if metric == "confidence":
        return 1 - logp_NV.amax(-1).exp()
    right_N = logp_NV.gather(-1, target_N[:, None])[:, 0]
    if metric == "perplexity":
        return (-right_N).exp()
    assert metric == "margin", metric
    others_NV = logp_NV.scatter(-1, target_N[:, None], float("-inf"))
    return 1 - (right_N.exp() - others_NV.amax(-1).exp())


def cross_entropy(
    hidden_NH: Any, head: Head, target_N: Any, *, surprise: Surprise = "none", is_hit_N: Any = None
) -> tuple[Any, Any]:
    """Gives every row's cross-entropy, differentiable, and its surprise, detached (zeros for "none"), in float32.

    Args:
        hidden_NH: the rows before the output head; row i predicts `target_N[i]`, nothing is shifted here.
        head: see `Head`.
        target_N: token ids; `IGNORE` gives loss 0 and surprise 0.
        surprise: entropy of the prediction | confidence: 1 - max p | perplexity: 1/p(target) |
            margin: 1 - (p(target) - p(best other)).
        is_hit_N: booleans to fill: whether each target is the likeliest token.
    """
    is_ignored_N = target_N == IGNORE
    safe_N = target_N.masked_fill(is_ignored_N, 0)
    if isinstance(head, torch.Tensor):
        loss_N, surprise_N = _LinearCrossEntropy.apply(hidden_NH, head, safe_N, surprise, is_hit_N)
    else:
        logp_NV = head(hidden_NH).log_softmax(-1, dtype=torch.float32)
        loss_N = -logp_NV.gather(-1, safe_N[:, None])[:, 0]
        if is_hit_N is not None:
            is_hit_N.copy_(-loss_N.detach() >= logp_NV.detach().amax(-1))
        surprise_N = torch.zeros_like(loss_N)
        if surprise != "none":
            with torch.no_grad():
                surprise_N = _surprise(logp_NV, safe_N, surprise)
    return loss_N.masked_fill(is_ignored_N, 0.0), surprise_N.masked_fill(is_ignored_N, 0.0)


def surprise_weights(
    surprise_N: Any, is_valid_N: Any, *, minimum: float = 0.1, maximum: float = 10.0, temperature: float = 1.0
) -> Any:
    """Gives detached row weights that grow with surprise, with mean 1 over the valid rows and 0 elsewhere.

    z = (s - mean) / std / temperature, w = minimum + sigmoid(z) * (maximum - minimum), divided by the mean of w.
    Source: the FortuneTellerLoss of the system's documents, whose weights had mean ~5 and so moved the learning rate.
    """
    with torch.no_grad():
        valid = surprise_N[is_valid_N].double()
        weight_N = torch.zeros_like(surprise_N, dtype=torch.float32)
        if not len(valid):
            return weight_N
        spread = valid.std(unbiased=False)
        scores = (valid - valid.mean()) / spread if spread > 0 else torch.zeros_like(valid)
        weights = minimum + torch.sigmoid(scores / temperature) * (maximum - minimum)
        weight_N[is_valid_N] = (weights / weights.mean()).float()
        return weight_N


def sample_sums(value_N: Any, sample_N: Any, num_samples: int) -> Any:
    """Adds row values up by sample (or tag, or any group), S of them; differentiable."""
    return value_N.new_zeros(num_samples).index_add(0, sample_N, value_N)


def mean_loss(
    loss_N: Any, weight_N: Any, sample_N: Any, *, num_samples: int, mean: str, total: float, count_S: Any = None
) -> Any:
    """Gives the weighted mean of row losses as this pass's share of a step's loss.

    Args:
        loss_N: row losses.
        weight_N: row weights.
        sample_N: the sample of each row.
        num_samples: samples of this pass.
        mean: "token" (sum over rows / `total` tokens of the step) or "example" (each sample's mean over its rows,
            their sum / `total` samples of the step).
        total: tokens or samples of the whole step.
        count_S: rows per sample; counted here when not given.
    """
    weighted_N = loss_N * weight_N
    if mean == "token":
        return weighted_N.sum() / total
    assert mean == "example", mean
    if count_S is None:
        count_S = sample_sums(torch.ones_like(weight_N), sample_N, num_samples)
    return (sample_sums(weighted_N, sample_N, num_samples) / count_S.clamp(min=1)).sum() / total


def sft(
    hidden_NH: Any,
    head: Head,
    target_N: Any,
    weight_N: Any,
    sample_N: Any,
    *,
    num_samples: int,
    mean: str = "token",
    total: float | None = None,
) -> LossOutput:
    """Supervised loss: weighted cross-entropy, mean over tokens or over examples.

    Args:
        hidden_NH, head, target_N: see `cross_entropy`.
        weight_N: weight of each row, 1 for plain training.
        sample_N: sample of each row, in [0, num_samples).
        num_samples: samples of this pass.
        mean: see `mean_loss`.
        total: tokens or samples of the whole step; None: of these rows alone.
    """
    loss_N, _ = cross_entropy(hidden_NH, head, target_N)
    if total is None:
        total = float((target_N != IGNORE).sum()) if mean == "token" else float(num_samples)
    loss = mean_loss(loss_N, weight_N, sample_N, num_samples=num_samples, mean=mean, total=total)
    return LossOutput(loss=loss, row_loss_N=loss_N.detach())


def surprise_weighted(
    hidden_NH: Any,
    head: Head,
    target_N: Any,
    weight_N: Any,
    sample_N: Any,
    *,
    num_samples: int,
    metric: Surprise,
    mean: str = "token",
    total: float | None = None,
    minimum: float = 0.1,
    maximum: float = 10.0,
    temperature: float = 1.0,
) -> LossOutput:
    """Supervised loss whose rows weigh by surprise; arguments as in `sft` and `surprise_weights`.

    LIMIT: surprise is normalised over the rows given; give all rows of a step at once, or the rows' weights.
    """
    loss_N, surprise_N = cross_entropy(hidden_NH, head, target_N, surprise=metric)
    is_valid_N = target_N != IGNORE
    more_N = surprise_weights(surprise_N, is_valid_N, minimum=minimum, maximum=maximum, temperature=temperature)
    if total is None:
        total = float(is_valid_N.sum()) if mean == "token" else float(num_samples)
    loss = mean_loss(loss_N, weight_N * more_N, sample_N, num_samples=num_samples, mean=mean, total=total)
    surprises_S = sample_sums(surprise_N, sample_N, num_samples)
    counts_S = sample_sums(is_valid_N.float(), sample_N, num_samples).clamp(min=1)
    return LossOutput(loss=loss, row_loss_N=loss_N.detach(), metrics={"surprise": surprises_S / counts_S})


def sequence_logps(
    hidden_NH: Any, head: Head, target_N: Any, weight_N: Any, sample_N: Any, *, num_samples: int
) -> tuple[Any, Any]:
    """Gives each sample's summed log-probability (differentiable), S of them, and the rows' detached losses."""
    loss_N, _ = cross_entropy(hidden_NH, head, target_N)
    return -sample_sums(loss_N * weight_N, sample_N, num_samples), loss_N.detach()


def dpo(
    hidden_NH: Any,
    head: Head,
    target_N: Any,
    weight_N: Any,
    sample_N: Any,
    *,
    reference_S: Any,
    beta: float = 0.1,
    kind: str = "sigmoid",
    label_smoothing: float = 0.0,
    margin_P: Any = None,
    total: float | None = None,
) -> LossOutput:
    """Direct preference loss; sample 2i is the chosen and 2i+1 the rejected answer of pair i.

    Args:
        hidden_NH, head, target_N, weight_N, sample_N: as in `sft`.
        reference_S: summed log-probabilities of the samples under the reference model.
        beta: strength of the tie to the reference.
        kind: "sigmoid" (Rafailov et al. 2023, eq. 7), "hinge" (SLiC) or "ipo" (Azar et al. 2023, eq. 17, over
            log-probabilities per token).
        label_smoothing: share of pairs assumed to be labelled the wrong way round (sigmoid only).
        margin_P: least wanted reward margin of each pair, 0 when not given.
        total: pairs of the whole step; None: of these rows alone.
    Returns:
        Metrics per pair: `loss`, `margin` (difference of implicit rewards); rate `accuracy` (chosen is ahead).
    """
    num_samples = len(reference_S)
    logp_S, row_loss_N = sequence_logps(hidden_NH, head, target_N, weight_N, sample_N, num_samples=num_samples)
    gain_S = logp_S - reference_S
    if kind == "ipo":
        gain_S = gain_S / sample_sums(torch.ones_like(weight_N), sample_N, num_samples).clamp(min=1)
    difference_P = gain_S[0::2] - gain_S[1::2]
    margin_of_P = beta * difference_P
    wanted_P = margin_of_P if margin_P is None else margin_of_P - margin_P
    if kind == "sigmoid":
        loss_P = -functional.logsigmoid(wanted_P) * (1 - label_smoothing)
        if label_smoothing:
            loss_P = loss_P - functional.logsigmoid(-wanted_P) * label_smoothing
    elif kind == "hinge":
        loss_P = (1 - wanted_P).clamp(min=0)
    else:
        assert kind == "ipo", kind
        loss_P = (difference_P - 1 / (2 * beta)) ** 2
    margin_of_P = margin_of_P.detach()
    return LossOutput(
        loss=loss_P.sum() / (total or len(loss_P)),
        row_loss_N=row_loss_N,
        metrics={"loss": loss_P.detach(), "margin": margin_of_P},
        rates={"accuracy": margin_of_P > 0},
    )


def _logits(hidden: Any, head: Head) -> Any:
    return (hidden @ head.T if isinstance(head, torch.Tensor) else head(hidden)).float()


def _kl(student: Any, teacher: Any, direction: str) -> Any:
    """Gives the divergence of each row from log-probabilities."""
    if direction == "forward":
        return (teacher.exp() * (teacher - student)).sum(-1)
    if direction == "reverse":
        return (student.exp() * (student - teacher)).sum(-1)
    assert direction == "jensen_shannon", direction
    middle = torch.logaddexp(student, teacher) - 0.6931471805599453
    return 0.5 * (teacher.exp() * (teacher - middle) + student.exp() * (student - middle)).sum(-1)


def distill(
    hidden_NH: Any,
    head: Head,
    target_N: Any,
    weight_N: Any,
    sample_N: Any,
    *,
    teacher_NH: Any,
    teacher_head: Head,
    num_samples: int,
    temperature: float = 1.0,
    direction: str = "forward",
    hard_share: float = 0.0,
    mean: str = "token",
    total: float | None = None,
) -> LossOutput:
    """Divergence from a teacher whose hidden rows are at hand, times temperature squared, plus a share of hard loss.

    Args:
        hidden_NH, head, target_N, weight_N, sample_N, num_samples, mean, total: as in `sft`.
        teacher_NH: the teacher's rows (its own width), no gradient.
        teacher_head: the teacher's output head over the same vocabulary.
        temperature: both sides' logits are divided by it.
        direction: "forward" KL(teacher | student), "reverse" KL(student | teacher), "jensen_shannon".
        hard_share: weight in [0, 1] of the cross-entropy on the targets; the divergence has the rest.
    Source: Hinton et al. 2015, section 2 (the factor T^2).
    """
    is_valid_N = target_N != IGNORE
    vocabulary = len(teacher_head) if isinstance(teacher_head, torch.Tensor) else 1
    block = _block_rows(4 * len(target_N), vocabulary)
    parts = []
    for start in range(0, len(target_N), block):
        rows = slice(start, start + block)
        with torch.no_grad():
            teacher = (_logits(teacher_NH[rows], teacher_head) / temperature).log_softmax(-1)
        if block >= len(target_N):
            parts.append(_soft_rows(hidden_NH[rows], head, teacher, temperature, direction))
        else:
            parts.append(
                torch.utils.checkpoint.checkpoint(
                    _soft_rows, hidden_NH[rows], head, teacher, temperature, direction, use_reentrant=False
                )
            )
    soft_N = torch.cat(parts).masked_fill(~is_valid_N, 0.0)
    loss_N = soft_N * temperature**2
    if hard_share:
        loss_N = loss_N * (1 - hard_share) + cross_entropy(hidden_NH, head, target_N)[0] * hard_share
    if total is None:
        total = float(is_valid_N.sum()) if mean == "token" else float(num_samples)
    loss = mean_loss(loss_N, weight_N, sample_N, num_samples=num_samples, mean=mean, total=total)
    return LossOutput(loss=loss, row_loss_N=loss_N.detach(), metrics={"kl": _means(soft_N, sample_N, num_samples)})


def _soft_rows(hidden: Any, head: Head, teacher: Any, temperature: float, direction: str) -> Any:
    return _kl((_logits(hidden, head) / temperature).log_softmax(-1), teacher, direction)


def distill_top_k(
    hidden_NH: Any,
    head: Head,
    target_N: Any,
    weight_N: Any,
    sample_N: Any,
    *,
    teacher_ids_NK: Any,
    teacher_logp_NK: Any,
    num_samples: int,
    mean: str = "token",
    total: float | None = None,
) -> LossOutput:
    """Forward divergence from a teacher of whom only the best K tokens are known (an endpoint's log-probabilities).

    What the teacher gives to all other tokens counts as one more token, so a row's divergence is a true KL of K+1
    outcomes: never below 0, and 0 where the student agrees.

    Args:
        hidden_NH, head, target_N, weight_N, sample_N, num_samples, mean, total: as in `sft`.
        teacher_ids_NK: token ids; `IGNORE` where the teacher gave fewer than K.
        teacher_logp_NK: their natural log-probabilities.
    """
    is_known_NK = teacher_ids_NK != IGNORE
    logp_NV = _logits(hidden_NH, head).log_softmax(-1)
    student_NK = logp_NV.gather(-1, teacher_ids_NK.masked_fill(~is_known_NK, 0))
    teacher_p_NK = teacher_logp_NK.exp() * is_known_NK
    parts_NK = torch.where(is_known_NK, teacher_p_NK * (teacher_logp_NK - student_NK), 0.0)
    tiny = torch.finfo(torch.float32).tiny
    rest_teacher_N = (1 - teacher_p_NK.sum(-1)).clamp(min=0)
    rest_student_N = (1 - (student_NK.exp() * is_known_NK).sum(-1)).clamp(min=1e-7)
    rest_N = rest_teacher_N * (rest_teacher_N.clamp(min=tiny).log() - rest_student_N.log())
    is_valid_N = (target_N != IGNORE) & is_known_NK.any(-1)
    loss_N = (parts_NK.sum(-1) + rest_N).masked_fill(~is_valid_N, 0.0)
    if total is None:
        total = float(is_valid_N.sum()) if mean == "token" else float(num_samples)
    loss = mean_loss(loss_N, weight_N, sample_N, num_samples=num_samples, mean=mean, total=total)
    return LossOutput(loss=loss, row_loss_N=loss_N.detach(), metrics={"kl": _means(loss_N, sample_N, num_samples)})


def _means(value_N: Any, sample_N: Any, num_samples: int) -> Any:
    with torch.no_grad():
        counts_S = sample_sums(torch.ones_like(value_N), sample_N, num_samples).clamp(min=1)
        return sample_sums(value_N.detach(), sample_N, num_samples) / counts_S
