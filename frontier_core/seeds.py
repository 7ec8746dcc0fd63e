"""Child seeds: every random draw in the toolkit hangs on a name and a position, never on a neighbour's state.

Seeds are mixed by hash because neighbouring ones otherwise overlap: with `Random(seed + index)` seeds 42 and 43 share
496 of 500 questions. Also decides, by content, which problems are held out for evaluation. Does not cover torch's
generators, which the trainer seeds itself.
"""

from __future__ import annotations

import random
from hashlib import blake2b

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


def child_random(*path: object) -> random.Random:
    """Gives a private random generator for one named place. Side effects: none; the global generator is untouched."""
    return random.Random(child_seed(*path))


def is_held_out(problem: str) -> bool:
    """Says whether a problem belongs to the evaluation split, from its text alone.

    A split by content can't leak: whatever seed, level or run a problem comes from, it is always on the same side.

    Args:
        problem: the text that makes the problem what it is (prompt, not answer); case and spacing do not count.
    """
    normal = " ".join(problem.lower().split())
    return int.from_bytes(blake2b(normal.encode(), digest_size=4).digest(), "big") % 100 < HELD_OUT_SHARE
