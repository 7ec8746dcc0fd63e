"""What a policy file says, and how a number of records is split by it.

Both the curriculum, which writes policies, and the generators, which follow them, need this and may not import each
other. How weights are decided is curriculum/policy.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, fsum, isfinite
from pathlib import Path
from typing import Any

from frontier_core.errors import DataError
from frontier_core.jsonl import Row, read_rows
from frontier_core.records import Record

SUM_TOLERANCE = 1e-6
"""How far the weights of a file may sum from 1 and still be taken as they are."""

NEED_KINDS = ("focus", "length", "quota")
"""Kinds of lines a policy file may hold beside weights: what to generate, how long, and how much for safety."""

_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLine:
    """The sampling weight of one tag, its bounds, and why: one line of a policy file (schema policy_v1).

    `weight`, `previous`, `prior`, `floor` and `cap` are shares of all records, in [0, 1]; `previous` is what the step
    is measured from. `state` is all a later round needs to go on from this file.
    """

    tag: str
    weight: float
    previous: float
    reason: str
    prior: float = 0.0
    floor: float = 0.0
    cap: float = 1.0
    round: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)

    def to_record(self) -> Record:
        """Gives the line as a JSON object of schema policy_v1."""
        return {
            "kind": "tag",
            "tag": self.tag,
            "weight": self.weight,
            "previous": self.previous,
            "prior": self.prior,
            "floor": self.floor,
            "cap": self.cap,
            "reason": self.reason,
            "evidence": self.evidence,
            "factors": self.factors,
            "limits": list(self.limits),
            "state": self.state,
            "round": self.round,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedLine:
    """What the next round's data should hold beside its weights (schema need_v1).

    `kind` is `focus` (generate `num` records of a cell, `detail` splits them by error pattern), `length` (a bucket of
    context lengths, its share in `detail`) or `quota` (records for safety, or against needless refusals).
    """

    kind: str
    tag: str
    num: int
    reason: str
    detail: dict[str, Any] = field(default_factory=dict)
    round: int = 0

    def to_record(self) -> Record:
        """Gives the line as a JSON object of schema need_v1."""
        return {
            "kind": self.kind,
            "tag": self.tag,
            "num": self.num,
            "reason": self.reason,
            "detail": self.detail,
            "round": self.round,
        }


def natural_order(text: str) -> tuple[Any, ...]:
    """Gives a sort key that puts `level=10` after `level=2`."""
    parts = _DIGITS.split(text)  # texts at even places, digits at odd ones
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), text


def read_policy(path: str | Path) -> list[PolicyLine]:
    """Reads a policy file ("-" for a pipe) and checks every line of it.

    Returns:
        The lines in file order, weights as they stand; they sum to 1 within 1e-6.
    Raises:
        DataError: a line that is no policy line, a tag twice, weights that do not sum to 1; names file:line and key.
        UsageError: no such file.
    """
    lines: list[PolicyLine] = []
    seen: dict[str, int] = {}
    name = str(path)
    for row in read_rows(path):
        if row.problem is not None:
            raise row.problem
        if row.record.get("kind") in NEED_KINDS:
            _need_line(row)
            continue
        line = _policy_line(row)
        if line.tag in seen:
            raise _bad(row, f"tag {line.tag!r} stands on line {seen[line.tag]} already", "/tag")
        seen[line.tag] = row.number
        lines.append(line)
        name = row.path
    total = fsum(line.weight for line in lines)
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise DataError(f"the weights sum to {total:.6g}, not 1", path=name, code="weights", hint="run reweight again")
    return lines


def read_needs(path: str | Path) -> list[NeedLine]:
    """Reads the lines of a policy file that are no weights; raises DataError for one that is neither."""
    needs = []
    for row in read_rows(path):
        if row.problem is not None:
            raise row.problem
        if row.record.get("kind") in NEED_KINDS:
            needs.append(_need_line(row))
        else:
            _policy_line(row)
    return needs


def generation_weights(path: str | Path) -> dict[str, float]:
    """Gives tag -> how much of it to generate: the file's focus and quota lines where it has any, else its weights."""
    weights = weights_of(read_policy(path))
    wanted: dict[str, float] = {}
    for need in read_needs(path):
        if need.kind in ("focus", "quota") and need.tag in weights:
            wanted[need.tag] = wanted.get(need.tag, 0.0) + need.num
    return wanted if fsum(wanted.values()) > 0 else weights


