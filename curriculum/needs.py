"""What to generate next, how long contexts should be, how much for safety: what follows from telemetry beside weights.

The lines stand in the policy file behind the weights; `frontier synth gen --policy` makes as many records of each cell
as they ask for. LIMIT: it obeys counts per cell. Which error patterns and tools they should show is for teachers'
templates and for people: procedural generators have no such knob.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from curriculum.cells import CellStats, skill_and_level
from curriculum.levels import OPENS_AT, lower_bound
from curriculum.policy import update
from curriculum.settings import PolicySettings
from frontier_core.allocation import NeedLine, PolicyLine, allocate, natural_order
from frontier_core.records import parse_tag

NEXT_LEVEL_SHARE = 0.3
"""Of what a cell asks for, this goes to the level above once that may open."""
QUOTA_FACTOR, QUOTA_MOST = 2.0, 0.1
"""A quota is twice the share of bad answers, at most this share of the round."""
MIN_PASS_RATE = 0.05
LENGTH_KEY = "length"
TRUNCATED_AT = 0.01


def needs(
    lines: Sequence[PolicyLine],
    stats: Mapping[str, CellStats],
    *,
    num: int,
    settings: PolicySettings,
) -> list[NeedLine]:
    """Gives what the next round should generate.

    Args:
        lines: the policy it is for.
        stats: what the last round showed, per tag; tags `tool=NAME` and `length=TOKENS` among them.
        num: records the round draws.
        settings: the policy's numbers.
    Returns:
        Focus lines (their `num` sums to at most `num`), then lengths, then quotas.
    """
    number = max((line.round for line in lines), default=0)
    found = _focus(lines, stats, num, settings, number)
    found += _tools(stats, num, number)
    found += lengths(stats, settings=settings, number=number)
    return found + _quotas(lines, stats, num, settings, number)


def _focus(
    lines: Sequence[PolicyLine], stats: Mapping[str, CellStats], num: int, settings: PolicySettings, number: int
) -> list[NeedLine]:
    asks: dict[str, float] = {}
    reasons: dict[str, str] = {}
    tags = {line.tag for line in lines}
    for line in lines:
        cell = stats.get(line.tag, CellStats())
        if line.state.get("mastered") and not line.state.get("closed"):
            continue
        if line.factors.get("stall", 1.0) <= settings.stall_least:
            continue  # labels first: more of what can't be learnt helps nobody
        fresh = line.evidence.get("supply", 0.0) * num
        need = line.weight * num / (settings.epoch_cap if fresh else 1.0) - fresh
        passed = lower_bound(cell.verified.successes, cell.verified.trials) if cell.verified.trials else 1.0
        ask = max(0.0, need) / max(passed, MIN_PASS_RATE)
        if not ask:
            continue
        reasons.setdefault(line.tag, f"weight {100 * line.weight:.1f}%, {100 * passed:.0f}% of candidates pass")
        skill, level = skill_and_level(line.tag)
        above = f"skill={skill},level={(level or 0) + 1}"
        is_ready = lower_bound(cell.answers.successes, cell.answers.trials) >= OPENS_AT
        if level is not None and is_ready and above in tags:
            asks[above] = asks.get(above, 0.0) + NEXT_LEVEL_SHARE * ask
            reasons.setdefault(above, f"level {level} is ready for it")
            ask *= 1 - NEXT_LEVEL_SHARE
        asks[line.tag] = asks.get(line.tag, 0.0) + ask
    if not asks:
        return []
    counts = allocate(asks, num)
    order = sorted(counts, key=lambda tag: (-counts[tag], natural_order(tag)))
    return [
        NeedLine(
            kind="focus",
            tag=tag,
            num=counts[tag],
            reason=reasons[tag],
            detail=_patterns(stats.get(tag, CellStats()), counts[tag]),
            round=number,
        )
        for tag in order
        if counts[tag]
    ]


def _patterns(cell: CellStats, num: int) -> dict[str, dict[str, int]]:
    """Splits a cell's records over its error patterns by (failures + 1/2): one seen once is not all or nothing."""
    if not cell.errors:
        return {}
    return {"errors": allocate({code: count + 0.5 for code, count in sorted(cell.errors.items())}, num)}


