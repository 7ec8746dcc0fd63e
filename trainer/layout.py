"""How the examples of one optimizer step lie in memory: end to end without padding, what they share written once.

The step's examples are drawn first; nothing here changes which they are or what they weigh. Sorted, they form a tree of
token runs: a system prompt that eight chats begin with, or the prompt of a chosen and a rejected answer, is one
segment with several children. Attention lets a token see its own segment up to itself and every segment above. Only
rows that predict a supervised token go on to the output head. Arrays, no torch.
"""

# T flat tokens, G segments, R rows that predict, N predictions (a row that several samples share predicts for each)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

MIN_SHARED_TOKENS = 8
"""Shortest common run worth a segment of its own (an attention call of its own costs as much as a few tokens)."""


class Sequenced(Protocol):
    """What the layout reads of an example: `ids` and `is_supervised`, both of length T."""

    @property
    def ids(self) -> Sequence[int]:
        """Token ids."""

    @property
    def is_supervised(self) -> Sequence[bool]:
        """Whether each token is one to predict; the first never counts."""


class Span(NamedTuple):
    """A segment: flat rows `start` to `end`, its first token's position in its text, the segment above (-1: none)."""

    start: int
    end: int
    depth: int
    parent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatBatch:
    """Examples laid out flat.

    `row_R` are the flat rows that predict, ascending; prediction i is made by row `row_R[pick_N[i]]`, wants
    `target_N[i]` and belongs to example `sample_N[i]`. Predictions come example by example, in the order given.
    `num_input_tokens` is what the examples would take end to end without sharing.
    """

    ids_T: Any
    position_T: Any
    segments: tuple[Span, ...]
    row_R: Any
    pick_N: Any
    target_N: Any
    sample_N: Any
    num_samples: int
    num_input_tokens: int

    @property
    def is_shared(self) -> bool:
        """Whether any segment has one above it."""
        return any(span.parent >= 0 for span in self.segments)

    def chain(self, index: int) -> list[Span]:
        """Gives the segments above segment `index`, outermost first."""
        found: list[Span] = []
        parent = self.segments[index].parent
        while parent >= 0:
            found.append(self.segments[parent])
            parent = self.segments[parent].parent
        return found[::-1]

    def cu_seqlens(self) -> Any:
        """Gives the borders of the segments, for kernels that take texts of unlike length end to end."""
        return np.array([0, *(span.end for span in self.segments)], dtype=np.int32)

    def sees(self) -> Any:
        """Gives the G x G table of whether a token of segment i may see segment j: itself and those above it."""
        num = len(self.segments)
        table = np.zeros((num, num), dtype=bool)
        for index, span in enumerate(self.segments):
            if span.parent >= 0:
                table[index] = table[span.parent]
            table[index, index] = True
        return table

    def segment_T(self) -> Any:
        """Gives the segment of every flat row."""
        lengths = [span.end - span.start for span in self.segments]
        return np.repeat(np.arange(len(lengths)), lengths)


def flatten(
    examples: Sequence[Sequenced], *, is_sharing: bool = True, min_shared_tokens: int = MIN_SHARED_TOKENS
) -> FlatBatch:
    """Lays examples out flat.

    Args:
        examples: each with at least one supervised token after its first.
        is_sharing: whether common beginnings are written once; False gives one segment per example.
        min_shared_tokens: shortest common run that becomes a segment.
    Returns:
        The batch; tokens after an example's last supervised one are left out, nothing depends on them.
    """
    wanted = [np.flatnonzero(np.asarray(example.is_supervised, dtype=bool)[1:]) for example in examples]
    # A prediction's row is the one before its target, so the last target itself is no input.
    texts = [np.asarray(example.ids)[: places[-1] + 1] for example, places in zip(examples, wanted, strict=True)]
    tree = _Tree(texts, min_shared_tokens if is_sharing else 0)
    rows, samples, targets = [], [], []
    for index, (example, places) in enumerate(zip(examples, wanted, strict=True)):
        rows.append(tree.rows_of(index)[places])
        samples.append(np.full(len(places), index))
        targets.append(np.asarray(example.ids)[places + 1])
    row_R, pick_N = np.unique(np.concatenate(rows), return_inverse=True)
    return FlatBatch(
        ids_T=np.concatenate(tree.pieces).astype(np.int64),
        position_T=np.concatenate([np.arange(span.end - span.start) + span.depth for span in tree.segments]),
        segments=tuple(tree.segments),
        row_R=row_R,
        pick_N=pick_N,
        target_N=np.concatenate(targets).astype(np.int64),
        sample_N=np.concatenate(samples),
        num_samples=len(examples),
        num_input_tokens=sum(map(len, texts)),
    )


