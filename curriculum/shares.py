"""Shares of a mix that every policy works with: priors that sum to 1, projection into bounds, lines of plain weights.

Deciding is policy.py (ours) and published.py (what the literature does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Any

import numpy as np

from curriculum.columns import project_columns
from frontier_core.allocation import PolicyLine, natural_order
from frontier_core.errors import ConfigError

Policy = Callable[..., Sequence[PolicyLine]]
"""(domains_prior, stats, previous, *, settings, round_number) -> lines; see `curriculum.policy.update`."""


def next_round(previous: Sequence[PolicyLine] | None) -> int:
    """Gives the round after the last policy's; 1 when there is none."""
    return max((line.round for line in previous or ()), default=0) + 1


def normalised(prior: Mapping[str, float]) -> dict[str, float]:
    """Gives cell -> prior share in natural order; raises ConfigError when there is none or one is not above 0."""
    if not prior or not min(prior.values()) > 0:
        raise ConfigError("every cell needs a prior weight above 0", hint="see `weight` in the domains file")
    total = fsum(prior.values())
    return {tag: prior[tag] / total for tag in sorted(prior, key=natural_order)}


def project(targets: Mapping[str, float], bounds: Mapping[str, tuple[float, float]]) -> tuple[dict[str, float], float]:
    """Gives the weights nearest to the targets inside the bounds, by tag; see `columns.project_columns`."""
    low, high = (np.array([bounds[tag][side] for tag in targets]) for side in (0, 1))
    weights, factor = project_columns(np.array(list(targets.values())), low, high)
    return dict(zip(targets, weights.tolist(), strict=True)), factor


def plain_lines(
    priors: Mapping[str, float],
    wanted: Mapping[str, float],
    previous: Sequence[PolicyLine] | None,
    *,
    number: int,
    reasons: Mapping[str, str],
    states: Mapping[str, dict[str, Any]] | None = None,
    evidence: Mapping[str, dict[str, Any]] | None = None,
) -> list[PolicyLine]:
    """Gives the lines of a policy without rails: the weight is the prior times the factor `policy`, scaled to sum 1.

    Args:
        priors: cell -> share, normalised.
        wanted: cell -> weight on any positive scale.
        previous: the last policy.
        number: the round the weights are for.
        reasons: cell -> sentence.
        states: cell -> what the policy wants back next round.
        evidence: cell -> the figures behind the weight.
    """
    total = fsum(wanted.values())
    before = {line.tag: line.weight for line in previous or ()}
    factors = {tag: {"prior": prior, "policy": wanted[tag] / total / prior} for tag, prior in priors.items()}
    lines = []
    for tag, prior in priors.items():
        weight = min(1.0, factors[tag]["prior"] * factors[tag]["policy"])
        lines.append(
            PolicyLine(
                tag=tag,
                weight=weight,
                previous=before.get(tag, prior),
                prior=prior,
                reason=reasons[tag],
                round=number,
                factors=factors[tag],
                evidence={"target": weight, **(evidence or {}).get(tag, {})},
                state=(states or {}).get(tag, {}),
            )
        )
    return lines
