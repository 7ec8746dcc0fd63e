"""Near-duplicate texts: found by MinHash in bands, decided by the Jaccard similarity of their word n-grams itself.

MinHash estimates that similarity (Broder 1997, "On the resemblance and containment of documents"); texts that agree on
a whole band of hashes are candidates (Indyk and Motwani 1998), and the sets decide, so that no pair is called alike by
chance. Bands are chosen for the threshold: a pair just at it is found with probability 0.99.
`NearDuplicates` holds a whole collection and finds its groups; `NearDuplicateFilter` sees texts one by one and names
what each repeats. Which texts of a record are compared is `text_of`.
LIMIT: in memory 70 bytes a text; the n-grams themselves wait in a temporary file (4 bytes each). At most 2^31 texts.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frontier_core.errors import ConfigError
from frontier_core.jsonl import dumps
from frontier_core.records import Record
from validators.shingles import Shingles, blocks, distinct, hash_words, mix, shingle

By = Literal["prompt", "record"]
SHINGLE_WORDS = 3
MAX_HASHES, MAX_BANDS, MAX_ROWS = 128, 32, 5
PAIRS_AT_ONCE = 1 << 14
"""Candidate pairs whose sets are in memory at a time."""
ROUNDS_A_BUCKET = 16
_SURE = 0.99
_LOW = np.uint64(0xFFFFFFFF)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF, _ONE = np.uint64(32), np.uint64(1)

Pairs = NDArray[np.int64]


def text_of(record: Record, by: By) -> str:
    """Gives the text that is compared: what is asked, or that and the answer."""
    if "instruction" in record:
        plan = [] if by == "prompt" else [dumps(record.get("output")).decode()]
        return "\n".join([str(record["instruction"]), *plan])
    if "prompt" in record:
        parts = (
            [record["prompt"]] if by == "prompt" else [record["prompt"], record.get("chosen"), record.get("rejected")]
        )
        return "\n".join(part if isinstance(part, str) else dumps(part).decode() for part in parts)
    messages = record.get("messages")
    turns = [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    if not turns:
        return str(record.get("text", ""))
    asked = [turn for turn in turns if turn.get("role") != "assistant"] if by == "prompt" else turns
    return "\n".join(str(turn.get("content") or dumps(turn.get("tool_calls")).decode()) for turn in asked)


class Bands(NamedTuple):
    """How hashes are banded: texts that agree on all `rows` of any of the `bands` are compared."""

    bands: int
    rows: int

    def recall(self, similarity: float) -> float:
        """Gives the probability that a pair of that similarity is compared."""
        return 1.0 - (1.0 - float(similarity) ** self.rows) ** self.bands


def bands_for(threshold: float) -> Bands:
    """Gives the fewest bands, of five rows if that can be, that find a pair at the threshold with probability 0.99.

    Raises:
        ConfigError: the threshold is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"a threshold of {threshold} is not above 0 and at most 1")
    for rows in range(MAX_ROWS, 0, -1):
        for bands in range(4, min(MAX_BANDS, MAX_HASHES // rows) + 1):
            if Bands(bands, rows).recall(threshold) >= _SURE:
                return Bands(bands, rows)
    return Bands(MAX_HASHES, 1)


def band_keys(found: Shingles, bands: Bands) -> NDArray[np.uint32]:
    """Gives a key per text and band (texts x bands); texts of equal key agree on that band. Each text has n-grams."""
    num = len(found.starts) - 1
    factors, shifts = _permutations(bands.bands * bands.rows)
    lowest = np.empty((bands.bands * bands.rows, num), np.uint32)
    if num == 1:
        lowest[:, 0] = (found.values * factors[:, None] + shifts[:, None]).min(axis=1)
    else:
        starts, room = found.starts[:-1], np.empty_like(found.values)
        for place in range(len(lowest)):
            np.multiply(found.values, factors[place], out=room)
            np.add(room, shifts[place], out=room)
            np.minimum.reduceat(room, starts, out=lowest[place])
    keys = np.repeat(np.arange(bands.bands, dtype=np.uint64)[:, None], num, axis=1)
    for row in range(bands.rows):
        keys *= _ODD
        keys += lowest[row :: bands.rows]
        mix(keys)
    return (keys >> _HALF).astype(np.uint32).T


@cache
def _permutations(number: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    rng = np.random.Generator(np.random.Philox(key=0xA11CE))
    drawn = rng.integers(0, 1 << 32, (2, MAX_HASHES), np.uint64).astype(np.uint32)
    return drawn[0, :number] | np.uint32(1), drawn[1, :number]


def jaccard(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> float:
    """Gives the Jaccard similarity of two arrays without repeats: the share of all their values that both have."""
    common = len(np.intersect1d(left, right, assume_unique=True))
    every = len(left) + len(right) - common
    return common / every if every else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """What a text is a near-duplicate of: the number it was added under, and their Jaccard similarity."""

    number: int
    similarity: float


ReadText = tuple[NDArray[np.uint32], list[int]]
"""The different n-grams of a text, and the keys under which texts like it are found."""


def read_text(text: str, bands: Bands, length: int = SHINGLE_WORDS) -> ReadText | None:
    """Gives what a NearDuplicateFilter needs of a text, None when it has no words."""
    found = shingle(hash_words([text]), length)
    if not len(found.values):
        return None
    found = without_repeats(found)
    return found.values, band_keys(found, bands)[0].tolist()


class NearDuplicateFilter:
    """The texts kept so far; `add` keeps one more, or says which of them it repeats: for streams, text by text.

    Everything kept is held in memory, about 2 kB a text of 100 words.

    Args:
        threshold: Jaccard similarity of word n-grams from which texts are alike, above 0 to 1.
        length: words an n-gram.
    """

    def __init__(self, threshold: float, *, length: int = SHINGLE_WORDS) -> None:
        self.threshold = threshold
        self.length = length
        self.bands = bands_for(threshold)
        self._buckets: dict[int, list[int]] = {}
        self._kept: dict[int, NDArray[np.uint32]] = {}

    def add(self, number: int, text: str) -> Twin | None:
        """Keeps a text under a number of the caller's; a near-duplicate is not kept but named."""
        return self.add_read(number, read_text(text, self.bands, self.length))

    def add_read(self, number: int, read: ReadText | None) -> Twin | None:
        """Keeps what `read_text` gave for a text, as `add` does."""
        if read is None:
            return None
        values, keys = read
        for candidate in sorted({other for key in keys for other in self._buckets.get(key, ())}):
            similarity = jaccard(values, self._kept[candidate])
            if similarity >= self.threshold:
                return Twin(number=candidate, similarity=similarity)
        for key in keys:
            self._buckets.setdefault(key, []).append(number)
        self._kept[number] = values
        return None


class NearDuplicates:
    """A collection of texts and the groups of near-duplicates in it; the order they were added in changes nothing.

    Args:
        threshold: Jaccard similarity of word n-grams from which texts are alike, above 0 to 1.
        length: words an n-gram.
    """

    def __init__(self, threshold: float = 0.8, *, length: int = SHINGLE_WORDS) -> None:
        self.threshold = threshold
        self.length = length
        self.bands = bands_for(threshold)
        self.num_compared = 0
        self._keys: list[NDArray[np.uint32]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._num = 0
        self._sets = tempfile.TemporaryFile(prefix="frontier-ngrams-")  # noqa: SIM115 (closed with the collection)
        weakref.finalize(self, self._sets.close)

    def __len__(self) -> int:
        """Number of texts added."""
        return self._num

    def add(self, texts: Sequence[str]) -> None:
        """Adds texts; they are numbered from 0 in the order they come. A text without words is like no other."""
        for part in blocks(texts):
            found = shingle(hash_words(texts[part]), self.length)
            self.add_shingles(found)

    def add_shingles(self, found: Shingles) -> None:
        """Adds texts whose n-grams are at hand."""
        sizes = np.diff(found.starts)
        full = np.flatnonzero(sizes)
        self._rows.append(full + self._num)
        self._num += len(sizes)
        if not len(full):
            return
        found = Shingles(found.values, np.append(found.starts[full], found.starts[-1]))
        self._keys.append(band_keys(found, self.bands))
        self._sizes.append(np.diff(found.starts))
        self._sets.write(found.values.tobytes())

    def pairs(self) -> tuple[Pairs, NDArray[np.float64]]:
        """Gives pairs of near-duplicates (lower number first, sorted) with their similarities, enough to link groups.

        Texts of equal n-grams are linked to one of them, and so are all that share a band with a text they are like; a
        group of a thousand copies gives thousands of pairs, not half a million.
        """
        self._sets.flush()
        keys = np.concatenate([np.empty((0, self.bands.bands), np.uint32), *self._keys])
        rows = np.concatenate([np.empty(0, np.int64), *self._rows])
        sets = _Sets(self._sets, np.concatenate([np.zeros(1, np.int64), *self._sizes]).cumsum())
        found = _linked(keys, sets, self.threshold)
        self.num_compared = found.num_compared
        pairs = np.sort(rows[found.pairs], axis=1)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        return pairs[order], found.similarities[order]

    def groups(self) -> list[list[int]]:
        """Gives the groups: texts linked by near-duplicates, each sorted, in the order of their first."""
        return grouped(self.pairs()[0])

    def twins(self) -> dict[int, Twin]:
        """Gives, for each text but the first of each group, the earliest it is known to be like."""
        return twins_of(*self.pairs())


def twins_of(pairs: Pairs, similarities: NDArray[np.float64]) -> dict[int, Twin]:
    """Gives, for each text but the first of each group, the earliest it is paired with."""
    twins: dict[int, Twin] = {}
    firsts = {group[0] for group in grouped(pairs)}
    for (left, right), similarity in zip(pairs.tolist(), similarities.tolist(), strict=True):
        for one, other in ((right, left), (left, right)):
            if one not in firsts and (one not in twins or other < twins[one].number):
                twins[one] = Twin(number=other, similarity=similarity)
    return twins


def grouped(pairs: Pairs) -> list[list[int]]:
    """Gives the connected groups of pairs, each sorted, in the order of their first."""
    parent: dict[int, int] = {}

    def root(one: int) -> int:
        while parent.setdefault(one, one) != one:
            parent[one] = one = parent[parent[one]]
        return one

    for left, right in pairs.tolist():
        first, second = sorted((root(left), root(right)))
        parent[second] = first
    groups: dict[int, list[int]] = {}
    for one in sorted(parent):
        groups.setdefault(root(one), []).append(one)
    return list(groups.values())


def without_repeats(found: Shingles) -> Shingles:
    """Gives each text's n-grams sorted and once. Each text has some."""
    sizes = np.diff(found.starts)
    owner = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
    both = (owner << _HALF) | found.values
    both.sort()
    fresh = np.ones(len(both), bool)
    fresh[1:] = both[1:] != both[:-1]
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(np.add.reduceat(fresh, found.starts[:-1], dtype=np.int64), out=starts[1:])
    return Shingles(both[fresh].astype(np.uint32), starts)


class _Sets:
    """The n-grams of every text, in a file, repeats and all; `starts` says where each text's begin."""

    def __init__(self, file: IO[bytes], starts: NDArray[np.int64]) -> None:
        self.starts = starts
        size = int(starts[-1])
        self.values = np.memmap(file, np.uint32, "r", shape=(size,)) if size else np.empty(0, np.uint32)

    def sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.starts[rows + 1] - self.starts[rows]

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Gives the n-grams of the texts one after another, and how many each has."""
        sizes = self.sizes(rows)
        ends = np.cumsum(sizes)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes, sizes)
        return self.values[np.repeat(self.starts[rows], sizes) + within], sizes

    def similarity(self, pairs: Pairs) -> NDArray[np.float64]:
        """Gives the Jaccard similarity of each pair."""
        out = np.empty(len(pairs))
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            part = pairs[start : start + PAIRS_AT_ONCE]
            every = []
            for side in (0, 1):
                values, sizes = self.gather(part[:, side])
                owner = np.repeat(np.arange(len(part), dtype=np.uint64), sizes)
                every.append(((owner << _HALF) | values) << _ONE | np.uint64(side))
            both = distinct(np.concatenate(every))  # each n-gram once a side: its pair, itself, the side
            grams = both >> _ONE
            owners = (grams >> _HALF).astype(np.int64)
            common = np.bincount(owners[1:][grams[1:] == grams[:-1]], minlength=len(part))
            out[start : start + PAIRS_AT_ONCE] = common / (np.bincount(owners, minlength=len(part)) - common)
        return out

    def whole(self) -> NDArray[np.uint64]:
        """Gives a hash of each text's n-grams, whatever their order; equal texts have equal hashes."""
        out = np.empty(len(self.starts) - 1, np.uint64)
        step = 4096
        for start in range(0, len(out), step):
            stop = min(start + step, len(out))
            values = np.asarray(self.values[self.starts[start] : self.starts[stop]]).astype(np.uint64)
            values += np.uint64(0x632BE59BD9B4E019)
            mix(values)
            out[start:stop] = np.add.reduceat(mix(values), self.starts[start:stop] - self.starts[start])
        return out


class _Links(NamedTuple):
    pairs: Pairs
    similarities: NDArray[np.float64]
    num_compared: int


def _linked(keys: NDArray[np.uint32], sets: _Sets, threshold: float) -> _Links:
    """Gives the links between texts, by row. Texts of equal n-grams are linked to one of them, which stands for all."""
    whole = sets.whole()
    order = np.argsort(whole, kind="stable")
    equal = np.zeros(len(order), bool)
    equal[1:] = whole[order[1:]] == whole[order[:-1]]
    heads = np.maximum.accumulate(np.where(equal, 0, np.arange(len(order))))
    same = np.stack([order[heads[equal]], order[equal]], axis=1)
    distinct = order[~equal]  # sorted by content: what follows depends on no order of the input
    compared = _Compared(sets, threshold)
    for band in range(keys.shape[1]):
        others = np.roll(keys, -band, axis=1)
        packed = (others[distinct, 0].astype(np.uint64) << _HALF) | np.arange(len(distinct), dtype=np.uint64)
        packed.sort()
        members = distinct[(packed & _LOW).astype(np.int64)]
        candidates = _first_round(others, members)
        while candidates is not None:
            candidates = candidates.next(compared.judge(candidates.pairs))
        compared.remember()
    found, similarities = compared.alike()
    return _Links(np.concatenate([same, found]), np.append(np.ones(len(same)), similarities), compared.num_compared)


class _Compared:
    """Pairs that were compared, so that none is compared again in another band."""

    def __init__(self, sets: _Sets, threshold: float) -> None:
        self.num_compared = 0
        self._sets, self._threshold = sets, threshold
        self._width = len(sets.starts)
        self._codes = np.empty(0, np.int64)
        self._similar = np.empty(0, np.float64)
        self._fresh: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []

    def judge(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Says which pairs are alike."""
        codes = pairs.min(axis=1) * self._width + pairs.max(axis=1)
        at = np.searchsorted(self._codes, codes)
        at[at == len(self._codes)] = 0
        known = self._codes[at] == codes if len(self._codes) else np.zeros(len(codes), bool)
        similar = np.zeros(len(pairs))
        similar[known] = self._similar[at[known]]
        asked = ~known
        similar[asked] = self._sets.similarity(pairs[asked])
        self.num_compared += int(asked.sum())
        self._fresh.append((codes[asked], similar[asked]))
        alike: NDArray[np.bool_] = similar >= self._threshold
        return alike

    def remember(self) -> None:
        """Makes what was compared since the last call known to `judge`."""
        codes = np.concatenate([self._codes, *(codes for codes, _ in self._fresh)])
        similar = np.concatenate([self._similar, *(similar for _, similar in self._fresh)])
        order = np.argsort(codes, kind="stable")
        self._codes, self._similar, self._fresh = codes[order], similar[order], []

    def alike(self) -> tuple[Pairs, NDArray[np.float64]]:
        """Gives the pairs found alike, and how much."""
        chosen = self._similar >= self._threshold
        codes = self._codes[chosen]
        return np.stack([codes // self._width, codes % self._width], axis=1), self._similar[chosen]


class _Round:
    """The candidates of one round in one band: in each bucket, its first text against all others.

    Those found alike leave the bucket, the rest goes on to the next round with a first text of its own. A bucket that
    is still crowded after some rounds is split by the key of the next band, or it would cost its square.
    """

    def __init__(self, keys: NDArray[np.uint32], buckets: NDArray[np.int64], members: NDArray[np.int64]) -> None:
        first = np.ones(len(buckets), bool)
        first[1:] = buckets[1:] != buckets[:-1]
        heads = np.maximum.accumulate(np.where(first, np.arange(len(buckets)), 0))
        self._rest = np.flatnonzero(~first)
        self._keys, self._buckets, self._members = keys, buckets, members
        self.pairs: Pairs = np.stack([members[heads[self._rest]], members[self._rest]], axis=1)
        self.number = 1

    def next(self, alike: NDArray[np.bool_]) -> _Round | None:
        """Gives the next round after being told which pairs are alike; None when every bucket is down to one text."""
        left = self._rest[~alike]
        buckets, members = self._buckets[left], self._members[left]
        split, rest = divmod(self.number, ROUNDS_A_BUCKET)
        if rest == 0:
            if split >= self._keys.shape[1]:
                return None
            finer = self._keys[members, split]
            order = np.lexsort((finer, buckets))
            buckets, members, finer = buckets[order], members[order], finer[order]
            fresh = np.zeros(len(buckets), np.int64)
            fresh[1:] = (buckets[1:] != buckets[:-1]) | (finer[1:] != finer[:-1])
            buckets = np.cumsum(fresh)
        found = _round(self._keys, buckets, members)
        if found is not None:
            found.number = self.number + 1
        return found


def _round(keys: NDArray[np.uint32], buckets: NDArray[np.int64], members: NDArray[np.int64]) -> _Round | None:
    """Gives the round of those buckets that hold more than one text, None when there is none."""
    many = np.zeros(len(buckets), bool)
    many[1:] = buckets[1:] == buckets[:-1]
    many[:-1] |= many[1:]
    return _Round(keys, buckets[many], members[many]) if many.any() else None


def _first_round(keys: NDArray[np.uint32], members: NDArray[np.int64]) -> _Round | None:
    """Gives the first round of a band, the key of which stands first; `members` are sorted by it."""
    return _round(keys, keys[members, 0].astype(np.int64), members)
