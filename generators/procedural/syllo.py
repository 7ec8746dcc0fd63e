"""SYLLO: hidden words, a clue for each, and one bank with the syllables of all of them. Levels 1 to 5 = 4 to 8 words.

Each puzzle has one solution: no further word of the lexicon can be spelled with the bank, no clue admits two of its
words, and no word can be put together from other tiles. Levels 1 and 2 draw on our own short words. Higher levels have
more words, longer and rarer ones, every kind of clue, and from level 4 on words that share a tile and red herrings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb
from random import Random

from frontier_core.errors import FrontierError
from frontier_core.jsonl import dumps
from frontier_core.records import Record
from generators.base import Generator
from generators.procedural.chat_skill import ChatSkill
from validators.skills.lexicon import Entry, entries_by_anchor, load_lexicon


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a level asks of its puzzles.

    `words` in a puzzle; `syllables` and `bands` a word may have; `max_letters` of the longest word; `shared` words that
    have a tile in common with one before them; `herrings` in the bank.
    """

    words: int
    syllables: tuple[int, ...]
    bands: tuple[int, ...]
    max_letters: int
    shared: int = 0
    herrings: int = 0


LEVELS = {
    1: Level(words=4, syllables=(2,), bands=(0,), max_letters=5),
    2: Level(words=5, syllables=(2,), bands=(0,), max_letters=6),
    3: Level(words=6, syllables=(2, 3), bands=(0, 1), max_letters=9),
    4: Level(words=7, syllables=(2, 3, 4), bands=(1, 2), max_letters=11, shared=1, herrings=2),
    5: Level(words=8, syllables=(3, 4), bands=(2, 3), max_letters=13, shared=2, herrings=4),
}

FAMILY = 120
SLOT = "___"
_HEAD = "Fill in the words from the tiles."
_ALL = "Use every tile exactly once."
_SOME = "Use a tile at most once; {count} tiles are red herrings and stay unused."
_CONTRACT = (
    'Reply with JSON: {"solutions":[{"ans_num","syllables","answer"}],'
    '"inventory_check":{"total_tiles","usage","used","unused_tiles","status"}}'
)
_CLUE_LINE = re.compile(rf"^[0-9]+\. (.+?)(?: {SLOT})+$", re.MULTILINE)


class Syllo(ChatSkill):
    """Generator of the `syllo` skill."""

    def __init__(self) -> None:
        super().__init__("syllo", domain="syllables", task_type="puzzle", levels=tuple(LEVELS), version="2.0.0")

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
        words, herrings = choose_words(rng, level)
        bank = [tile for entry in words for tile in entry.syllables] + herrings
        rng.shuffle(bank)
        clues = [rng.choice(_clear_clues(entry, words)) for entry in words]
        turns = [_ask(words, clues, bank, len(herrings)), _answer(words, bank)]
        made = self.record(turns, scenario=f"{len(words)}_words", seed=seed, index=index, level=level)
        if any(entry.band for entry in words):
            made["metadata"]["source_license"] = "WordNet-3.0"
        return made


def choose_words(rng: Random, level: int) -> tuple[list[Entry], list[str]]:
    """Draws the words of a puzzle and its red herrings; together their tiles spell no further word of the lexicon.

    Goes once through the level's words in random order, so it ends whatever the lexicon holds.

    Raises:
        FrontierError: the lexicon is too small or too alike for the level.
    """
    rules, pool, by_tile = LEVELS[level], _pool(level), _places_by_tile(level)
    places = list(range(len(pool)))
    words: list[Entry] = []
    tiles: dict[str, int] = {}
    for turn in range(len(pool)):
        other = rng.randrange(turn, len(places))
        places[turn], places[other] = places[other], places[turn]
        entry = pool[places[turn]]
        must_share = 0 < len(words) <= rules.shared
        if must_share:
            entry = pool[rng.choice([place for tile in tiles for place in by_tile[tile]])]
        grown = _with(tiles, entry.syllables)
        longer = [*words, entry]
        if entry in words or not is_single(grown, longer) or not all(_clear_clues(one, longer) for one in longer):
            if must_share:  # perhaps nobody shares with the first word: begin with another
                words, tiles = [], {}
            continue
        words, tiles = longer, grown
        if len(words) == rules.words:
            return words, _choose_herrings(rng, rules.herrings, words, tiles)
    raise FrontierError(f"the lexicon gives no syllo puzzle of {rules.words} words", hint="add words to it")


def _with(tiles: dict[str, int], more: Iterable[str]) -> dict[str, int]:
    """Gives the counts with some tiles more."""
    grown = dict(tiles)
    for tile in more:
        grown[tile] = grown.get(tile, 0) + 1
    return grown


