"""`synth gen`, `synth replay` and `synth format`, end to end: one function a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from frontier_core.allocation import read_policy, weights_of
from frontier_core.domains import Domain
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import Row, read_rows
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from frontier_ops.stage_files import StageResult, StageWriter, Target
from generators import formats, pairs, synth
from generators.synth import Request, Split
from validators.base import problem_findings
from validators.schema_gate import SchemaGate

T = TypeVar("T")


def gen(
    requests: Sequence[Request],
    target: Target,
    *,
    seed: int,
    split: Split = "train",
    allow_duplicates: bool = False,
    policy: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Generates the requested records. Raises UsageError when a cell has too few distinct problems."""
    about: dict[str, Any] = {"seed": seed, "producer": "procedural", "params": {"split": split, "policy": policy}}
    with StageWriter(target, "synth gen", [policy] if policy else [], **about) as writer:
        for record in synth.generate(requests, seed=seed, split=split, allow_duplicates=allow_duplicates):
            writer.accept(record)
            writer.result.num_in += 1
            if on_progress:
                on_progress(writer.result.num_in)
    return writer.result


def choose_requests(
    domains: Sequence[Domain], num: int, *, levels: Sequence[int] = (), policy: str = ""
) -> list[Request]:
    """Splits a run of `num` records over its cells, by the policy file when one is given."""
    weights = weights_of(read_policy(policy)) if policy else None
    return synth.plan_requests(domains, num, levels=levels, weights=weights)


def format_records(source: str, target: Target, *, form: formats.FormName, profile: ProfileName) -> StageResult:
    """Writes every record in another form. A record that has none raises DataError with its line."""
    gate = SchemaGate()
    with StageWriter(target, "synth format", [source], params={"form": form, "profile": profile}) as writer:
        for row in read_rows(source):
            findings = problem_findings(row.problem) if row.problem else gate.check(row.record)[1]
            if findings:
                raise findings[0].as_error(row.path, row.number)
            writer.accept(_at_row(row, partial(formats.convert, form=form, profile=profile)))
            writer.result.num_in += 1
    return writer.result


def pair_records(
    source: str, failed: str, target: Target, *, form: pairs.PairForm, profile: ProfileName, most: int = 1
) -> StageResult:
    """Writes preference pairs or sparring records of verified records and failed candidates to the same problems.

    Args:
        source: verified records.
        failed: a rejects file of `synth verify`, or records that are wrong.
        target: where they go.
        form: preference or sparring.
        profile: what answers are dressed in.
        most: failed answers used per verified record.
    Raises:
        DataError: a line can't be read or does not end in an answer; names it.
    """
    failures = pairs.Failures()
    for row in read_rows(failed):
        _at_row(row, failures.add)
    params = {"form": form, "profile": profile, "most": most}
    with StageWriter(target, "synth format", [source, failed], params=params) as writer:

        def verified() -> Iterator[pairs.Answered]:
            for row in read_rows(source):
                writer.result.num_in += 1
                yield _at_row(row, pairs.answered)

        make = pairs.preferences if form == "preference" else pairs.sparring
        for record in make(verified(), failures, profile=profile, most=most):
            writer.accept(record)
    return writer.result


def _at_row(row: Row, action: Callable[[Record], T]) -> T:
    """Does something with a line's record; errors name the line."""
    if row.problem is not None:
        raise row.problem
    try:
        return action(row.record)
    except DataError as error:
        raise DataError(
            error.problem, path=row.path, line=row.number, pointer=error.pointer, hint=error.hint, code=error.code
        ) from error


def replay(source: str, target: Target, *, line: int = 0) -> StageResult:
    """Makes every record of a file again from its metadata; with `line`, only that one."""
    with StageWriter(target, "synth replay", [source]) as writer:
        for row in read_rows(source):
            if line and row.number != line:
                continue
            writer.accept(synth.replay_row(row))
            writer.result.num_in += 1
    if line and not writer.result.num_in:
        raise UsageError(f"{source} has no line {line}")
    return writer.result
