"""Training records that hold what a model will be tested on: by n-grams that survive editing, and by near-duplicates.

A held-out record is a problem (its user turns) and, if long, an answer. A training record holds it when word 5-grams
of the problem that the record shares cover at least 70 % of the problem's own words, in any order and any setting, or
when the two are near-duplicates as a whole. The problem's *own* words are those that no boilerplate 5-gram covers: what
many held-out problems have in common, or what far more training records share than share the rest of the problem (a
template, an instruction), says nothing about this one. Problems of fewer than twelve words must be there completely, of
fewer than six must be the whole user turn.
Source: the 13-gram overlap of Brown et al. (2020), appendix C, made to bear edits and templates.
LIMIT: paraphrases and translations are not found; held-out data is held in memory (about 100 bytes a word).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frontier_core.profiles import undress
from frontier_core.records import Record
from validators.leakage import posed_in
from validators.near_duplicates import band_keys, bands_for, text_of, without_repeats
from validators.shingles import Hashed, Shingles, blocks, distinct, hash_words, mix, ngrams, shingle

LENGTH = 5
"""Words an n-gram: short enough to survive edits, long enough not to be shared by chance."""
SHARE = 0.7
THRESHOLD = 0.8
MIN_WORDS = 12
MIN_WHOLE_WORDS = 6
MIN_ANSWER_WORDS = 40
MANY_ITEMS = 10
"""An n-gram of more held-out problems than this is boilerplate, and so is one of more training records than this that
share it at three times the rate of the problem's rarest n-grams."""
_RARE = 0.05
_HALF = np.uint64(32)
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Item(NamedTuple):
    """One held-out problem or answer: where it stands, which of the two it is, and its number of words."""

    path: str
    line: int
    part: str
    num_words: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What a training record (by its number) holds of a held-out one; `how` is ngram, whole or near_duplicate."""

    number: int
    item: Item
    share: float
    how: str


class HeldOut:
    """The held-out records; add them all, then `build`, then hand over training texts and ask for `overlaps`."""

    def __init__(self) -> None:
        self.num_records = 0
        self._texts: list[str] = []
        self._items: list[tuple[str, int, str]] = []
        self._near_texts: list[str] = []
        self._near_at: list[tuple[str, int]] = []

    def add(self, record: Record, path: str, line: int) -> None:
        """Adds one held-out record."""
        self.num_records += 1
        asked = question_of(record)
        posed = posed_in(record)
        for part, text in (("prompt", asked), ("answer", posed.answer if posed else "")):
            if text.strip():
                self._texts.append(text)
                self._items.append((path, line, part))
        self._near_texts.append(undressed_text(record))
        self._near_at.append((path, line))

    def build(self) -> Held:
        """Gives the index over what was added."""
        words = hash_words(self._texts)
        sizes = np.diff(words.starts)
        chosen = [n for n, item in enumerate(self._items) if item[2] == "prompt" or sizes[n] >= MIN_ANSWER_WORDS]
        _, first = np.unique(_whole(words)[chosen], return_index=True)
        kept = [chosen[n] for n in sorted(first.tolist())]  # a problem that stands there twice is one
        items = [Item(path, line, part, int(sizes[n])) for n in kept for path, line, part in (self._items[n],)]
        return Held(items, _picked(words, kept), _Near(self._near_texts, self._near_at))


def question_of(record: Record) -> str:
    """Gives what a record asks, without system turns, results of tools and answers."""
    messages = record.get("messages")
    if isinstance(messages, list):
        turns = [turn for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"]
        return "\n".join(turn["content"] for turn in turns if isinstance(turn.get("content"), str))
    return text_of(record, "prompt")


def undressed_text(record: Record) -> str:
    """Gives the text of a record without what a profile adds to its answers and without system turns."""
    messages = record.get("messages")
    if not isinstance(messages, list):
        return text_of(record, "record")
    turns = [
        {**turn, "content": undress(turn["content"])} if isinstance(turn.get("content"), str) else turn
        for turn in messages
        if isinstance(turn, dict) and turn.get("role") != "system"
    ]
    return text_of({"messages": turns}, "record")


class Held:
    """Held-out problems, ready to be found in training texts.

    Args:
        items: the problems and answers.
        words: their words.
        near: the same records for near-duplicates.
    """

    def __init__(self, items: list[Item], words: Hashed, near: _Near) -> None:
        self.items = items
        self._near = near
        self._whole = dict(zip(_whole(words).tolist(), range(len(items)), strict=True))
        grams, self._first_of = _inside(words)
        owner = np.repeat(np.arange(len(items)), np.diff(self._first_of))
        self._grams, gram_of = np.unique(grams, return_inverse=True)
        pairs = distinct(gram_of * max(1, len(items)) + owner)
        is_common = np.bincount(pairs // max(1, len(items)), minlength=len(self._grams)) > MANY_ITEMS
        self._is_common = is_common[gram_of]  # per gram place
        by_gram = np.argsort(gram_of, kind="stable")
        self._places = by_gram[~self._is_common[by_gram]]
        counts = np.bincount(gram_of[self._places], minlength=len(self._grams))
        self._postings = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        self._owner = owner
        self._filter = np.zeros(1 << 22, bool)
        self._filter[(self._grams >> np.uint64(42)).astype(np.int64)] = True
        self._hits: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
        self._direct: list[Overlap] = []
        self._num = 0

    def see(self, texts: Sequence[str], questions: Sequence[str]) -> None:
        """Takes training records, numbered from 0 as they come: their whole text, and what they ask."""
        for part in blocks(texts):
            words = hash_words(texts[part])
            self._see_grams(words)
            wholes = _whole(hash_words(questions[part])).tolist()
            for place, whole in enumerate(wholes):
                item = self._whole.get(whole)
                if item is not None and questions[part][place].strip():
                    found = Overlap(number=self._num + place, item=self.items[item], share=1.0, how="whole")
                    self._direct.append(found)
            self._direct += self._near.find(shingle(words, LENGTH_NEAR), self._num)
            self._num += len(words.starts) - 1

    def _see_grams(self, words: Hashed) -> None:
        grams, first_of = _inside(words)
        maybe = np.flatnonzero(self._filter[(grams >> np.uint64(42)).astype(np.int64)])
        if not len(maybe):
            return
        at = np.searchsorted(self._grams, grams[maybe])
        at[at == len(self._grams)] = 0
        hit = self._grams[at] == grams[maybe]
        maybe, at = maybe[hit], at[hit]
        records = np.searchsorted(first_of, maybe, side="right") - 1 + self._num
        pairs = distinct(records * len(self._grams) + at)  # each n-gram once a record
        records, at = pairs // len(self._grams), pairs % len(self._grams)
        counts = self._postings[at + 1] - self._postings[at]
        ends = np.cumsum(counts)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
        places = self._places[np.repeat(self._postings[at], counts) + within]
        self._hits.append((np.repeat(records, counts), places.astype(np.int32)))

    def overlaps(self) -> list[Overlap]:
        """Gives what was found, the strongest per training record, by record."""
        best: dict[int, Overlap] = {}
        for found in (*self._direct, *self._by_grams()):
            known = best.get(found.number)
            if known is None or found.share > known.share:
                best[found.number] = found
        return [best[number] for number in sorted(best)]

    def _by_grams(self) -> Iterator[Overlap]:
        if not self._hits:
            return
        records = np.concatenate([records for records, _ in self._hits])
        places = np.concatenate([places for _, places in self._hits]).astype(np.int64)
        seen = np.bincount(places, minlength=len(self._owner))
        boilerplate = self._is_common | self._shared_by_far_more(seen)
        items = self._owner[places]
        order = np.lexsort((places, items, records))
        records, items, places = records[order], items[order], places[order]
        fresh = np.ones(len(records), bool)
        fresh[1:] = (records[1:] != records[:-1]) | (items[1:] != items[:-1])
        starts = np.append(np.flatnonzero(fresh), len(records))
        # Cheap first: so few n-grams can't cover enough.
        least = np.array([max(1, (item.num_words - LENGTH) // (2 * LENGTH)) for item in self.items])
        for start, stop in pairwise(starts.tolist()):
            item = int(items[start])
            if stop - start < least[item] and not boilerplate[self._first_of[item] : self._first_of[item + 1]].any():
                continue
            share = self._covered(item, places[start:stop] - self._first_of[item], boilerplate)
            if share >= SHARE:
                yield Overlap(number=int(records[start]), item=self.items[item], share=share, how="ngram")

    def _shared_by_far_more(self, seen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Says which n-grams far more training records share than share the rarest ones of their problem."""
        out = np.zeros(len(seen), bool)
        for item in np.unique(self._owner[seen > MANY_ITEMS]).tolist():
            part = slice(self._first_of[item], self._first_of[item + 1])
            counts = seen[part]
            rare = np.sort(counts)[int(_RARE * (len(counts) - 1))]
            out[part] = (counts > MANY_ITEMS) & (counts > 3 * (rare + 1))
        return out

    def _covered(self, item: int, found: NDArray[np.int64], boilerplate: NDArray[np.bool_]) -> float:
        """Gives the share of an item's own words that the n-grams found cover; 0.0 when they prove too little."""
        num = self.items[item].num_words
        common = np.flatnonzero(boilerplate[self._first_of[item] : self._first_of[item + 1]])
        own, covered = np.ones(num, bool), np.zeros(num, bool)
        for back in range(LENGTH):
            own[common + back] = False
            covered[found + back] = True
        if not own.any():
            return 0.0
        share = float(covered[own].sum() / own.sum())
        proves = covered.sum() >= MIN_WORDS or (num >= MIN_WHOLE_WORDS and covered.all())
        return share if proves else 0.0