def _choose_herrings(rng: Random, count: int, words: list[Entry], tiles: dict[str, int]) -> list[str]:
    """Draws tiles that no word of the puzzle has and that lead to no further word."""
    herrings: list[str] = []
    for tile in rng.sample(_tile_names(), 15 * count):  # few are refused
        if len(herrings) == count:
            break
        grown = _with(tiles, (tile,))
        if tile not in tiles and is_single(grown, words):
            herrings.append(tile)
            tiles = grown
    return herrings


def is_single(tiles: Mapping[str, int], words: Sequence[Entry]) -> bool:
    """Says whether a bank spells these words and no others of the lexicon, and each from its own tiles only."""
    anchored, names = _needs_by_anchor(), tiles.keys()
    for tile in tiles:
        for need, entry in anchored.get(tile, ()):
            if names >= need and entry not in words:
                parts = entry.syllables
                if all(tiles[part] >= parts.count(part) for part in parts):
                    return False
    return not any(_is_spelled_otherwise(entry, tiles) for entry in words)


@cache
def _needs_by_anchor() -> dict[str, tuple[tuple[frozenset[str], Entry], ...]]:
    """The entries under their rarest tile, each with the set of its tiles: most are ruled out by that alone."""
    return {
        tile: tuple((frozenset(entry.syllables), entry) for entry in entries)
        for tile, entries in entries_by_anchor().items()
    }


def _is_spelled_otherwise(entry: Entry, tiles: Iterable[str]) -> bool:
    """Says whether other tiles put together make the word too, in as many parts; counts are not looked at."""
    word = entry.word
    inside = [tile for tile in tiles if tile in word]
    if len(inside) <= len(entry.syllables):
        return False
    ways = {0: 1}  # letters covered -> ways to cover them, part by part
    for _ in entry.syllables:
        longer: dict[int, int] = {}
        for end, count in ways.items():
            for tile in inside:
                if word.startswith(tile, end):
                    longer[end + len(tile)] = longer.get(end + len(tile), 0) + count
        ways = longer
    return ways.get(len(word), 0) > 1


def _clear_clues(entry: Entry, words: Sequence[Entry]) -> list[str]:
    """Gives the clues of a word that stand for no other word of the puzzle."""
    return [c.text for c in entry.clues if not c.also or not any(word.word in c.also for word in words)]


@cache
def _pool(level: int) -> tuple[Entry, ...]:
    rules = LEVELS[level]
    return tuple(
        entry
        for entry in load_lexicon()
        if entry.band in rules.bands
        and len(entry.word) <= rules.max_letters
        and len(entry.syllables) in rules.syllables
    )


@cache
def _places_by_tile(level: int) -> dict[str, list[int]]:
    """Tile -> places in the level's pool of the words that have it."""
    found: dict[str, list[int]] = {}
    for place, entry in enumerate(_pool(level)):
        for tile in entry.syllables:
            found.setdefault(tile, []).append(place)
    return found


@cache
def _tile_names() -> tuple[str, ...]:
    return tuple(sorted({tile for entry in load_lexicon() for tile in entry.syllables}))


@cache
def _capacity(level: int) -> int:
    """Counts the word sets within one family: words whose tiles, used as often as one likes, spell no word outside it.

    Any choice out of such a family is a puzzle of one solution; words that must share a tile are counted as if there
    were one such group only. A family of FAMILY words is enough: there are billions of choices.
    """
    family: list[Entry] = []
    tiles: dict[str, int] = {}
    for entry in _pool(level):
        if len(family) == FAMILY:
            break
        grown = {**tiles, **dict.fromkeys(entry.syllables, 9)}
        if all(not clue.also for clue in entry.clues) and is_single(grown, [*family, entry]):
            family.append(entry)
            tiles = grown
    rules = LEVELS[level]
    group = rules.shared + 1 if rules.shared else 0
    return comb(len(family) - group, rules.words - group)


def _ask(words: list[Entry], clues: list[str], bank: list[str], num_herrings: int) -> str:
    lines = [
        f"{n}. {clue}{f' {SLOT}' * len(entry.syllables)}"
        for n, (entry, clue) in enumerate(zip(words, clues, strict=True), 1)
    ]
    rule = _SOME.format(count=num_herrings) if num_herrings else _ALL
    return "\n".join((_HEAD, *lines, rule, f"Tiles: {' | '.join(bank)}", _CONTRACT))


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
        "unused_tiles": [tile for tile in bank if tile not in used],
        "status": "ok",
    }
    return dumps({"solutions": solutions, "inventory_check": inventory}).decode()


GENERATOR: Generator = Syllo()
