"""`synth gen` and `synth replay`: a plan of cells and counts in, candidate records out, each one reproducible.

The run is a pure function of (domains, policy, num, seed, split): cells are interleaved in a fixed order, problems of
the other split are skipped, and a problem is never made twice in a run. Teachers and templates are not covered here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from math import floor, sqrt
from typing import NamedTuple

from frontier_core.allocation import allocate
from frontier_core.domains import Domain, prior_weights
from frontier_core.errors import DataError, FrontierError, UsageError
from frontier_core.jsonl import Row, dumps
from frontier_core.lineage import mark
from frontier_core.records import Record, metadata_of, parse_tag
from frontier_core.seeds import HELD_OUT_SHARE, child_random
from generators.base import Generator
from generators.draws import Cell, Crew, Payload, distinct, endless, made_by
from generators.draws import Split as Split
from generators.table import GENERATORS

Source = Callable[[str], Generator]
"""Gives the generator of a skill: the registry, or one bound to a file that the user named (see `bound`)."""

MAX_MISSES = 400
MISSES_PER_PROBLEM = 40
MOST_MISSES = 200_000
"""Draws in a row that may repeat a problem or fall into the other split before the cell counts as exhausted: 40 for
each problem of its capacity, so that the last one is still found, yet never so many that a run hangs."""

_HINT_FEWER = "ask for fewer, add levels, or pass --allow-duplicates"
_HINT_NONE = "no level has problems enough to be split; pass --allow-duplicates"

CHECK_EVERY = 32
"""One candidate in so many is checked unless a run says otherwise: checking all takes 0.3 to 5 times the making."""


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


def split_capacity(generator: Generator, level: int, split: Split) -> int:
    """Gives how many distinct problems of a level one split surely has.

    Content decides the split, so its share scatters around 10 or 90 percent: four standard deviations are taken off.
    """
    capacity = generator.capacity(level)
    share = (HELD_OUT_SHARE if split == "eval" else 100 - HELD_OUT_SHARE) / 100
    return max(0, floor(capacity * share - 4 * sqrt(capacity * share * (1 - share))))


def check_capacity(
    requests: Iterable[Request], *, split: Split, allow_duplicates: bool, source: Source = GENERATORS.get
) -> None:
    """Raises UsageError when a cell is asked for more distinct problems than it has."""
    for request in requests:
        generator = source(request.domain.skill)
        if request.level not in generator.levels:
            known = ", ".join(map(str, generator.levels))
            raise UsageError(f"skill {generator.skill} has no level {request.level}", hint=f"its levels: {known}")
        capacity = split_capacity(generator, request.level, split)
        if request.count > capacity and not allow_duplicates:
            raise UsageError(
                f"{generator.skill} level {request.level} has about {capacity} distinct problems in split {split}, "
                f"{request.count} are asked for",
                hint=_less_hint(generator, split) if not capacity else _HINT_FEWER,
            )


def _less_hint(generator: Generator, split: Split) -> str:
    """What to do about a level that has no problems: the levels that have some."""
    found = {level: split_capacity(generator, level, split) for level in generator.levels}
    listed = ", ".join(f"{level} (about {count})" for level, count in found.items() if count)
    return f"levels that have problems: {listed}; choose with --level" if listed else _HINT_NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that decides a run's bytes.

    `requests` how many of which cell; `seed` of the run; `split` training or held-out problems; `allow_duplicates` lets
    problems repeat; `shard` is (i, n): the i-th of n blocks of the whole run's lines, in order and of equal length but
    for one line, so that `cat` over all of them gives the whole run. Of each cell's candidates every `check_every`-th
    has its answer computed again by the skill's verifier (1 all, 0 none); `source` is where generators come from.
    """

    requests: Sequence[Request]
    seed: int
    split: Split = "train"
    allow_duplicates: bool = False
    shard: tuple[int, int] = (1, 1)
    check_every: int = CHECK_EVERY
    source: Source = GENERATORS.get

    def digest(self) -> str:
        """Gives what stands for all but seed, split and shard: cells, their generators and counts, what is checked."""
        cells = []
        for request in self.requests:
            generator = self.source(request.domain.skill)
            cell = (request.domain.name, request.domain.skill, request.level, request.count)
            cells.append([*cell, generator.generator_id, generator.generator_version])
        return sha256(dumps([cells, self.allow_duplicates, self.check_every])).hexdigest()[:16]

    def order(self) -> array[int]:
        """Gives the cell, by its place in `requests`, of each line of the whole run."""
        order = array("H")
        for place, request in enumerate(self.requests):
            order.extend(array("H", [place]) * request.count)
        child_random("synth_order", self.seed, self.split).shuffle(order)
        return order

    def cells(self) -> list[Cell]:
        """Gives what is drawn for each request."""
        found = [(self.source(request.domain.skill), request.level) for request in self.requests]
        return [Cell(generator, level, self.seed, self.split, self.check_every) for generator, level in found]

    def block(self) -> tuple[int, int]:
        """Gives the first line of the shard, from 0, and the one behind its last."""
        total = sum(request.count for request in self.requests)
        number, of = self.shard
        return total * (number - 1) // of, total * number // of