LENGTH_NEAR = 2


class _Near:
    """Held-out records as near-duplicates know them."""

    def __init__(self, texts: list[str], at: list[tuple[str, int]]) -> None:
        self._bands = bands_for(THRESHOLD)
        self._at = at
        found = [shingle(hash_words(texts[part]), LENGTH_NEAR) for part in blocks(texts)]
        sizes = np.concatenate([np.empty(0, np.int64), *(np.diff(part.starts) for part in found)])
        self._rows = np.flatnonzero(sizes)
        values = np.concatenate([np.empty(0, np.uint32), *(part.values for part in found)])
        starts = np.append(0, np.cumsum(sizes[self._rows]))
        self._sets = without_repeats(Shingles(values, starts))
        keys = band_keys(self._sets, self._bands) if len(self._rows) else np.empty((0, self._bands.bands), np.uint32)
        self._order = np.argsort(keys, axis=0, kind="stable")
        self._keys = np.take_along_axis(keys, self._order, axis=0)

    def find(self, texts: Shingles, first: int) -> Iterator[Overlap]:
        """Yields the near-duplicates among training texts, which are numbered from `first`."""
        full = np.flatnonzero(np.diff(texts.starts))
        if not len(full) or not len(self._rows):
            return
        sets = without_repeats(Shingles(texts.values, np.append(texts.starts[full], texts.starts[-1])))
        keys = band_keys(sets, self._bands)
        candidates: set[tuple[int, int]] = set()
        for band in range(self._bands.bands):
            low = np.searchsorted(self._keys[:, band], keys[:, band])
            high = np.searchsorted(self._keys[:, band], keys[:, band], side="right")
            for row in np.flatnonzero(high > low).tolist():
                candidates.update((row, int(self._order[at, band])) for at in range(low[row], high[row]))
        for row, held in sorted(candidates):
            mine, other = (s.values[s.starts[n] : s.starts[n + 1]] for s, n in ((sets, row), (self._sets, held)))
            common = len(np.intersect1d(mine, other, assume_unique=True))
            similarity = common / (len(mine) + len(other) - common)
            if similarity >= THRESHOLD:
                path, line = self._at[self._rows[held]]
                item = Item(path, line, "record", 0)
                yield Overlap(number=first + int(full[row]), item=item, share=similarity, how="near_duplicate")


