"""`synth gen` and `synth replay`: a plan of cells and counts in, candidate records out, each one reproducible.

The run is a pure function of (domains, policy, num, seed, split): cells are interleaved in a fixed order, problems of
the other split are skipped, and a problem is never made twice in a run. Teachers and templates are not covered here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from frontier_core.allocation import allocate
from frontier_core.domains import Domain, prior_weights
from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import Row
from frontier_core.lineage import mark
from frontier_core.records import Record, metadata_of, parse_tag
from frontier_core.seeds import HELD_OUT_SHARE, child_random, is_held_out
from generators.base import Generator
from generators.table import GENERATORS

Split = Literal["train", "eval"]

Source = Callable[[str], Generator]
"""Gives the generator of a skill: the registry, or one bound to a file that the user named (see `bound`)."""

MAX_MISSES = 400
"""Draws in a row that may repeat a problem or fall into the other split before the cell counts as exhausted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How many records of one cell a run wants."""

    domain: Domain
    level: int
    count: int


def plan_requests(
    domains: Sequence[Domain],
    num: int,
    *,
    levels: Sequence[int] = (),
    weights: Mapping[str, float] | None = None,
) -> list[Request]:
    """Splits a run over its cells.

    Args:
        domains: the chosen domains.
        num: records wanted.
        levels: keep only these levels; empty keeps all.
        weights: policy weight per tag; without one the domains' priors. Cells the policy does not name get nothing.
    Raises:
        UsageError: no cell is left.
    """
    prior = prior_weights(domains)
    if levels:
        kept = {tag for tag in prior if int(parse_tag(tag)["level"]) in levels}
        prior = {tag: weight for tag, weight in prior.items() if tag in kept}
    mix = prior if weights is None else {tag: weights[tag] for tag in prior if weights.get(tag, 0.0) > 0}
    if not mix:
        why = "the policy gives no weight to them" if weights is not None and prior else "no domain has these levels"
        raise UsageError(f"nothing to generate: {why}", hint="check --skill, --level and --policy")
    counts = allocate(mix, num)
    by_tag = {f"skill={d.skill},level={level}": (d, level) for d in domains for level in d.levels}
    requests = [(by_tag[tag], count) for tag, count in counts.items() if count]
    return [Request(domain=domain, level=level, count=count) for (domain, level), count in requests]


def bound(*generators: Generator) -> Source:
    """Gives a source that knows these generators first and the registry's after them."""
    own = {generator.skill: generator for generator in generators}
    return lambda skill: own[skill] if skill in own else GENERATORS.get(skill)


def check_capacity(
    requests: Iterable[Request], *, split: Split, allow_duplicates: bool, source: Source = GENERATORS.get
) -> None:
    """Raises UsageError when a cell is asked for more distinct problems than it has."""
    share = HELD_OUT_SHARE if split == "eval" else 100 - HELD_OUT_SHARE
    for request in requests:
        generator = source(request.domain.skill)
        if request.level not in generator.levels:
            known = ", ".join(map(str, generator.levels))
            raise UsageError(f"skill {generator.skill} has no level {request.level}", hint=f"its levels: {known}")
        capacity = generator.capacity(request.level) * share // 100
        if request.count > capacity and not allow_duplicates:
            raise UsageError(
                f"{generator.skill} level {request.level} has about {capacity} distinct problems in split {split}, "
                f"{request.count} are asked for",
                hint="ask for fewer, add levels, or pass --allow-duplicates",
            )


def generate(
    requests: Sequence[Request],
    *,
    seed: int,
    split: Split = "train",
    allow_duplicates: bool = False,
    source: Source = GENERATORS.get,
) -> Iterator[Record]:
    """Yields the records of a run, cells shuffled together in an order the seed decides.

    Args:
        requests: how many of which cell.
        seed: of the run.
        split: training or held-out problems.
        allow_duplicates: let problems repeat.
        source: where generators come from.
    Raises:
        UsageError: a cell has fewer distinct problems than were asked for.
    """
    check_capacity(requests, split=split, allow_duplicates=allow_duplicates, source=source)
    cells = [_cell(source(r.domain.skill), r.level, seed, split, allow_duplicates) for r in requests]
    order = [place for place, request in enumerate(requests) for _ in range(request.count)]
    child_random("synth_order", seed, split).shuffle(order)
    for place in order:
        yield next(cells[place])


def _cell(generator: Generator, level: int, seed: int, split: Split, allow_duplicates: bool) -> Iterator[Record]:
    seen: set[bytes] = set()
    misses = index = 0
    while True:
        record = generator.sample(seed, index, level)
        problem = generator.problem(record)
        index += 1
        key = blake2b(problem.encode(), digest_size=12).digest()
        if is_held_out(problem) != (split == "eval") or (key in seen and not allow_duplicates):
            misses += 1
            if misses > MAX_MISSES:
                raise UsageError(
                    f"{generator.skill} level {level} ran out of distinct problems after {len(seen)}",
                    hint="ask for fewer, add levels, or pass --allow-duplicates",
                )
            continue
        misses = 0
        seen.add(key)
        yield mark(record, f"gen:{generator.generator_id}@{generator.generator_version}")


def replay(metadata: Record, *, source: Source = GENERATORS.get) -> Record:
    """Makes a procedural record again, byte for byte as `synth gen` wrote it.

    Args:
        metadata: holds generator_id, generator_version, skill, seed, index and level.
        source: where generators come from.
    Raises:
        DataError: a coordinate is missing, or the installed generator has another version.
    """
    wanted = {"skill": str, "generator_id": str, "generator_version": str, "seed": int, "index": int, "level": int}
    for key, kind in wanted.items():
        if not isinstance(metadata.get(key), kind):
            raise DataError(
                f"replay needs {key!r} ({kind.__name__})", pointer=f"/metadata/{key}", code="no_coordinates"
            )
    generator = source(metadata["skill"])
    made_by = f"{metadata['generator_id']}@{metadata['generator_version']}"
    installed = f"{generator.generator_id}@{generator.generator_version}"
    if made_by != installed:
        raise DataError(
            f"made by {made_by}, installed is {installed}",
            pointer="/metadata/generator_version",
            hint="install the version that made it",
        )
    record = generator.sample(metadata["seed"], metadata["index"], metadata["level"])
    return mark(record, f"gen:{installed}")


def replay_row(row: Row, *, source: Source = GENERATORS.get) -> Record:
    """Makes the record of one line again; errors name the line."""
    if row.problem is not None:
        raise row.problem
    try:
        return replay(metadata_of(row.record), source=source)
    except DataError as error:
        raise DataError(
            error.problem, path=row.path, line=row.number, pointer=error.pointer, hint=error.hint, code=error.code
        ) from error