def _need_line(row: Row) -> NeedLine:
    record = row.record
    for key in ("tag", "reason"):
        if not isinstance(record.get(key), str) or not record[key]:
            raise _bad(row, "must be a non-empty text", f"/{key}")
    for key in ("num", "round"):
        value = record.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _bad(row, "must be a whole number from 0", f"/{key}")
    if not isinstance(record.get("detail", {}), dict):
        raise _bad(row, "must be an object", "/detail")
    return NeedLine(
        kind=record["kind"],
        tag=record["tag"],
        num=record.get("num", 0),
        reason=record["reason"],
        detail=record.get("detail", {}),
        round=record.get("round", 0),
    )


def weights_of(policy: Sequence[PolicyLine]) -> dict[str, float]:
    """Gives tag -> weight of a policy."""
    return {line.tag: line.weight for line in policy}


def _bad(row: Row, message: str, pointer: str) -> DataError:
    hint = "a policy file is written by: frontier reweight"
    return DataError(message, path=row.path, line=row.number, pointer=pointer, code="policy_line", hint=hint)


def _policy_line(row: Row) -> PolicyLine:
    """Checks one line by hand: the kernel holds no schema engine, and these are few keys."""
    record = row.record
    if record.get("kind") != "tag":
        raise _bad(row, f"kind must be 'tag', not {record.get('kind')!r}", "/kind")
    for key in ("tag", "reason"):
        if not isinstance(record.get(key), str) or not record[key]:
            raise _bad(row, "must be a non-empty text", f"/{key}")
    numbers = {"weight": None, "previous": None, "prior": 0.0, "floor": 0.0, "cap": 1.0}
    values = {key: _share(row, key, default) for key, default in numbers.items()}
    for key in ("evidence", "factors", "state"):
        if not isinstance(record.get(key, None if key == "evidence" else {}), dict):
            raise _bad(row, "must be an object", f"/{key}")
    limits = record.get("limits", [])
    if not isinstance(limits, list) or not all(isinstance(limit, str) for limit in limits):
        raise _bad(row, "must be a list of texts", "/limits")
    number = record.get("round", 0)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise _bad(row, "must be a whole number from 0", "/round")
    return PolicyLine(
        tag=record["tag"],
        reason=record["reason"],
        round=number,
        evidence=record["evidence"],
        factors=record.get("factors", {}),
        limits=tuple(limits),
        state=record.get("state", {}),
        **values,
    )


def _share(row: Row, key: str, default: float | None) -> float:
    value = row.record.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise _bad(row, "must be a number", f"/{key}")
    if not 0.0 <= value <= 1.0 and key in ("weight", "previous"):
        raise _bad(row, f"{value:g} is outside [0, 1]", f"/{key}")
    return float(value)


def allocate(weights: Mapping[str, float], num: int) -> dict[str, int]:
    """Splits `num` records over tags by weight, in whole numbers, by largest remainder.

    Args:
        weights: tag -> weight, any positive scale; at least one above 0.
        num: records in all, from 0.
    Returns:
        tag -> count, in the order of `weights`; the counts sum to `num`, each is within 1 of its exact share. Equal
        remainders go by the natural order of the tags, so the order of `weights` never matters.
    Raises:
        ValueError: no weight above 0, a negative one, or a negative `num`.
    Source: Hamilton's method of apportionment (1791).
    """
    total = fsum(weights.values())
    if num < 0 or not total > 0 or min(weights.values()) < 0:
        raise ValueError(f"can't split {num} records by weights that sum to {total:g}")
    shares = {tag: num * weight / total for tag, weight in weights.items()}
    counts = {tag: floor(share) for tag, share in shares.items()}
    by_remainder = sorted(shares, key=lambda tag: (counts[tag] - shares[tag], natural_order(tag)))
    for tag in by_remainder[: num - sum(counts.values())]:
        counts[tag] += 1
    return counts
