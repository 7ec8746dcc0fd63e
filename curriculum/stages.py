"""Opening and closing levels by hand or by rule: the ceiling of each skill, kept in the policy file.

A closed level stays at its floor whatever its telemetry says, until it is opened. What counts as ready is levels.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from curriculum.cells import CellStats, skill_and_level
from curriculum.levels import level_status
from curriculum.settings import PolicySettings
from curriculum.shares import project
from frontier_core.allocation import PolicyLine

SEED_ACCURACY, SEED_EVALUATIONS = 0.8, 3


def ceilings(lines: Sequence[PolicyLine]) -> dict[str, int]:
    """Gives skill -> highest open level."""
    found: dict[str, int] = {}
    for line in lines:
        skill, level = skill_and_level(line.tag)
        if level is not None and not line.state.get("closed"):
            found[skill] = max(level, found.get(skill, 0))
    return found


def with_ceilings(
    lines: Sequence[PolicyLine], wanted: Mapping[str, int], *, settings: PolicySettings, why: Mapping[str, str]
) -> list[PolicyLine]:
    """Gives the policy with the levels above each skill's ceiling closed and the others open.

    Closed levels go to their floor at once; what they leave is spread over the rest in proportion, within their caps
    where those have room.

    Args:
        lines: the policy in force.
        wanted: skill -> highest level to be open; skills not named keep theirs.
        settings: the policy's numbers.
        why: skill -> the reason, in words.
    """
    is_closed = {}
    for line in lines:
        skill, level = skill_and_level(line.tag)
        named = level is not None and skill in wanted
        is_closed[line.tag] = level > wanted[skill] if named and level else bool(line.state.get("closed"))
    floors = {line.tag: min(line.weight, settings.floor * line.prior) if is_closed[line.tag] else 0.0 for line in lines}
    left = 1.0 - sum(floors.values())
    caps = {line.tag: max(line.weight, settings.cap * line.prior) for line in lines if not is_closed[line.tag]}
    room = sum(caps.values())
    bounds = {
        line.tag: (floors[line.tag], floors[line.tag])
        if is_closed[line.tag]
        else (0.0, caps[line.tag] * max(1.0, left / room * (1 + 1e-9)))
        for line in lines
    }
    weights, _ = project({line.tag: max(line.weight, 1e-9) for line in lines}, bounds)
    result = []
    for line in lines:
        skill, level = skill_and_level(line.tag)
        changed = is_closed[line.tag] != bool(line.state.get("closed"))
        if skill in wanted and level is not None:
            reason = f"{why[skill]}: level {level} {'closed' if is_closed[line.tag] else 'open'}"
        else:
            reason = (
                "makes room for levels opened or closed elsewhere" if weights[line.tag] != line.weight else line.reason
            )
        factors = {"prior": line.prior, "curriculum": weights[line.tag] / line.prior}
        weight = min(1.0, factors["prior"] * factors["curriculum"])
        result.append(
            replace(
                line,
                previous=line.weight,
                weight=weight,
                reason=reason,
                factors=factors,
                limits=("closed",) if is_closed[line.tag] else (),
                evidence={"target": weight, "changed": changed},
                state=line.state | {"closed": int(is_closed[line.tag]), "open": not is_closed[line.tag]},
            )
        )
    return result


def ready_levels(
    lines: Sequence[PolicyLine], rounds: Mapping[int, Mapping[str, CellStats]], *, rule: str
) -> dict[str, tuple[int, str]]:
    """Gives skill -> (next level to open, the evidence in words) for skills whose highest open level is good enough.

    Args:
        lines: the policy in force.
        rounds: round -> cell -> what was seen.
        rule: `interval`: the lower end of a 90 % interval on all counts is 70 % or more; `streak`: 80 % or more in each
            of the last 3 evaluations (the rule of the system's first description; see docs/reweighting.md on it).
    """
    tags = {line.tag for line in lines}
    found = {}
    pooled: dict[str, CellStats] = {}
    from curriculum.cells import pooled as pool

    pooled = pool(dict(cells) for cells in rounds.values())
    status = level_status(pooled)
    for skill, ceiling in ceilings(lines).items():
        tag, above = f"skill={skill},level={ceiling}", f"skill={skill},level={ceiling + 1}"
        if above not in tags:
            continue
        if rule == "interval":
            bound = status[skill].lower_bounds.get(ceiling, 0.0) if skill in status else 0.0
            if bound >= 0.70:
                found[skill] = (ceiling + 1, f"level {ceiling} is at {100 * bound:.0f}% or more with 90% confidence")
            continue
        last = [cells[tag].answers for _, cells in sorted(rounds.items()) if tag in cells and cells[tag].answers.trials]
        last = last[-SEED_EVALUATIONS:]
        if len(last) == SEED_EVALUATIONS and all(answers.rate >= SEED_ACCURACY for answers in last):
            shown = ", ".join(f"{100 * answers.rate:.0f}%" for answers in last)
            found[skill] = (ceiling + 1, f"level {ceiling} stood at {shown} in the last evaluations")
    return found