def _inside(words: Hashed) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Gives the n-grams that lie inside each text, and where those of each text begin."""
    found = ngrams(words, LENGTH)
    counts = np.maximum(np.diff(words.starts) - LENGTH + 1, 0)
    starts = np.append(0, np.cumsum(counts))
    within = np.arange(int(starts[-1])) - np.repeat(starts[:-1], counts)
    return found[np.repeat(words.starts[:-1], counts) + within], starts


def _whole(words: Hashed) -> NDArray[np.uint64]:
    """Gives one hash for all words of each text, in their order."""
    sizes = np.diff(words.starts)
    within = np.arange(len(words.values)) - np.repeat(words.starts[:-1], sizes)
    weighed = mix(words.values + within.astype(np.uint64) * _ODD)
    sums = np.append(np.uint64(0), np.cumsum(weighed))
    return sums[words.starts[1:]] - sums[words.starts[:-1]]


def _picked(words: Hashed, texts: list[int]) -> Hashed:
    """Gives the words of some texts."""
    parts = [words.values[words.starts[n] : words.starts[n + 1]] for n in texts]
    sizes = np.array([len(part) for part in parts], np.int64)
    return Hashed(np.concatenate([np.empty(0, np.uint64), *parts]), np.append(0, np.cumsum(sizes)))
