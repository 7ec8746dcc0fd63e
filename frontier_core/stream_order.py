"""Which sample stands at which position: a pure function of seed, weights and position, computed block by block.

A block has 1,024 positions. How many of them a domain gets is its weight by error diffusion, so at every block end each
domain is within a sample of its share; where they stand is a Philox shuffle by (seed, block); which sample comes next
is a permutation by (seed, domain, epoch), so each sample comes exactly once per epoch of its domain. All sums are whole
numbers: nothing drifts, and every machine finds the same order. What the samples are is stream_corpus.py's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING, Any

from frontier_core.seeds import child_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1024
"""Positions in a block; weights change only between two blocks."""

ONE = 1 << 40
"""The weight 1 as a whole number; weights are multiples of 2**-40."""

SMALL = 4096
"""Domains up to this size are permuted by sorting random numbers; larger ones by a cipher that holds no list."""

ROUNDS = 7
SNAPSHOT_EVERY = 256
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


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


class Randoms:
    """Philox4x64 numbers by place: `draw(block, num)` is the same whatever was drawn before."""

    def __init__(self, key: int) -> None:
        import numpy as np

        self._bits = np.random.Philox(key=key)
        self._state: Any = dict(self._bits.state)

    def draw(self, place: int, num: int) -> NDArray[Any]:
        """Gives `num` 64-bit numbers of one place."""
        import numpy as np

        counter = np.array([0, place, 0, 0], np.uint64)
        self._state["state"] = {"counter": counter, "key": self._state["state"]["key"]}
        self._bits.state = self._state
        numbers: NDArray[Any] = self._bits.random_raw(num)
        return numbers


class Permutation:
    """A pseudo-random order of `range(num)`, read in stretches; memory does not grow with `num`.

    Above `SMALL` it is an alternating Feistel network over a grid just larger than `num`, walked until it lands inside.
    Source: Black and Rogaway (2002), "Ciphers with Arbitrary Finite Domains", generalized Feistel and cycle walking.
    """

    def __init__(self, num: int, key: int) -> None:
        import numpy as np

        self.num = num
        self._table: NDArray[Any] | None = None
        self._first = 0
        self._chunk: NDArray[Any] = np.zeros(0, np.int64)
        if num <= SMALL:
            self._table = np.argsort(Randoms(key).draw(0, num), kind="stable").astype(np.int64)
            return
        self._cols = isqrt(num - 1) + 1
        self._rows = -(-num // self._cols)
        self._keys = Randoms(key).draw(0, ROUNDS)

    def take(self, start: int, stop: int) -> NDArray[Any]:
        """Gives the elements at places `start` to `stop` of the order."""
        import numpy as np

        if self._table is not None:
            return self._table[start:stop]
        first, last = self._first, self._first + self._chunk.size
        if not first <= start <= stop <= last:
            # Stretches are read one after the other, and a larger piece costs hardly more than a small one.
            self._first = start
            self._chunk = self._encipher(np.arange(start, min(self.num, max(stop, start + 2 * BLOCK)), dtype=np.uint64))
            first = start
        return self._chunk[start - first : stop - first]

    def _encipher(self, places: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        found = self._walk(places)
        while (outside := found >= np.uint64(self.num)).any():
            found[outside] = self._walk(found[outside])
        return found.astype(np.int64)

    def _walk(self, values: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        rows, cols = np.uint64(self._rows), np.uint64(self._cols)
        left, right = np.divmod(values, cols)
        for place, key in enumerate(self._keys):
            if place % 2:
                left = (left + _mixed(right, key)) % rows
            else:
                right = (right + _mixed(left, key)) % cols
        return left * cols + right


def _mixed(values: NDArray[Any], key: Any) -> NDArray[Any]:
    """Half of the bits of a 64-bit mixer (splitmix64's finaliser) of value and round key."""
    import numpy as np

    mixed = values ^ key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX[0])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX[1])
    found: NDArray[Any] = mixed >> np.uint64(33)
    return found


@dataclass(slots=True)
class Progress:
    """Where a mix stands at a block's start, per domain.

    `served` counts samples. `debt` is what a domain is still owed, in units of 1/ONE, midway between what it is owed
    since the start and since the last change of weights; `offset` is half the distance of the two.
    """

    served: list[int]
    debt: list[int]
    offset: list[int]
    weights: list[int] | None = None

    def copy(self) -> Progress:
        """Gives an independent copy."""
        return Progress(list(self.served), list(self.debt), list(self.offset), self.weights)


