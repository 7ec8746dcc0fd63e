"""`frontier reweight` and `frontier curriculum`, end to end: files in, the next policy's records out.

What decides is curriculum/; this joins it to the files a user has: supplies, anchors, earlier policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from curriculum.settings import PolicySettings
from frontier_core.allocation import read_policy
from frontier_core.domains import Domain, prior_weights
from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_core.jsonl import dumps, read_records, read_rows
from frontier_core.records import Record
from frontier_ops.training import read_config


def settings_from(path: str, values: Sequence[str]) -> PolicySettings:
    """Gives the policy's numbers: the measured ones, then a file's, then `KEY=VALUE` of the command line."""
    found: dict[str, Any] = dict(read_config(path)) if path else {}
    for text in values:
        key, sign, value = text.partition("=")
        try:
            found[key] = float(value) if not sign or not value.lstrip("-").isdecimal() else int(value)
        except ValueError as error:
            raise UsageError(f"--set {text!r}: is not KEY=NUMBER", hint="such as --set step=1.3") from error
    return PolicySettings.from_mapping(found, origin=path or "command line")


def supplies_from(path: str, num: int) -> dict[str, float]:
    """Gives cell -> unseen examples as a share of what the next round draws, from a JSON object of counts per cell."""
    if not path:
        return {}
    if num < 1:
        raise UsageError("--supply needs to know how much the next round draws", hint="-n NUM")
    try:
        counts = orjson.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except ValueError as error:
        raise DataError(f"not JSON: {error}", path=path, code="supply") from error
    if not isinstance(counts, dict):
        raise DataError("must be an object of cell: count", path=path, code="supply")
    for tag, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise DataError("must be a whole number from 0", path=path, pointer=f"/{tag}", code="supply")
    return {tag: count / num for tag, count in counts.items()}


def eval_items(path: str) -> list[Record]:
    """Reads an evaluation file whole; a line that can't be read raises DataError with its place."""
    items = []
    for row in read_rows(path):
        if row.problem is not None:
            raise row.problem
        items.append(row.record)
    return items


def asked(domains: Sequence[Domain], settings: PolicySettings, *, num: int, with_needs: bool, every: int) -> str:
    """Gives what stands for all that shapes a policy beside the files it is made from and its rule's name."""
    told = [prior_weights(domains), settings.to_mapping(), num, with_needs, every]
    return sha256(dumps(told)).hexdigest()[:16]


def policy_records(path: str) -> list[Record]:
    """Reads the records of a policy file that was written before."""
    return list(read_records(path))


def next_policy(
    telemetry: Path | str,
    domains: Sequence[Domain],
    *,
    previous: str = "",
    policy: str = "frontier",
    settings: PolicySettings,
    supplies: dict[str, float],
    anchors: Sequence[str] = (),
    good: str = "",
    num_needed: int = 0,
    every: int = 0,
) -> tuple[list[Record], bool]:
    """Gives the next policy's records, and whether the anchors showed harm and it was rolled back.

    Args:
        telemetry: a telemetry file or "-".
        domains: cells and priors.
        previous: the policy in force.
        policy: its rule.
        settings: its numbers.
        supplies: cell -> unseen examples as a share of the next round.
        anchors: two evaluations of the same problems, before and after `previous` was in force; or none.
        good: the policy before `previous`, to go back to.
        num_needed: records the next round draws, for lines of what to generate; 0 for none.
        every: steps that make a round; 0 takes the rounds the lines name.
    """
    from curriculum.anchors import answers_of, compare_anchors, harm, rolled_back
    from curriculum.reweight import reweight

    records = reweight(
        telemetry,
        domains,
        Path(previous) if previous else None,
        policy=policy,
        settings=settings,
        supplies=supplies,
        num_needed=num_needed,
        every=every,
    )
    if not anchors:
        return records, False
    if len(anchors) != 2 or not previous:
        raise UsageError("--anchors takes two evaluations, before and after --prev was in force")
    before, after = (answers_of(eval_items(path), path=path) for path in anchors)
    harmed = harm(compare_anchors(before, after))
    if harmed is None:
        return records, False
    current = read_policy(previous)
    kept = read_policy(good) if good else []
    lines = rolled_back(kept, current, harmed, settings=settings)
    number = max(int(record["round"]) for record in records)
    return [line.to_record() | {"round": number} for line in lines], True


def tags_of_skill(tags: Sequence[str], skill: str) -> dict[int, str]:
    """Gives level -> cell of a skill; raises ConfigError naming the nearest known skill."""
    from curriculum.cells import skill_and_level
    from frontier_core.nearest import did_you_mean

    levels = {level: tag for tag in tags for name, level in (skill_and_level(tag),) if name == skill and level}
    if not levels:
        known = sorted({skill_and_level(tag)[0] for tag in tags})
        raise ConfigError(f"unknown skill {skill!r}", hint=did_you_mean(skill, known))
    return dict(sorted(levels.items()))