class Line(NamedTuple):
    """One finished line of a run, its tag, and the mark it carries."""

    data: bytes
    tag: str
    mark: str


def generate(
    requests: Sequence[Request],
    *,
    seed: int,
    split: Split = "train",
    allow_duplicates: bool = False,
    source: Source = GENERATORS.get,
) -> Iterator[Record]:
    """Yields the records of a run, cells shuffled together in an order the seed decides; see `Plan`.

    Raises:
        UsageError: a cell has fewer distinct problems than were asked for.
    """
    plan = Plan(requests=requests, seed=seed, split=split, allow_duplicates=allow_duplicates, source=source)
    _check(plan)
    for _, record in _merge(plan, [endless(cell) for cell in plan.cells()]):
        yield record


Draw = Callable[[Cell, int], Iterator[tuple[int, bytes] | None]]
"""Gives the endless candidates of a cell as finished lines, from how many of it are wanted."""


def generate_lines(plan: Plan, *, num_workers: int = 1, draw: Draw | None = None) -> Iterator[Line]:
    """Yields the lines of a run or of a shard of it, the same for any number of worker processes.

    Args:
        plan: what is made.
        num_workers: processes of this machine that draw.
        draw: draws elsewhere instead.
    Raises:
        UsageError: a cell has fewer distinct problems than were asked for.
        WrongAnswer: a checked answer is refused by the skill's verifier.
    """
    _check(plan)
    cells = plan.cells()
    about = [(f"skill={cell.generator.skill},level={cell.level}", made_by(cell.generator)) for cell in cells]
    if draw is not None:
        counts = [request.count for request in plan.requests]
        for place, data in _merge(plan, [draw(cell, wanted) for cell, wanted in zip(cells, counts, strict=True)]):
            yield Line(data, *about[place])
        return
    if num_workers == 1:
        for place, record in _merge(plan, [endless(cell) for cell in cells]):
            yield Line(dumps(record), *about[place])
        return
    with Crew(cells, [request.count for request in plan.requests], num_workers) as crew:
        for place, data in _merge(plan, [crew.stream(place) for place in range(len(cells))]):
            yield Line(data, *about[place])


def _check(plan: Plan) -> None:
    check_capacity(plan.requests, split=plan.split, allow_duplicates=plan.allow_duplicates, source=plan.source)


def _merge(plan: Plan, streams: Sequence[Iterator[tuple[int, Payload] | None]]) -> Iterator[tuple[int, Payload]]:
    """Yields what the plan takes from each cell's stream, with the cell's place, in the order of the run."""
    chosen = [_choose(plan, request, stream) for request, stream in zip(plan.requests, streams, strict=True)]
    first, end = plan.block()
    for number, place in enumerate(islice(plan.order(), end)):
        payload = next(chosen[place])
        if number >= first:
            yield place, payload


def _choose(plan: Plan, request: Request, stream: Iterator[tuple[int, Payload] | None]) -> Iterator[Payload]:
    if plan.allow_duplicates:
        return (found[1] for found in stream if found is not None)
    generator = plan.source(request.domain.skill)

    def exhausted(num_found: int) -> FrontierError:
        return UsageError(
            f"{generator.skill} level {request.level} ran out of distinct problems after {num_found}",
            hint=_HINT_FEWER,
        )

    max_misses = min(MOST_MISSES, max(MAX_MISSES, MISSES_PER_PROBLEM * generator.capacity(request.level)))
    return distinct(stream, max_misses=max_misses, exhausted=exhausted)


def replay(metadata: Record, *, source: Source = GENERATORS.get) -> Record:
    """Makes a procedural record again, byte for byte as `synth gen` wrote it.

    Args:
        metadata: holds generator_id, generator_version, skill, seed, index and level.
        source: where generators come from.
    Raises:
        DataError: a coordinate is missing, or the installed generator has another version.
    """
    if isinstance(metadata.get("teacher"), dict):
        raise DataError(
            "a teacher wrote this record, no generator",
            pointer="/metadata/teacher",
            code="no_coordinates",
            hint="the same synth teach command with the same --journal gives it again, for nothing",
        )
    wanted = {"skill": str, "generator_id": str, "generator_version": str, "seed": int, "index": int, "level": int}
    for key, kind in wanted.items():
        if not isinstance(metadata.get(key), kind):
            raise DataError(
                f"replay needs {key!r} ({kind.__name__})", pointer=f"/metadata/{key}", code="no_coordinates"
            )
    generator = source(metadata["skill"])
    wanted_version = f"{metadata['generator_id']}@{metadata['generator_version']}"
    installed = f"{generator.generator_id}@{generator.generator_version}"
    if wanted_version != installed:
        raise DataError(
            f"made by {wanted_version}, installed is {installed}",
            pointer="/metadata/generator_version",
            hint="install the version that made it, or give the file it was made from (--openapi, --triples)",
        )
    record = generator.sample(metadata["seed"], metadata["index"], metadata["level"])
    return mark(record, made_by(generator))


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
