"""Which sample stands at which position: a pure function of seed, weights and position, computed block by block.

A block has 1,024 positions. How many of them a domain gets is its weight by error diffusion, so at every block end each
domain is within a sample of its share; where they stand is a Philox shuffle by (seed, block); which sample comes next
is a permutation by (seed, domain, epoch), so each sample comes exactly once per epoch of its domain. All sums are whole
numbers: nothing drifts, and every machine finds the same order. What the samples are is stream_corpus.py's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

from frontier_core.seeds import child_seed
from frontier_core.stream_counts import BLOCK, Progress, next_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL = 4096
"""Domains up to this size are permuted by sorting random numbers; larger ones by a cipher that holds no list."""

ROUNDS = 7
SNAPSHOT_EVERY = 256
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


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
        return Progress.start(len(self.names))

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
        before = [int(count) for count in state.served]
        return next_counts(state, self.weights_at(block), self.limits), before

    def plan(self, block: int) -> BlockPlan:
        """Gives a whole block."""
        import numpy as np

        counts, before = self.counts(block)
        num = sum(counts)
        shuffle = np.argsort(self._shuffles.draw(block, num), kind="stable")
        present = [place for place, count in enumerate(counts) if count]
        domains, elements, epochs = (np.empty(num, np.int64) for _ in range(3))
        repeated = np.repeat(np.array(present, np.int64), [counts[place] for place in present])
        domains[shuffle] = repeated
        # Within a domain, samples stand in the order of its permutation: the k-th place it has gets its k-th sample.
        by_domain = np.argsort(domains, kind="stable")
        if present:
            parts = [part for place in present for part in self._take(place, before[place], counts[place])]
            elements[by_domain] = np.concatenate(parts)
            ends = np.cumsum([counts[place] for place in present])
            firsts = np.repeat(ends - [counts[place] for place in present], [counts[place] for place in present])
            served = np.array(before, np.int64)[repeated] + np.arange(num) - firsts
            epochs[by_domain] = served // np.array(self.sizes, np.int64)[repeated]
        return BlockPlan(block, domains, elements, epochs, counts, before)

    def _take(self, place: int, start: int, count: int) -> list[NDArray[Any]]:
        """The next `count` elements of a domain that has served `start`, a piece for each epoch they are of."""
        size, stop = self.sizes[place], start + count
        parts = []
        while start < stop:
            epoch, within = divmod(start, size)
            until = min(size, within + stop - start)
            parts.append(self._permutation(place, epoch).take(within, until))
            start += until - within
        return parts

    def _permutation(self, place: int, epoch: int) -> Permutation:
        kept = self._permutations.get(place)
        if kept is None or kept[0] != epoch:
            key = child_seed("stream.domain", self.seed, self.names[place], epoch)
            kept = self._permutations[place] = (epoch, Permutation(self.sizes[place], key))
        return kept[1]
