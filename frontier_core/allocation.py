"""Whole counts from weights: how many records of each tag make up a run of `num`."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor

from frontier_core.errors import ConfigError


def allocate(weights: Mapping[str, float], num: int) -> dict[str, int]:
    """Splits `num` over tags in proportion to their weights, by the largest remainder.

    Args:
        weights: tag -> weight, at least 0; they need not sum to 1.
        num: records to split, at least 0.
    Returns:
        tag -> count in the order of `weights`; the counts sum to `num`; equal remainders go to the earlier tag.
    Raises:
        ConfigError: no weight is above 0, or one is below.
    Source: Hamilton's method of apportionment.
    """
    total = sum(weights.values())
    if not total > 0 or min(weights.values()) < 0:
        raise ConfigError("weights must be at least 0, and one of them above 0")
    shares = {tag: num * weight / total for tag, weight in weights.items()}
    counts = {tag: floor(share) for tag, share in shares.items()}
    order = sorted(shares, key=lambda tag: counts[tag] - shares[tag])  # stable: earlier tags win ties
    for tag in order[: num - sum(counts.values())]:
        counts[tag] += 1
    return counts
