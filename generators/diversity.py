"""How varied a set of records is: near-duplicates as they come by, and what the set covers.

Two texts are near-duplicates when the Jaccard similarity of their word triples reaches the threshold. MinHash with
banded LSH finds candidates (Broder 1997, "On the resemblance and containment of documents"; library: rensa), the sets
themselves decide, so that no pair is called alike by chance. The first of its kind stays.
LIMIT: everything kept so far is held in memory, about 2 kB a record of 100 words.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log2
from typing import Any, Literal
from zlib import crc32

from frontier_core.jsonl import dumps
from frontier_core.records import Record, metadata_of

By = Literal["prompt", "record"]
NUM_HASHES = 128
SHINGLE_WORDS = 3
_WORD = re.compile(r"\w+|[^\w\s]")


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
    turns = [turn for turn in record.get("messages") or [] if isinstance(turn, dict)]
    if not turns:
        return str(record.get("text", ""))
    asked = [turn for turn in turns if turn.get("role") != "assistant"] if by == "prompt" else turns
    return "\n".join(str(turn.get("content") or dumps(turn.get("tool_calls")).decode()) for turn in asked)


def shingles(text: str) -> set[bytes]:
    """Gives the word triples of a text, lower-case; a shorter text is one shingle."""
    words = [word.encode() for word in _WORD.findall(text.lower())]
    last = max(1, len(words) - SHINGLE_WORDS + 1)
    return {b" ".join(words[start : start + SHINGLE_WORDS]) for start in range(last)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """What a text is a near-duplicate of: the number it was added under, and their Jaccard similarity."""

    number: int
    similarity: float


class NearDuplicates:
    """The texts kept so far; `add` keeps one more, or says which of them it repeats.

    Args:
        threshold: Jaccard similarity of word triples from which texts count as alike, above 0 to 1.
    """

    def __init__(self, threshold: float) -> None:
        from rensa import RMinHashLSH

        self.threshold = threshold
        # Sixteen or more bands find pairs well below the threshold too; the exact check sorts them out.
        num_bands = 16 if threshold > 0.8 else 32
        self._lsh = RMinHashLSH(threshold=threshold, num_perm=NUM_HASHES, num_bands=num_bands)
        self._kept: dict[int, array[int]] = {}

    def add(self, number: int, text: str) -> Twin | None:
        """Keeps a text under a number of the caller's; a near-duplicate is not kept but named."""
        from rensa import RMinHash

        found = shingles(text)
        sketch = RMinHash(num_perm=NUM_HASHES, seed=1)
        sketch.update(list(found))
        hashes = {crc32(shingle) for shingle in found}
        for candidate in sorted(self._lsh.query(sketch)):
            similarity = jaccard(hashes, self._kept[candidate])
            if similarity >= self.threshold:
                return Twin(number=candidate, similarity=similarity)
        self._lsh.insert(number, sketch)
        self._kept[number] = array("L", sorted(hashes))
        return None


def jaccard(left: set[int], right: Iterable[int]) -> float:
    """Gives the Jaccard similarity of two sets, the second without repeats."""
    items = list(right)
    common = sum(item in left for item in items)
    return common / (len(left) + len(items) - common)


@dataclass(slots=True, kw_only=True)
class Coverage:
    """What a set of records covers: counts by cell and by each axis of the metadata."""

    num_records: int = 0
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    scenarios: dict[str, Counter[str]] = field(default_factory=dict)
    tools: Counter[str] = field(default_factory=Counter)
    personas: Counter[str] = field(default_factory=Counter)
    prompts: set[int] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Counts one record."""
        metadata = metadata_of(record)
        skill = str(metadata.get("skill", "unknown"))
        self.num_records += 1
        self.cells[skill, str(metadata.get("level", "-"))] += 1
        self.scenarios.setdefault(skill, Counter())[str(metadata.get("scenario", "-"))] += 1
        tools = metadata.get("tool_set")
        self.tools["+".join(sorted(map(str, tools))) if isinstance(tools, list) and tools else "-"] += 1
        if "persona" in metadata:
            self.personas[str(metadata["persona"])] += 1
        self.prompts.add(hash(text_of(record, "prompt")))

    def report(self, wanted: Iterable[tuple[str, int]] = ()) -> dict[str, Any]:
        """Gives the counts; `wanted` cells (skill, level) without a record are listed as missing.

        `evenness` of a skill's scenarios is their entropy over the highest possible one: 1.0 when all are equally
        frequent, 0.0 for a single one.
        """
        missing = [f"skill={skill},level={level}" for skill, level in wanted if not self.cells[skill, str(level)]]
        return {
            "num_records": self.num_records,
            "distinct_prompts": len(self.prompts),
            "cells": [
                {"skill": skill, "level": level, "records": count}
                for (skill, level), count in sorted(
                    self.cells.items(), key=lambda item: (item[0][0], _order(item[0][1]))
                )
            ],
            "skills": [
                {
                    "skill": skill,
                    "records": counts.total(),
                    "scenarios": len(counts),
                    "evenness": round(evenness(counts), 3),
                }
                for skill, counts in sorted(self.scenarios.items())
            ],
            "tool_sets": dict(self.tools.most_common()),
            "personas": dict(self.personas.most_common()),
            "missing": missing,
        }


def _order(level: str) -> tuple[int, str]:
    return (int(level), "") if level.isdigit() else (0, level)


def evenness(counts: Counter[str]) -> float:
    """Gives the entropy of a distribution over that of the uniform one (Pielou 1966); 0.0 for one kind only."""
    if len(counts) < 2:
        return 0.0
    total = counts.total()
    entropy = -sum(count / total * log2(count / total) for count in counts.values())
    return entropy / log2(len(counts))