class _Tree:
    """The texts as a tree of segments, depth first, so that a segment's chain lies before it."""

    def __init__(self, texts: Sequence[Any], min_shared: int) -> None:
        self.texts = texts
        self.segments: list[Span] = []
        self.pieces: list[Any] = []
        self._last: dict[int, int] = {}
        self._min = min_shared
        if not min_shared:
            for index in range(len(texts)):
                self._last[index] = self._add(index, 0, len(texts[index]), -1)
            return
        order = sorted(range(len(texts)), key=lambda index: (texts[index].astype(">i4").tobytes(), index))
        common = [_common(texts[one], texts[two]) for one, two in pairwise(order)]
        self._grow(order, common, 0, -1)

    def rows_of(self, index: int) -> Any:
        """Gives the flat row of every position of a text."""
        parts, segment = [], self._last[index]
        while segment >= 0:
            span = self.segments[segment]
            parts.append(np.arange(span.start, span.end))
            segment = span.parent
        return np.concatenate(parts[::-1])

    def _add(self, index: int, depth: int, end: int, parent: int) -> int:
        start = self.segments[-1].end if self.segments else 0
        self.segments.append(Span(start, start + end - depth, depth, parent))
        self.pieces.append(self.texts[index][depth:end])
        return len(self.segments) - 1

    def _grow(self, order: list[int], common: list[int], depth: int, parent: int) -> None:
        """Adds texts that agree up to `depth`: groups that agree for longer become a segment, the rest one each."""
        start = 0
        for end in range(1, len(order) + 1):
            if end < len(order) and common[end - 1] >= depth + self._min:
                continue
            group, shared = order[start:end], common[start : end - 1]
            start = end
            agreed = min(shared, default=len(self.texts[group[0]]))
            segment = self._add(group[0], depth, agreed, parent) if agreed > depth else parent
            # Sorted, the texts that end here stand first.
            done = 0
            while done < len(group) and len(self.texts[group[done]]) == agreed:
                self._last[group[done]] = segment
                done += 1
            if done < len(group):
                self._grow(group[done:], shared[done:], agreed, segment)


def _common(one: Any, two: Any) -> int:
    """Gives how many first tokens two texts share."""
    size = min(len(one), len(two))
    differs = one[:size] != two[:size]
    return int(differs.argmax()) if differs.any() else size


def split_flat(units: Sequence[Sequence[Sequenced]], max_forward_tokens: int) -> list[list[int]]:
    """Cuts one step's units into forward passes of at most `max_forward_tokens` tokens, like beside like.

    Args:
        units: what must stay together: one example, or a pair.
        max_forward_tokens: tokens of one pass, before sharing; a unit that is longer gets a pass of its own.
    Returns:
        Lists of positions into `units`; every position once; all in one list, in order, where they fit.
    """
    sizes = [sum(len(example.ids) for example in unit) for unit in units]
    if sum(sizes) <= max_forward_tokens:
        return [list(range(len(units)))]
    passes: list[list[int]] = []
    room = 0
    for index in sorted(range(len(units)), key=lambda index: (list(units[index][0].ids), index)):
        if sizes[index] > room:
            passes.append([])
            room = max_forward_tokens
        passes[-1].append(index)
        room -= sizes[index]
    return passes
