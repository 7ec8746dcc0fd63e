"""The words of the SYLLO puzzles, each with its syllables and the clue that stands for it alone.

The table is data in lexicon.tsv beside this file, ours and CC0-1.0. Both the puzzle maker and its verifier read it:
what a clue means is a definition, not a computation that could be checked twice.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from frontier_core.errors import DataError

PATH = Path(__file__).parent / "lexicon.tsv"


class Entry(NamedTuple):
    """One word: lower case, its syllables in order, and a clue of 2 to 6 words that no other entry has."""

    word: str
    syllables: tuple[str, ...]
    clue: str


@lru_cache(maxsize=1)
def load_lexicon() -> tuple[Entry, ...]:
    """Gives every entry, sorted by word.

    Raises:
        DataError: a line has not three fields, its syllables don't spell its word, or a word or clue comes twice.
    """
    return parse_lexicon(PATH.read_text(encoding="utf-8"), path=str(PATH))


@lru_cache(maxsize=1)
def entries_by_clue() -> dict[str, Entry]:
    """Gives clue -> entry."""
    return {entry.clue: entry for entry in load_lexicon()}


def parse_lexicon(text: str, *, path: str) -> tuple[Entry, ...]:
    """Reads the table's text; lines that begin with `#` are remarks. `path` names it in errors; see load_lexicon."""
    entries: list[Entry] = []
    words: set[str] = set()
    clues: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#") or not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 3:
            raise DataError(f"has {len(fields)} fields, not word, syllables, clue", path=path, line=number)
        word, syllables, clue = fields[0], tuple(fields[1].split("-")), fields[2]
        if "".join(syllables) != word or not all(syllables):
            raise DataError(f"syllables {fields[1]!r} don't spell {word!r}", path=path, line=number)
        if word in words or clue in clues:
            raise DataError(f"word {word!r} or its clue comes twice", path=path, line=number)
        words.add(word)
        clues.add(clue)
        entries.append(Entry(word, syllables, clue))
    return tuple(entries)
