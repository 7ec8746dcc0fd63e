"""The words rooms share: what a record is, how it is tagged, and the sums telemetry is made of.

A record on the wire is a JSON object and stays a plain dict in memory, so that keys nobody knows pass through
untouched. The dataclasses here are for values we compute ourselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

Record = dict[str, Any]
"""One JSON object of a data file."""

Message = dict[str, Any]
"""One chat turn: {role, content}."""


def tag_of(metadata: Record) -> str:
    """Gives the sampling cell of a record, `skill=binary,level=2`; without a level just `skill=binary`."""
    skill, level = metadata.get("skill", "unknown"), metadata.get("level")
    return f"skill={skill}" if level is None else f"skill={skill},level={level}"


def parse_tag(tag: str) -> dict[str, str]:
    """Gives the parts of a tag: `skill=binary,level=2` -> {"skill": "binary", "level": "2"}."""
    return dict(part.split("=", 1) for part in tag.split(",") if "=" in part)


def metadata_of(record: Record) -> Record:
    """Gives the record's metadata object, or an empty one when it is missing or no object."""
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def last_assistant(record: Record) -> str:
    """Gives the text of the last assistant turn, or "" when there is none."""
    for message in reversed(record.get("messages") or []):
        if isinstance(message, dict) and message.get("role") == "assistant":
            content = message.get("content")
            return content if isinstance(content, str) else ""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagStats:
    """Additive sufficient statistics of one metric for one tag: sums only, so that lines merge in any order.

    `n` values with sum `total` and sum of squares `total_sq`; `tokens` they cover; `successes` of `trials` for a rate.
    """

    n: int = 0
    total: float = 0.0
    total_sq: float = 0.0
    tokens: int = 0
    successes: int = 0
    trials: int = 0

    def __add__(self, other: TagStats) -> TagStats:
        return TagStats(
            n=self.n + other.n,
            total=self.total + other.total,
            total_sq=self.total_sq + other.total_sq,
            tokens=self.tokens + other.tokens,
            successes=self.successes + other.successes,
            trials=self.trials + other.trials,
        )

    @property
    def mean(self) -> float:
        """Mean of the values; 0.0 when there are none."""
        return self.total / self.n if self.n else 0.0

    @property
    def rate(self) -> float:
        """Share of successes; 0.0 when there were no trials."""
        return self.successes / self.trials if self.trials else 0.0

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; 0.0 below two values."""
        if self.n < 2:
            return 0.0
        variance = max(0.0, self.total_sq - self.total * self.total / self.n) / (self.n - 1)
        return sqrt(variance / self.n)


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Gives the Wilson score interval of a rate; (0, 1) without trials.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if trials == 0:
        return 0.0, 1.0
    p = successes / trials
    denominator = 1 + z * z / trials
    centre = (p + z * z / (2 * trials)) / denominator
    half = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / denominator
    return max(0.0, centre - half), min(1.0, centre + half)
