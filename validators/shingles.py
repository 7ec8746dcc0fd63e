"""Texts as hashed words and word n-grams, many texts at once: the ground of near-duplicates and of contamination.

A word is a run of letters, digits and underscores, without case; every other visible character is a word of its own, so
that `7 + 5` and `7 - 5` differ; Chinese, Japanese and other scripts without spaces are read character by character.
Words are hashed by numpy alone: a prefix sum of byte values times powers of an odd number gives the polynomial hash of
any run of bytes as one difference (Karp and Rabin 1987), at the cost of a few passes over the bytes. No Python object
per word is made. Hashes are the same on every run and machine.
LIMIT: 64 bits a word, 32 bits an n-gram; a text's n-grams collide with probability (number of n-grams)^2 / 2^33.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 18
"""Texts are hashed this many bytes at a time, so that the arrays stay in the processor's cache."""

Number = TypeVar("Number", np.uint64, np.int64)

_SPACE, _WORD, _SIGN = 0, 1, 2
_BASE = 0x9E3779B97F4A7C15
_FINAL = np.uint64(0xD6E8FEB86659FD93)
_U32, _U29 = np.uint64(32), np.uint64(29)
# Scripts written without spaces: each of their characters is a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_ALONE = rf"[^\x00-\x7f\w\s]|[{_UNSPACED}]"
_FOREIGN_SPACE = r"[^\S\x00-\x7f]+"


class Hashed(NamedTuple):
    """Hashes of many texts, one after another; those of text `i` are `values[starts[i] : starts[i + 1]]`."""

    values: NDArray[np.uint64]
    starts: NDArray[np.int64]


class Shingles(NamedTuple):
    """The n-grams of many texts, laid out as in `Hashed`; a text may repeat one."""

    values: NDArray[np.uint32]
    starts: NDArray[np.int64]


def blocks(texts: Sequence[str], size: int = BLOCK_BYTES) -> Iterator[slice]:
    """Yields slices of `texts` of about `size` characters, each of at least one text."""
    first, total = 0, 0
    for place, text in enumerate(texts):
        total += len(text)
        if total >= size:
            yield slice(first, place + 1)
            first, total = place + 1, 0
    if first < len(texts):
        yield slice(first, len(texts))


def hash_words(texts: Sequence[str]) -> Hashed:
    """Gives the hash of every word of every text, in order."""
    raw, ends = _joined(texts)
    blob = np.frombuffer(raw, np.uint8)
    kinds, values = _tables()
    kind = np.frombuffer(raw.translate(kinds), np.uint8)
    is_word = kind == _WORD
    is_sign = kind == _SIGN
    opens, closes = is_word.copy(), is_word.copy()
    opens[1:] &= ~is_word[:-1]
    closes[:-1] &= ~is_word[1:]
    first, last = np.flatnonzero(opens | is_sign), np.flatnonzero(closes | is_sign)
    powers, inverses = _powers(1 << max(18, len(blob).bit_length()))
    weighed = values[blob]
    weighed *= powers[: len(blob)]
    sums = np.cumsum(weighed)
    hashes = sums[last]
    hashes -= sums[first]
    hashes += weighed[first]
    hashes *= inverses[first]
    starts = np.zeros(len(texts) + 1, np.int64)
    starts[1:] = np.searchsorted(first, ends)
    return Hashed(mix(hashes), starts)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spreads every bit of each value over all of its bits, in place; gives the same array."""
    values ^= values >> _U32
    values *= _FINAL
    values ^= values >> _U29
    return values


def distinct(values: NDArray[Number]) -> NDArray[Number]:
    """Gives the values sorted and once, which np.unique takes ten times as long for; the array itself gets sorted."""
    values.sort()
    fresh = np.ones(len(values), bool)
    fresh[1:] = values[1:] != values[:-1]
    return values[fresh]


def ngrams(words: Hashed, length: int) -> NDArray[np.uint64]:
    """Gives the mixed hash of `length` words from each word on, across the ends of texts too (see `num_whole`)."""
    num = len(words.values)
    padded = np.concatenate([words.values, np.zeros(length - 1, np.uint64)])
    found = np.zeros(num, np.uint64)
    for place, factor in enumerate(_factors(length)):
        found += padded[place : place + num] * factor
    return mix(found)


def shingle(words: Hashed, length: int) -> Shingles:
    """Gives the n-grams that lie inside each text; a shorter text is one n-gram, a text without words has none."""
    found = ngrams(words, length)
    begins, ends = words.starts[:-1], words.starts[1:]
    sizes = ends - begins
    inside = np.ones(len(found), bool)
    for back in range(1, length):
        at = ends - back
        inside[at[at >= begins]] = False
    short = np.flatnonzero((sizes > 0) & (sizes < length))
    if len(short):
        whole = np.zeros(len(short), np.uint64)
        for place, factor in enumerate(_factors(length)):
            has = sizes[short] > place
            whole[has] += words.values[begins[short][has] + place] * factor
        found[begins[short]] = mix(whole)
        inside[begins[short]] = True
    counts = np.where(sizes >= length, sizes - length + 1, np.minimum(sizes, 1))
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return Shingles((found[inside] >> _U32).astype(np.uint32), starts)


def _joined(texts: Sequence[str]) -> tuple[bytes, NDArray[np.int64]]:
    """Gives the bytes of all texts, a newline behind each, and where each ends."""
    whole = "\n".join(texts) + "\n"
    if whole.isascii():
        raw, sizes = whole.encode(), map(len, texts)
    else:
        encoded = [text.encode() if text.isascii() else _spaced(text).encode("utf-8", "replace") for text in texts]
        raw, sizes = b"\n".join(encoded) + b"\n", map(len, encoded)
    return raw, np.cumsum(np.fromiter(sizes, np.int64, len(texts)) + 1)


def _spaced(text: str) -> str:
    """Gives a text with every character that is a word of its own between ASCII spaces."""
    text = unicodedata.normalize("NFC", text).lower()
    return re.sub(_FOREIGN_SPACE, " ", re.sub(_ALONE, r" \g<0> ", text))


@cache
def _factors(length: int) -> tuple[np.uint64, ...]:
    rng = np.random.Generator(np.random.Philox(key=0x5EED))
    return tuple(rng.integers(0, 1 << 63, length, np.uint64) * np.uint64(2) + np.uint64(1))


@cache
def _tables() -> tuple[bytes, NDArray[np.uint64]]:
    """The kind of each byte, and its value in the hash: the same for both cases of an ASCII letter."""
    letters = [chr(byte) for byte in range(128)]
    kinds = [_WORD if c.isalnum() or c == "_" else _SIGN if c.isprintable() and c != " " else _SPACE for c in letters]
    kinds += [_WORD] * 128  # pieces of letters: `_spaced` sets all else apart
    values = np.random.Generator(np.random.Philox(key=0xB17E)).integers(1, 1 << 64, 256, np.uint64)
    values[ord("A") : ord("Z") + 1] = values[ord("a") : ord("z") + 1]
    return bytes(kinds), values


@cache
def _powers(size: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Powers of the base and of its inverse modulo 2^64, `size` of each."""
    base, inverse = np.uint64(_BASE), np.uint64(pow(_BASE, -1, 1 << 64))
    first, second = (np.cumprod(np.full(size, one, np.uint64), dtype=np.uint64) for one in (base, inverse))
    return first, second
