"""The one function of `frontier reweight`: telemetry and the last policy in, the next policy's records out.

Works round by round, so that one file with three rounds gives what three calls with one round each give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from curriculum.cells import CellStats, cells_by_round, cells_by_steps
from curriculum.ingest import read_telemetry
from curriculum.needs import needs
from curriculum.policy import policy_named
from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine, read_policy
from frontier_core.domains import Domain, prior_weights
from frontier_core.errors import DataError
from frontier_core.records import Record


def reweight(
    telemetry: Path | str,
    domains: Sequence[Domain],
    previous: Path | None = None,
    *,
    policy: str = "frontier",
    settings: PolicySettings | None = None,
    supplies: Mapping[str, float] | None = None,
    num_needed: int = 0,
    every: int = 0,
) -> list[Record]:
    """Gives the next policy as records of schema policy_v1, one per cell of `domains`, and needs (need_v1) if asked.

    Args:
        telemetry: a telemetry file, "-" for a pipe. Rounds the previous policy has seen already are passed over; the
            others are taken in order. Lines without a round count to the latest round there is.
        domains: the cells and their priors.
        previous: the last policy file; None starts from the priors.
        policy: a name of `curriculum.policy.POLICIES`.
        settings: numbers of the policy; the measured ones by default.
        supplies: cell -> unseen examples there are, as a share of what the next round draws.
        every: steps that make a round, whatever round the lines name, as in a run that reweights itself
            (frontier_ops/live.py), which begins at its priors as round 0; 0 takes the lines' rounds.
        num_needed: records the next round draws; above 0, lines of what to generate follow (needs.py).
    Raises:
        DataError: a line of either file can't be used, or nothing in the telemetry is new to the previous policy.
        ConfigError: unknown policy, a setting or prior out of range.
        UsageError: no such file.
    """
    rule = policy_named(policy)
    settings = settings or PolicySettings()
    lines: Sequence[PolicyLine] | None = read_policy(previous) if previous is not None else None
    seen = max((line.round for line in lines or ()), default=0)
    priors = prior_weights(domains)
    if every:
        rounds = {n - 1: cells for n, cells in cells_by_steps(read_telemetry(telemetry), every=every).items()}
        lines = lines or rule(priors, {}, None, settings=settings, round_number=0)
    else:
        rounds = cells_by_round(read_telemetry(telemetry), default_round=seen)
    fresh = {number: cells for number, cells in rounds.items() if number >= seen or lines is None}
    if not fresh:
        raise DataError(
            f"holds rounds up to {max(rounds)}; the previous policy counts them already and is for round {seen}",
            path=str(telemetry),
            code="old_telemetry",
            hint="ingest the newer run, or set `round` in its config, or leave --prev out",
        )
    _check_known(fresh, priors, telemetry)
    for number in sorted(fresh):
        for tag, supply in (supplies or {}).items():
            fresh[number][tag] = replace(fresh[number].get(tag, CellStats()), supply=supply, has_supply=True)
        lines = rule(priors, fresh[number], lines, settings=settings, round_number=number + 1)
    records = [line.to_record() for line in lines or ()]
    if num_needed:
        latest = fresh[max(fresh)]
        records += [need.to_record() for need in needs(lines or (), latest, num=num_needed, settings=settings)]
    return records


def _check_known(rounds: dict[int, dict[str, CellStats]], priors: dict[str, float], telemetry: Path | str) -> None:
    """Refuses telemetry that says nothing about any cell: weights can't be drawn from it."""
    tags = {tag for cells in rounds.values() for tag in cells}
    if not tags & set(priors):
        shown = ", ".join(sorted(tags)[:3])
        raise DataError(
            f"no line is about a cell of the domains (it has: {shown})",
            path=str(telemetry),
            code="unknown_tags",
            hint=f"cells look like: {next(iter(priors))}",
        )
