"""How many samples of each domain a block has: error diffusion in whole numbers, so that nothing drifts.

At every block end each domain is within a sample of its share, counted from the start and from the last change of
weights. Where the samples stand in a block, and which they are, is stream_order.py's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

BLOCK = 1024
"""Positions in a block; weights change only between two blocks."""

ONE = 1 << 40
"""The weight 1 as a whole number; weights are multiples of 2**-40."""

FEW = 64
"""Up to so many domains plain lists are quicker than arrays."""


def whole_weights(weights: Mapping[str, float], names: Sequence[str]) -> list[int]:
    """Gives the weights of `names` as whole numbers that sum to `ONE`, by largest remainder.

    Args:
        weights: name -> weight, any positive scale; a name that is not there has 0.
        names: the domains, in the order of the result.
    Raises:
        ValueError: no weight above 0, a negative one, or one that is no finite number.
    """
    exact = [Fraction(weights.get(name, 0.0)) for name in names]
    total = sum(exact)
    if total <= 0 or min(exact) < 0:
        raise ValueError("no weight is above 0, or one is below")
    shares = [share * ONE / total for share in exact]
    whole = [int(share) for share in shares]
    by_remainder = sorted(range(len(whole)), key=lambda place: (whole[place] - shares[place], place))
    for place in by_remainder[: ONE - sum(whole)]:
        whole[place] += 1
    return whole


@dataclass(slots=True)
class Progress:
    """Where a mix stands at a block's start, per domain.

    `served` counts samples. `debt` is what a domain is still owed, in units of 1/ONE, midway between what it is owed
    since the start and since the last change of weights; `offset` is half the distance of the two.
    """

    served: Any
    debt: Any
    offset: Any
    weights: Any = None

    @staticmethod
    def start(num: int) -> Progress:
        """Gives the beginning of a mix of `num` domains: lists for a few, whole-number arrays for many."""
        if num <= FEW:
            return Progress([0] * num, [0] * num, [0] * num)
        import numpy as np

        return Progress(*(np.zeros(num, np.int64) for _ in range(3)))

    def copy(self) -> Progress:
        """Gives an independent copy."""
        return Progress(self.served.copy(), self.debt.copy(), self.offset.copy(), self.weights)


def next_counts(progress: Progress, weights: list[int], limits: Sequence[int | None]) -> list[int]:
    """Gives how many samples of each domain the next block has, and moves `progress` behind it.

    Args:
        progress: where the mix stands; changed in place.
        weights: whole weights that sum to ONE, or less where a domain has reached its limit.
        limits: most samples of each domain, None for no limit.
    Returns:
        Counts that sum to BLOCK, or to less when every domain with a weight has reached its limit.
    """
    if not isinstance(progress.served, list):
        return _next_of_many(progress, weights, limits)
    active = [
        place
        for place, weight in enumerate(weights)
        if weight and ((limit := limits[place]) is None or progress.served[place] < limit)
    ]
    counts = [0] * len(weights)
    if not active:
        return counts
    total = sum(weights[place] for place in active)
    now = weights if total == ONE else _renormalised(weights, active, total)
    if progress.weights != now:
        owed = [debt + offset for debt, offset in zip(progress.debt, progress.offset, strict=True)]
        progress.debt = [value // 2 for value in owed]
        progress.offset = [value - value // 2 for value in owed]
        progress.weights = now
    _apportion(counts, active, now, progress)
    short = _within_limits(counts, active, now, progress.served, limits)
    for place in active:
        progress.served[place] += counts[place]
        progress.debt[place] += BLOCK * now[place] - ONE * counts[place]
    if short:
        # A domain at its limit can't have its share: the rest begins a new account.
        progress.debt, progress.offset = [0] * len(weights), [0] * len(weights)
    return counts


def _next_of_many(progress: Progress, weights: list[int], limits: Sequence[int | None]) -> list[int]:
    """The same for many domains, in whole-number arrays."""
    import numpy as np

    asked = np.array(weights, np.int64)
    most = np.array([(1 << 62) if limit is None else limit for limit in limits], np.int64)
    active = np.flatnonzero((asked > 0) & (progress.served < most))
    if not active.size:
        return [0] * len(weights)
    total = int(asked[active].sum())
    now = asked if total == ONE else np.array(_renormalised(weights, active.tolist(), total), np.int64)
    if progress.weights is None or not np.array_equal(progress.weights, now):
        owed = progress.debt + progress.offset
        progress.debt = owed // 2
        progress.offset = owed - progress.debt
        progress.weights = now
    owed = BLOCK * now[active] + progress.debt[active]
    counts = np.maximum(0, owed >> 40)
    rest, slack = owed - (counts << 40), ONE - np.abs(progress.offset[active])
    urgency = rest + ONE * (rest >= slack) - ONE * (ONE - rest >= slack)
    order = np.argsort(-urgency, kind="stable")
    left = BLOCK - int(counts.sum())
    while left > 0:
        counts[order[:left]] += 1
        left -= min(left, order.size)
    while left < 0:
        able = order[::-1][counts[order[::-1]] > 0][:-left]
        counts[able] -= 1
        left += able.size
    whole = np.zeros(asked.size, np.int64)
    whole[active] = counts
    found: list[int] = whole.tolist()
    is_short = bool((progress.served + whole > most).any())
    if is_short:
        _within_limits(found, active.tolist(), now.tolist(), progress.served.tolist(), limits)
        whole = np.array(found, np.int64)
    progress.served = progress.served + whole
    if is_short:
        progress.debt, progress.offset = np.zeros_like(progress.debt), np.zeros_like(progress.offset)
    else:
        progress.debt[active] += BLOCK * now[active] - (whole[active] << 40)
    return found


def _renormalised(weights: list[int], active: list[int], total: int) -> list[int]:
    shares = {place: weights[place] * ONE // total for place in active}
    missing = ONE - sum(shares.values())
    for place in sorted(active, key=lambda item: (-(weights[item] * ONE % total), item))[:missing]:
        shares[place] += 1
    return [shares.get(place, 0) for place in range(len(weights))]


def _apportion(counts: list[int], active: list[int], weights: list[int], progress: Progress) -> None:
    """Rounds what each domain is owed to whole samples that fill the block: largest remainder, inside the bounds.

    A domain's debt may end anywhere in (-1, 1) less its offset, so that both its accounts stay within a sample.
    """
    urgency: dict[int, int] = {}
    left = BLOCK
    for place in active:
        owed = BLOCK * weights[place] + progress.debt[place]
        counts[place] = max(0, owed // ONE)
        rest = owed - ONE * counts[place]
        slack = ONE - abs(progress.offset[place])
        urgency[place] = rest + (ONE if rest >= slack else 0) - (ONE if ONE - rest >= slack else 0)
        left -= counts[place]
    order = sorted(active, key=lambda item: (-urgency[item], item))
    while left > 0:
        for place in order[:left]:
            counts[place] += 1
            left -= 1
    while left < 0:
        for place in reversed(order):
            if left < 0 and counts[place]:
                counts[place] -= 1
                left += 1


def _within_limits(
    counts: list[int], active: list[int], weights: list[int], served: list[int], limits: Sequence[int | None]
) -> bool:
    """Hands on to the others what a domain has no samples left for; says whether there was any."""
    is_short = False
    while True:
        excess, open_places = 0, []
        for place in active:
            limit = limits[place]
            room = None if limit is None else limit - served[place] - counts[place]
            if room is not None and room < 0:
                excess -= room
                counts[place] += room
                is_short = True
            elif room is None or room > 0:
                open_places.append(place)
        if not excess or not open_places:
            return is_short
        total = sum(weights[place] for place in open_places)
        given = 0
        for place in open_places:
            share = excess * weights[place] // total
            counts[place] += share
            given += share
        for place in sorted(open_places, key=lambda item: (-weights[item], item))[: excess - given]:
            counts[place] += 1
