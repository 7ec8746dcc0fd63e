"""Invented names from syllables, so that no record speaks of real people or places."""

from __future__ import annotations

from random import Random

ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v")
VOWELS = ("a", "e", "i", "o", "u")
NUM_SHORT_NAMES = (len(ONSETS) * len(VOWELS)) ** 2
"""Distinct names of two syllables: 4,900."""

ENDINGS = {
    "person": ("", "n", "s", "r", "l"),
    "place": ("ford", "vik", "mora", "stad", "holm", "ton", "bury", "dal"),
    "country": ("nia", "land", "via", "stan", "ria"),
    "thing": ("x", "m", "k", "t"),
}
"""What each kind of name ends in, after its two open syllables."""


def invent(rng: Random, kind: str, count: int) -> list[str]:
    """Draws distinct capitalised names of a kind.

    Args:
        rng: where the draws come from.
        kind: a key of ENDINGS.
        count: how many, well below NUM_SHORT_NAMES.
    """
    names: dict[str, None] = {}
    while len(names) < count:
        syllables = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(2))
        names.setdefault((syllables + rng.choice(ENDINGS[kind])).capitalize())
    return list(names)
