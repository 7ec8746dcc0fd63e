"""The words of the SYLLO puzzles, each with its syllables and the clues that stand for it.

Two tables beside this file: lexicon.tsv is ours (CC0-1.0), short words with clues written for puzzles;
lexicon_wordnet.tsv has seven times as many, with clues from WordNet (its licence lies beside it; build_lexicon.py makes
it). The puzzle maker and its verifier both read them: what a clue means is a definition, not a computation that could
be checked twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from frontier_core.errors import DataError

OWN = Path(__file__).parent / "lexicon.tsv"
WORDNET = Path(__file__).parent / "lexicon_wordnet.tsv"
KINDS = ("definition", "synonym", "example", "masked")


class Clue(NamedTuple):
    """A clue's words, its kind (one of KINDS), and the further words of the lexicon it could stand for."""

    text: str
    kind: str
    also: tuple[str, ...] = ()


class Entry(NamedTuple):
    """One word: lower case, its syllables in order, its band and its clues.

    Bands: 0 our own short list, 1 met often, 2 now and then, 3 seldom.
    """

    word: str
    syllables: tuple[str, ...]
    band: int
    clues: tuple[Clue, ...]


@lru_cache(maxsize=1)
def load_lexicon() -> tuple[Entry, ...]:
    """Gives every entry of both tables, sorted by word.

    Raises:
        DataError: a line is malformed, its syllables don't spell its word, or a word stands in both tables.
    """
    entries = [
        *parse_lexicon(OWN.read_text(encoding="utf-8"), path=str(OWN)),
        *parse_wordnet(WORDNET.read_text(encoding="utf-8"), path=str(WORDNET)),
    ]
    if len({entry.word for entry in entries}) != len(entries):
        raise DataError(f"a word stands in {OWN.name} too", path=str(WORDNET), hint="run build_lexicon again")
    return tuple(sorted(entries))


@lru_cache(maxsize=1)
def entries_by_clue() -> dict[str, tuple[Entry, ...]]:
    """Gives clue -> the entries it admits, sorted by word; most clues admit one."""
    entries = {entry.word: entry for entry in load_lexicon()}
    words: dict[str, set[str]] = defaultdict(set)
    for entry in entries.values():
        for clue in entry.clues:
            words[clue.text].update((entry.word, *clue.also))
    return {clue: tuple(entries[word] for word in sorted(admitted)) for clue, admitted in words.items()}


@lru_cache(maxsize=1)
def entries_by_anchor() -> dict[str, tuple[Entry, ...]]:
    """Gives tile -> the entries whose rarest tile it is.

    Every entry stands under one tile, so that the words a bank spells are found by looking under its tiles only.
    """
    counts: dict[str, int] = defaultdict(int)
    for entry in load_lexicon():
        for tile in entry.syllables:
            counts[tile] += 1
    anchored: dict[str, list[Entry]] = defaultdict(list)
    for entry in load_lexicon():
        anchored[min(entry.syllables, key=lambda tile: (counts[tile], tile))].append(entry)
    return {tile: tuple(entries) for tile, entries in anchored.items()}


def _rows(text: str, path: str, names: tuple[str, ...]) -> Iterator[tuple[int, list[str], tuple[str, ...]]]:
    """Yields line number, fields and syllables of each line that is no remark."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != len(names):
            raise DataError(f"has {len(fields)} fields, not {', '.join(names)}", path=path, line=number)
        syllables = tuple(fields[1].split("-"))
        if "".join(syllables) != fields[0] or not all(syllables):
            raise DataError(f"syllables {fields[1]!r} don't spell {fields[0]!r}", path=path, line=number)
        yield number, fields, syllables


def parse_lexicon(text: str, *, path: str) -> tuple[Entry, ...]:
    """Reads our own table: word, syllables, clue; a word and a clue each come once. `path` names it in errors."""
    entries: list[Entry] = []
    words: set[str] = set()
    clues: set[str] = set()
    for number, (word, _, clue), syllables in _rows(text, path, ("word", "syllables", "clue")):
        if word in words or clue in clues:
            raise DataError(f"word {word!r} or its clue comes twice", path=path, line=number)
        words.add(word)
        clues.add(clue)
        entries.append(Entry(word, syllables, 0, (Clue(clue, "definition"),)))
    return tuple(entries)


def parse_wordnet(text: str, *, path: str) -> tuple[Entry, ...]:
    """Reads the table made from WordNet: a line for each clue, the lines of a word together. `path` names it."""
    entries: dict[str, Entry] = {}
    names = ("word", "syllables", "band", "kind", "clue", "other words")
    for number, (word, _, band, kind, text_, also), syllables in _rows(text, path, names):
        if kind not in KINDS or band not in ("1", "2", "3"):
            raise DataError(f"no such kind or band: {kind!r}, {band!r}", path=path, line=number)
        clue = Clue(text_, kind, tuple(also.split()))
        known = entries.get(word)
        entries[word] = Entry(word, syllables, int(band), (*known.clues, clue) if known else (clue,))
    return tuple(entries.values())
