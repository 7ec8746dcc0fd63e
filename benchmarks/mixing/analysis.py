"""What finished runs say: tokens to a target with evaluation paid for, gains paired by seed, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, fsum, log
from random import Random
from typing import Any

from training import EVAL_COST

Record = dict[str, Any]
RESAMPLES = 2000
LAST = 3
"""A final figure is the mean of this many last tests: one test alone is mostly luck."""


def paid(point: Sequence[Any]) -> float:
    """Gives the tokens paid up to a point of the curve: trained on, and a third of those only read for evaluation."""
    return float(point[1] + EVAL_COST * point[2])


def mean_accuracy(record: Record, point: Sequence[Any]) -> float:
    """Gives the mean held-out accuracy over the domains that count."""
    kept = [value for value, scored in zip(point[3], record["scored"], strict=True) if scored]
    return fsum(kept) / len(kept)


def final(record: Record) -> float:
    """Gives the mean accuracy of the last tests."""
    points = record["curve"][-LAST:]
    return fsum(mean_accuracy(record, point) for point in points) / len(points)


def worst(record: Record) -> float:
    """Gives the accuracy of the worst domain that counts, over the last tests."""
    points = record["curve"][-LAST:]
    columns = zip(*(point[3] for point in points), strict=True)
    scores = [fsum(values) / len(points) for values in columns]
    return min(score for score, scored in zip(scores, record["scored"], strict=True) if scored)


def tokens_to(record: Record, target: float) -> float | None:
    """Gives the tokens paid when the mean accuracy first reaches the target, between tests on a straight line.

    None when it never does.
    """
    tokens, accuracy = 0.0, 0.0
    for point in record["curve"]:
        now, value = paid(point), mean_accuracy(record, point)
        if value >= target:
            share = 1.0 if value <= accuracy else (target - accuracy) / (value - accuracy)
            return tokens + max(0.0, share) * (now - tokens)
        tokens, accuracy = now, value
    return None


def token_ratio(record: Record, rival: Record) -> tuple[float, bool]:
    """Gives tokens(record) / tokens(rival) to the rival's final accuracy, and whether it was reached.

    Where it was not, the whole budget counts: a lower bound of the ratio.
    """
    target = final(rival)
    theirs = tokens_to(rival, target) or paid(rival["curve"][-1])
    ours = tokens_to(record, target)
    return (paid(record["curve"][-1]) if ours is None else ours) / theirs, ours is not None


def share_of(record: Record, skill: str) -> float:
    """Gives the share of training tokens that went to a skill; 0 when the suite has none of that name."""
    spent = fsum(
        tokens for tag, tokens in zip(record["tags"], record["domain_tokens"], strict=True) if f"skill={skill}," in tag
    )
    return spent / fsum(record["domain_tokens"])


def geometric_mean(values: Sequence[float]) -> float:
    """Gives the geometric mean of positive values."""
    return exp(fsum(map(log, values)) / len(values))


def mean(values: Sequence[float]) -> float:
    """Gives the arithmetic mean."""
    return fsum(values) / len(values)


def bootstrap(
    values: Sequence[float], statistic: Callable[[Sequence[float]], float]
) -> tuple[float, tuple[float, float]]:
    """Gives a statistic and its 95 % percentile interval over resampled seeds; always the same for the same values."""
    random = Random(0)
    drawn = sorted(statistic(random.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return statistic(values), (drawn[int(0.025 * RESAMPLES)], drawn[int(0.975 * RESAMPLES) - 1])


def compare(runs: Sequence[Record], suite: str, arm: str) -> Record | None:
    """Gives everything the table says of one arm on one suite; None without a paired run."""
    ours = {run["seed"]: run for run in runs if (run["suite"], run["arm"]) == (suite, arm)}
    bases = {run["seed"]: run for run in runs if (run["suite"], run["arm"]) == (suite, "uniform")}
    seeds = sorted(ours.keys() & bases.keys())
    if not seeds:
        return None
    gains = [final(ours[seed]) - final(bases[seed]) for seed in seeds]
    ratios = [token_ratio(ours[seed], bases[seed]) for seed in seeds]
    gain, gain_interval = bootstrap(gains, mean)
    ratio, ratio_interval = bootstrap([value for value, _ in ratios], geometric_mean)
    return {
        "seeds": len(seeds),
        "final": mean([final(ours[seed]) for seed in seeds]),
        "worst_skill": mean([worst(ours[seed]) for seed in seeds]),
        "gain": gain,
        "gain_interval": gain_interval,
        "least_gain": min(gains),
        "wins": sum(value > 0 for value in gains),
        "above_minus_1pt": sum(value > -0.01 for value in gains),
        "tokens_to_uniform": ratio,
        "tokens_interval": ratio_interval,
        "never": sum(not reached for _, reached in ratios),
        "noise_tokens": mean([share_of(ours[seed], "noise") for seed in seeds]),
        "eval_cost": mean([EVAL_COST * run["curve"][-1][2] / paid(run["curve"][-1]) for run in ours.values()]),
        "policy_ms": mean([1000 * run["policy_s"] / run["rounds"] for run in ours.values()]),
    }


def against(runs: Sequence[Record], suite: str, rival: str, arm: str = "frontier") -> Record | None:
    """Gives tokens(arm) / tokens(rival) to the rival's own final accuracy."""
    ours = {run["seed"]: run for run in runs if (run["suite"], run["arm"]) == (suite, arm)}
    theirs = {run["seed"]: run for run in runs if (run["suite"], run["arm"]) == (suite, rival)}
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    pairs = [token_ratio(ours[seed], theirs[seed]) for seed in seeds]
    ratio, interval = bootstrap([value for value, _ in pairs], geometric_mean)
    return {"ratio": ratio, "interval": interval, "never": sum(not reached for _, reached in pairs)}
