"""The sentence of a policy line: which figures moved a weight, and which rail held it.

Only words: everything said here stands as a number in the line's evidence, factors, limits and state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from curriculum.cells import skill_and_level
from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine

_LIMITS = {
    "step": "step limit",
    "floor": "at its floor",
    "cap": "at its cap",
    "supply": "no more data",
    "closed": "level closed",
}


def explain(line: PolicyLine, *, is_new: bool, settings: PolicySettings) -> PolicyLine:
    """Gives the line with its reason in words.

    Args:
        line: a finished line of the `frontier` policy but for the reason.
        is_new: the cell was not in the policy before.
        settings: the policy's numbers.
    """
    parts = ["new cell, enters at its prior"] if is_new else []
    parts += [_accuracy(line), _loss(line)]
    parts += _prerequisite(line) + _stall(line, settings) + _errors(line)
    sentence = f"{', '.join(part for part in parts if part)}: {_move(line, settings)}"
    return replace(line, reason=sentence[0].lower() + sentence[1:])


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _accuracy(line: PolicyLine) -> str:
    shown = line.evidence.get("accuracy")
    if shown:
        kind = "first-pass accuracy" if shown.get("is_first_pass") else "accuracy"
        return (
            f"{kind} {_percent(shown['value'])} "
            f"({100 * shown['low']:.0f}-{_percent(shown['high'])}, n={shown['trials']})"
        )
    if "mastery" in line.evidence:
        return f"not evaluated this round (mastery {_percent(line.evidence['mastery'])} from before)"
    return "never evaluated"


def _loss(line: PolicyLine) -> str:
    shown: dict[str, Any] | None = line.evidence.get("loss")
    if shown is None:
        return "" if line.state.get("readings") else "no training loss"
    if shown["readings"] < 2 or not shown["first"] > 0:
        return f"loss {shown['value']:.3g} read once, so progress is taken as neutral"
    change = 100 * (shown["value"] / shown["first"] - 1)
    if abs(change) < 0.05:
        return f"loss as in round {shown['first_round']}"
    size = f"{abs(change):.1f}" if abs(change) < 10 else f"{abs(change):.0f}"
    return f"loss {'fell' if change < 0 else 'rose'} {size}% since round {shown['first_round']}"


def _prerequisite(line: PolicyLine) -> list[str]:
    below = line.evidence.get("prerequisite")
    return [f"prerequisite level {skill_and_level(below['tag'])[1]} at {_percent(below['mastery'])}"] if below else []


def _stall(line: PolicyLine, settings: PolicySettings) -> list[str]:
    if line.factors.get("stall", 1.0) >= 1.0:
        return []
    idle = line.state.get("idle", 0)
    advice = ", check its labels before making more" if line.factors["stall"] <= settings.stall_least else ""
    return [f"no sign of learning for {idle} rounds{advice}"]


def _errors(line: PolicyLine) -> list[str]:
    errors: dict[str, int] = line.evidence.get("errors", {})
    if not errors:
        return []
    code, count = next(iter(errors.items()))
    return [f"mostly {code} ({count} of {sum(errors.values())} failures)"] if len(errors) > 1 else []


def _move(line: PolicyLine, settings: PolicySettings) -> str:
    if "no data" in line.limits:
        if not line.state.get("trials"):
            return "weight kept (no evidence yet)"
        seen = line.state["new_trials"]
        return f"weight kept ({seen:g} of {settings.min_trials} answers needed since its last move)"
    ratio = line.weight / line.previous
    move = "unchanged" if abs(ratio - 1) < 0.005 else f"x{ratio:.2f}"
    limits = [_LIMITS[limit] for limit in line.limits if limit in _LIMITS]
    if not limits:
        return move
    target = f"target {100 * line.evidence['target']:.2g}%"
    return f"{move} ({'; '.join([*limits, target])})"