def next_counts(progress: Progress, weights: list[int], limits: Sequence[int | None]) -> list[int]:
    """Gives how many samples of each domain the next block has, and moves `progress` behind it.

    Args:
        progress: where the mix stands; changed in place.
        weights: whole weights that sum to ONE, or less where a domain has reached its limit.
        limits: most samples of each domain, None for no limit.
    Returns:
        Counts that sum to BLOCK, or to less when every domain with a weight has reached its limit.
    """
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


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """One block: for each position the domain, the element of the domain, and how often that domain was gone through.

    `before` counts the samples each domain had served when the block began.
    """

    number: int
    domains: NDArray[Any]
    elements: NDArray[Any]
    epochs: NDArray[Any]
    counts: list[int]
    before: list[int]

    @property
    def num(self) -> int:
        """Positions in the block: BLOCK, fewer in the last one."""
        return int(self.domains.size)


class Order:
    """The order of a mix of domains.

    Args:
        seed: of every draw.
        names: the domains; each draws by its own name, so another domain beside it changes nothing inside it.
        sizes: samples of each, at least 1.
        limits: most samples served of each, None for no limit.
    """

    def __init__(self, seed: int, names: Sequence[str], sizes: Sequence[int], limits: Sequence[int | None]) -> None:
        self.seed = seed
        self.names = list(names)
        self.sizes = list(sizes)
        self.limits = list(limits)
        self._shuffles = Randoms(child_seed("stream.block", seed))
        self._permutations: dict[int, tuple[int, Permutation]] = {}
        self._weights: list[tuple[int, list[int]]] = []
        self._snapshots: dict[int, Progress] = {}
        self._at: tuple[int, Progress] = (0, self._start())

    def _start(self) -> Progress:
        zeros = [0] * len(self.names)
        return Progress(list(zeros), list(zeros), list(zeros))

    def set_weights(self, block: int, weights: list[int]) -> None:
        """Has the weights hold from `block` on; blocks before it stay as they are."""
        self._weights = [entry for entry in self._weights if entry[0] != block] + [(block, weights)]
        self._weights.sort(key=lambda entry: entry[0])
        self._snapshots = {number: kept for number, kept in self._snapshots.items() if number <= block}
        if self._at[0] > block:
            self._at = (0, self._start())

    def weights_at(self, block: int) -> list[int]:
        """Gives the whole weights that hold in a block."""
        return next(weights for start, weights in reversed(self._weights) if start <= block)

    def progress(self, block: int) -> Progress:
        """Gives where the mix stands when a block begins, from the nearest place that is known."""
        number, state = self._at
        if number > block:
            number, state = 0, self._start()
        nearest = block - block % SNAPSHOT_EVERY
        while nearest > number and nearest not in self._snapshots:
            nearest -= SNAPSHOT_EVERY
        if nearest > number:
            number, state = nearest, self._snapshots[nearest].copy()
        changes = [entry for entry in self._weights if entry[0] > number]
        weights = self.weights_at(number)
        while number < block:
            next_counts(state, weights, self.limits)
            number += 1
            if changes and changes[0][0] == number:
                weights = changes.pop(0)[1]
            if number % SNAPSHOT_EVERY == 0 and number not in self._snapshots:
                self._snapshots[number] = state.copy()
        self._at = (number, state)
        return state.copy()

    def counts(self, block: int) -> tuple[list[int], list[int]]:
        """Gives a block's samples per domain, and how many each had served before it."""
        state = self.progress(block)
        before = list(state.served)
        return next_counts(state, self.weights_at(block), self.limits), before

    def plan(self, block: int) -> BlockPlan:
        """Gives a whole block."""
        import numpy as np

        counts, before = self.counts(block)
        num = sum(counts)
        shuffle = np.argsort(self._shuffles.draw(block, num), kind="stable")
        present = [place for place, count in enumerate(counts) if count]
        taken = [self._take(place, before[place], counts[place]) for place in present]
        domains, elements, epochs = (np.empty(num, np.int64) for _ in range(3))
        domains[shuffle] = np.repeat(np.array(present, np.int64), [counts[place] for place in present])
        # Within a domain, samples stand in the order of its permutation: the k-th place it has gets its k-th sample.
        by_domain = np.argsort(domains, kind="stable")
        if taken:
            elements[by_domain] = np.concatenate([found for found, _ in taken])
            epochs[by_domain] = np.concatenate([epoch for _, epoch in taken])
        return BlockPlan(block, domains, elements, epochs, counts, before)

    def _take(self, place: int, start: int, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The next `count` elements of a domain that has served `start`, over as many epochs as that takes."""
        import numpy as np

        size, stop = self.sizes[place], start + count
        parts = []
        while start < stop:
            epoch, within = divmod(start, size)
            until = min(size, within + stop - start)
            parts.append(self._permutation(place, epoch).take(within, until))
            start += until - within
        numbers = np.arange(stop - count, stop, dtype=np.int64) // size
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)), numbers

    def _permutation(self, place: int, epoch: int) -> Permutation:
        kept = self._permutations.get(place)
        if kept is None or kept[0] != epoch:
            key = child_seed("stream.domain", self.seed, self.names[place], epoch)
            kept = self._permutations[place] = (epoch, Permutation(self.sizes[place], key))
        return kept[1]
