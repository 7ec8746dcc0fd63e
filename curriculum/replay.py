"""Every weight of a policy file computed again from the factors, rails and balance that its line logged.

The arithmetic of policy.py in its last two lines, on numbers read from the file: what differs by a bit was edited, or
was written by another version. Computing the factors themselves again takes the telemetry and the policy before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from frontier_core.allocation import PolicyLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A line whose `what` (target or weight) is `logged` but comes out as `computed`."""

    tag: str
    what: str
    logged: float
    computed: float


def replay(lines: Iterable[PolicyLine]) -> list[Mismatch]:
    """Gives what does not come out bit for bit; empty when all does."""
    found = []
    for line in lines:
        target = prod(line.factors.values())
        if target != line.evidence.get("target"):
            logged = float(line.evidence.get("target", float("nan")))
            found.append(Mismatch(tag=line.tag, what="target", logged=logged, computed=target))
        computed = weight_of(line)
        if computed != line.weight:
            found.append(Mismatch(tag=line.tag, what="weight", logged=line.weight, computed=computed))
    return found


def weight_of(line: PolicyLine) -> float:
    """Gives a line's weight from its factors: balance * target, clipped to the rails; without rails the target."""
    target = prod(line.factors.values())
    evidence = line.evidence
    if "balance" not in evidence:
        return min(1.0, target)
    return float(min(max(evidence["balance"] * target, evidence["low"]), evidence["high"]))