def _tools(stats: Mapping[str, CellStats], num: int, number: int) -> list[NeedLine]:
    """Splits attention over tools (`tool=a`, combinations `tool=a+b`) by failures: failure rate times usage."""
    failed = {
        tag: float(cell.tools.trials - cell.tools.successes)
        for tag, cell in stats.items()
        if tag.startswith("tool=") and cell.tools.trials > cell.tools.successes
    }
    if not failed:
        return []
    counts = allocate(failed, num)
    return [
        NeedLine(
            kind="focus",
            tag=tag,
            num=counts[tag],
            reason=f"{failed[tag]:.0f} of {stats[tag].tools.trials} calls failed",
            round=number,
        )
        for tag in sorted(counts, key=lambda tag: (-counts[tag], natural_order(tag)))
        if counts[tag]
    ]


def lengths(stats: Mapping[str, CellStats], *, settings: PolicySettings, number: int) -> list[NeedLine]:
    """Gives the share of each context-length bucket, by the policy's own rule, and whether a longer one is called for.

    Buckets are the tags `length=TOKENS`, their prior the tokens they hold now. Where more than 1 % of the longest
    bucket's examples were cut (lower end of a 90 % interval), one of twice the length joins at its prior.
    """
    buckets = {
        int(parse_tag(tag)[LENGTH_KEY]): cell
        for tag, cell in stats.items()
        if tag.startswith(f"{LENGTH_KEY}=") and parse_tag(tag)[LENGTH_KEY].isdecimal()
    }
    if not buckets:
        return []
    total = sum(max(1, cell.loss.tokens) for cell in buckets.values())
    prior = {f"{LENGTH_KEY}={size}": max(1, cell.loss.tokens) / total for size, cell in buckets.items()}
    seen = {f"{LENGTH_KEY}={size}": cell for size, cell in buckets.items()}
    longest = max(buckets)
    cut = buckets[longest].truncated
    reasons = {}
    if lower_bound(cut.successes, cut.trials) > TRUNCATED_AT:
        longer = f"{LENGTH_KEY}={2 * longest}"
        prior[longer] = prior[f"{LENGTH_KEY}={longest}"] / 2
        reasons[longer] = f"{cut.successes} of {cut.trials} examples of the longest bucket were cut"
    lines = update(prior, seen, None, settings=settings)
    return [
        NeedLine(
            kind="length",
            tag=line.tag,
            num=int(parse_tag(line.tag)[LENGTH_KEY]),
            reason=reasons.get(line.tag, line.reason),
            detail={"share": line.weight, "previous": line.previous},
            round=number,
        )
        for line in lines
    ]


def _quotas(
    lines: Sequence[PolicyLine], stats: Mapping[str, CellStats], num: int, settings: PolicySettings, number: int
) -> list[NeedLine]:
    found = []
    for line in lines:
        cell = stats.get(line.tag, CellStats())
        for what, counts in (("break a safety rule", cell.violations), ("refuse", cell.refusals)):
            low = lower_bound(counts.successes, counts.trials)
            if low <= settings.safety_rate:
                continue
            share = min(QUOTA_MOST, QUOTA_FACTOR * counts.rate * line.weight)
            reason = f"{counts.successes} of {counts.trials} answers {what}"
            aim = "safety" if counts is cell.violations else "compliance"
            found.append(
                NeedLine(
                    kind="quota",
                    tag=line.tag,
                    num=ceil(num * share),
                    reason=reason,
                    detail={"aim": aim, "rate_at_least": low},
                    round=number,
                )
            )
    return found
