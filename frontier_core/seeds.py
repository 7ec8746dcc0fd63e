"""Child seeds: every random draw in the toolkit hangs on a name and a position, never on a neighbour's state.

Seeds are mixed by hash because neighbouring ones otherwise overlap: with `Random(seed + index)` seeds 42 and 43 share
496 of 500 questions. Also decides, by content, which problems are held out for evaluation. Does not cover torch's
generators, which the trainer seeds itself.
"""

from __future__ import annotations

import random
from _random import Random as BareRandom
from functools import lru_cache
from hashlib import blake2b
from typing import Any

HELD_OUT_SHARE = 10
"""Percent of all problems, by content, that only evaluation may see."""


def child_seed(*path: object) -> int:
    """Gives the 64-bit seed of one named place, e.g. `child_seed("binary", "1.0.0", seed, level, index)`.

    Args:
        path: names and numbers; their order and their text matter, nothing else does.
    Returns:
        An integer in [0, 2**64), equal on every machine, Python version and PYTHONHASHSEED.
    """
    text = "\x1f".join(map(str, path))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class QuickRandom(random.Random):
    """Python's generator of one whole seed: the same numbers from the same seed, with fewer checks on the way.

    A record takes one of these and some draws, and that is a good part of its making. `randint` wants low <= high.
    """

    gauss_next = None

    def __init__(self, seed: int) -> None:
        BareRandom.seed(self, seed)  # what Random.seed does with a whole number, after asking whether it is one

    def randint(self, a: int, b: int) -> int:
        """Gives a whole number from a to b, both included."""
        count = b - a + 1
        bits = count.bit_length()
        drawn = self.getrandbits(bits)
        while drawn >= count:
            drawn = self.getrandbits(bits)
        return a + drawn

    def sample(self, population: Any, k: int, *, counts: Any = None) -> list[Any]:
        """Gives k members of a sequence, none twice; a few of many are drawn one by one."""
        if k > 5 or len(population) <= 21 or counts is not None:  # Python goes another way there
            return super().sample(population, k, counts=counts)
        places: list[int] = []
        while len(places) < k:
            place = self.randint(0, len(population) - 1)
            if place not in places:
                places.append(place)
        return [population[place] for place in places]


def child_random(*path: object) -> random.Random:
    """Gives a private random generator for one named place. Side effects: none; the global generator is untouched."""
    return QuickRandom(child_seed(*path))


def record_random(generator: str, version: str, seed: int, level: int, index: int) -> random.Random:
    """Gives the private random generator of one record: `child_random` of the same five, in half the time."""
    place = _run_of(generator, version, seed, level).copy()
    place.update(b"%d" % index)
    return QuickRandom(int.from_bytes(place.digest(), "big"))


@lru_cache(maxsize=256, typed=True)
def _run_of(*path: object) -> blake2b:
    """The digest of what the records of a run have in common, to go on from."""
    return blake2b("".join(f"{part}\x1f" for part in path).encode(), digest_size=8)


def is_held_out(problem: str) -> bool:
    """Says whether a problem belongs to the evaluation split, from its text alone.

    A split by content can't leak: whatever seed, level or run a problem comes from, it is always on the same side.

    Args:
        problem: the text that makes the problem what it is (prompt, not answer); case and spacing do not count.
    """
    normal = " ".join(problem.lower().split())
    return int.from_bytes(blake2b(normal.encode(), digest_size=4).digest(), "big") % 100 < HELD_OUT_SHARE
