"""SYLLO: hidden words, a clue for each, and one bank with the syllables of all of them. Levels 1 to 5 = 4 to 8 words.

Each puzzle has one solution: a clue stands for one word, and no further word of the lexicon can be spelled with the
tiles. Higher levels have more words and longer ones. Red-herring tiles are not used: every tile has its place.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from math import comb
from random import Random

from frontier_core.errors import FrontierError
from frontier_core.jsonl import dumps
from frontier_core.records import Record
from generators.base import Generator
from generators.procedural.chat_skill import ChatSkill
from validators.skills.lexicon import Entry, load_lexicon

NUM_WORDS = {1: 4, 2: 5, 3: 6, 4: 7, 5: 8}
"""Level -> words in the puzzle."""

SYLLABLES = {1: (2, 2), 2: (2, 2), 3: (2, 3), 4: (2, 4), 5: (3, 4)}
"""Level -> fewest and most syllables of a word."""

MAX_LETTERS = {1: 5, 2: 6, 3: 8, 4: 14, 5: 14}
"""Level -> letters of the longest word: the first level gets by with under a hundred short words."""

SLOT = "___"
_HEAD = "Fill in the words from the tiles."
_TAIL = (
    'Use every tile exactly once.\nTiles: {tiles}\nReply with JSON: {{"solutions":[{{"ans_num","syllables","answer"}}],'
    '"inventory_check":{{"total_tiles","usage","used","unused_tiles","status"}}}}'
)
_CLUE_LINE = re.compile(rf"^[0-9]+\. (.+?)(?: {SLOT})+$", re.MULTILINE)


class Syllo(ChatSkill):
    """Generator of the `syllo` skill."""

    def __init__(self) -> None:
        super().__init__("syllo", domain="syllables", task_type="puzzle", levels=tuple(NUM_WORDS))

    def capacity(self, level: int) -> int:
        """Gives a lower bound of how many distinct sets of words the level has, both splits together."""
        self.check_level(level)
        return _capacity(level)

    def problem(self, record: Record) -> str:
        """Gives the clues in alphabetical order: the same words in another order are the same puzzle."""
        return "\n".join(sorted(_CLUE_LINE.findall(super().problem(record))))

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level); same three, same bytes."""
        rng = self.random_at(seed, index, level)
        words = choose_words(rng, level)
        bank = [tile for entry in words for tile in entry.syllables]
        rng.shuffle(bank)
        turns = [_ask(words, bank), _answer(words, bank)]
        return self.record(turns, scenario=f"{len(words)}_words", seed=seed, index=index, level=level)


def choose_words(rng: Random, level: int) -> list[Entry]:
    """Draws the words of a puzzle whose tiles spell no further word of the lexicon.

    Goes once through the level's words in random order, so it ends whatever the lexicon holds.

    Raises:
        FrontierError: the lexicon is too small or too alike for the level.
    """
    pool = _pool(level)
    chosen: list[Entry] = []
    tiles: dict[str, int] = {}
    for place in range(len(pool)):
        other = rng.randrange(place, len(pool))
        pool[place], pool[other] = pool[other], pool[place]
        entry = pool[place]
        grown = dict(tiles)
        for tile in entry.syllables:
            grown[tile] = grown.get(tile, 0) + 1
        if any(_spells(grown, rival) and rival not in chosen for rival in _rivals(entry)):
            continue
        chosen.append(entry)
        tiles = grown
        if len(chosen) == NUM_WORDS[level]:
            return chosen
    raise FrontierError(f"the lexicon gives no syllo puzzle of {NUM_WORDS[level]} words", hint="add words to it")


def _pool(level: int) -> list[Entry]:
    fewest, most = SYLLABLES[level]
    fitting = (entry for entry in load_lexicon() if len(entry.word) <= MAX_LETTERS[level])
    return [entry for entry in fitting if fewest <= len(entry.syllables) <= most]


@cache
def _capacity(level: int) -> int:
    """Counts the word sets within one family: words whose tiles, used as often as one likes, spell no word outside it.

    Any choice out of such a family is a puzzle of one solution.
    """
    family: set[Entry] = set()
    tiles: set[str] = set()
    for entry in _pool(level):
        grown = tiles.union(entry.syllables)
        if all(rival in family or not grown.issuperset(rival.syllables) for rival in _rivals(entry)):
            family.add(entry)
            tiles = grown
    return comb(len(family), NUM_WORDS[level])


@cache
def _rivals(entry: Entry) -> tuple[Entry, ...]:
    """The words that share a tile with `entry`: only they can become spellable when its tiles are added."""
    tiles = set(entry.syllables)
    return tuple(other for other in load_lexicon() if other != entry and not tiles.isdisjoint(other.syllables))


def _spells(tiles: dict[str, int], entry: Entry) -> bool:
    return all(tiles.get(tile, 0) >= entry.syllables.count(tile) for tile in entry.syllables)


def _ask(words: list[Entry], bank: list[str]) -> str:
    clues = [f"{n}. {entry.clue}{f' {SLOT}' * len(entry.syllables)}" for n, entry in enumerate(words, start=1)]
    return "\n".join((_HEAD, *clues, _TAIL.format(tiles=" | ".join(bank))))


def _answer(words: list[Entry], bank: list[str]) -> str:
    solutions = [
        {"ans_num": n, "syllables": list(entry.syllables), "answer": entry.word.upper()}
        for n, entry in enumerate(words, start=1)
    ]
    used = Counter(tile for entry in words for tile in entry.syllables)
    inventory = {
        "total_tiles": len(bank),
        "usage": dict(Counter(bank)),
        "used": dict(used),
        "unused_tiles": [],
        "status": "ok",
    }
    return dumps({"solutions": solutions, "inventory_check": inventory}).decode()


GENERATOR: Generator = Syllo()
