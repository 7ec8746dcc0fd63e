"""What a set of records covers: cells, scenarios, tools, distinct prompts. Near-duplicates are found by validators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log2
from typing import Any

from frontier_core.records import Record, metadata_of
from validators.near_duplicates import text_of


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
