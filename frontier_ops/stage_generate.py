"""`synth gen` and `synth replay`, end to end: one function a command. `synth format` is stage_format.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from frontier_core import domains as domain_file
from frontier_core.allocation import generation_weights
from frontier_core.domains import Domain
from frontier_core.errors import UsageError
from frontier_core.jsonl import read_rows
from frontier_ops.spread import Spread
from frontier_ops.stage_files import StageResult, StageWriter, Target, earlier
from generators import synth
from generators.base import Generator
from generators.draws import Cell, chunk_size, draw_lines
from generators.synth import Plan, Request
from generators.table import GENERATORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Generators bound to files that the user named: their domains, where they come from, the files, and remarks."""

    domains: tuple[Domain, ...] = ()
    source: synth.Source = GENERATORS.get
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def bind(*, openapi: str = "", triples: str = "", phrases: str = "") -> Bound:
    """Gives generators over an OpenAPI document (tool traces) and a file of triples (graph questions).

    Raises:
        UsageError: `phrases` without `triples`.
        DataError: a file can't be read; names the place.
    """
    if phrases and not triples:
        raise UsageError("--phrases words the relations of a graph", hint="--triples FILE")
    generators: list[Generator] = []
    domains: list[Domain] = []
    notes: list[str] = []
    if openapi:
        from generators.traces.openapi import openapi_generator

        tools = openapi_generator(Path(openapi))
        generators.append(tools)
        domains.append(tools.domain)
        notes += [f"{openapi}: not simulated: {name} ({why})" for name, why in tools.unsupported.items()]
    if triples:
        from generators.graphs.graph_qa import graph_generator

        graph = graph_generator(Path(triples), Path(phrases) if phrases else None)
        generators.append(graph)
        domains.append(Domain(name="graphs", skill=graph.skill, levels=graph.levels))
    files = tuple(filter(None, (openapi, triples, phrases)))
    source = synth.bound(*generators) if generators else GENERATORS.get
    return Bound(domains=tuple(domains), source=source, files=files, notes=tuple(notes))


def gen(
    plan: Plan,
    target: Target,
    *,
    num_workers: int = 1,
    spread: Spread | None = None,
    policy: str = "",
    files: Sequence[str] = (),
    on_progress: Callable[[int], None] | None = None,
) -> StageResult:
    """Generates the records of a plan, the same bytes for any number of worker processes.

    Args:
        plan: what is made.
        target: where it goes.
        num_workers: processes that draw.
        spread: draws on a Ray cluster instead; the bytes are the same.
        policy: the file the plan's counts come from, for the sidecar.
        files: what its generators are bound to, for the sidecar.
        on_progress: told how many there are.
    Raises:
        UsageError: a cell has too few distinct problems.
        WrongAnswer: an answer that was checked is wrong.
    """
    params: dict[str, Any] = {"split": plan.split, "policy": policy, "plan": plan.digest()}
    if plan.shard != (1, 1):
        params["shard"] = "{}/{}".format(*plan.shard)
    about: dict[str, Any] = {"seed": plan.seed, "producer": "procedural", "params": params}
    inputs = [*([policy] if policy else []), *files]
    if done := earlier(target, "synth gen", inputs, **about):
        return done
    synth.check_capacity(plan.requests, split=plan.split, allow_duplicates=plan.allow_duplicates, source=plan.source)
    with StageWriter(target, "synth gen", inputs, **about) as writer:
        draw = partial(_draw_on, spread) if spread else None
        for line in synth.generate_lines(plan, num_workers=num_workers, draw=draw):
            writer.accept_line(line.data, tag=line.tag, mark=line.mark)
            writer.result.num_in += 1
            if on_progress:
                on_progress(writer.result.num_in)
    return writer.result


def _draw_on(spread: Spread, cell: Cell, wanted: int) -> Iterator[tuple[int, bytes] | None]:
    """Yields the candidates of a cell, drawn on a cluster two chunks ahead."""
    size = chunk_size(wanted, spread.num_slots)
    parts = (range(number * size, (number + 1) * size) for number in count())
    return chain.from_iterable(spread.map(partial(draw_lines, cell), parts, ahead=2))


def choose_domains(path: str, skills: Sequence[str]) -> list[Domain]:
    """Gives the domains of a file ("" for the usual one) that are asked for.

    A skill that is registered but stands in no domains file is a domain of its own, at all its levels.
    """
    domains = domain_file.load_domains(path or None)
    listed = {name for domain in domains for name in (domain.name, domain.skill)}
    apart = [skill for skill in skills if skill not in listed and skill in GENERATORS.names()]
    rest = [skill for skill in skills if skill not in apart]
    chosen = domain_file.choose_domains(domains, rest) if rest or not skills else []
    return chosen + [Domain(name=skill, skill=skill, levels=GENERATORS.get(skill).levels) for skill in apart]


def choose_requests(
    domains: Sequence[Domain], num: int, *, levels: Sequence[int] = (), policy: str = ""
) -> list[Request]:
    """Splits a run of `num` records over its cells, by what the policy file says to generate when one is given."""
    weights = generation_weights(policy) if policy else None
    return synth.plan_requests(domains, num, levels=levels, weights=weights)


def replay(source: str, target: Target, *, line: int = 0, bound: Bound | None = None) -> StageResult:
    """Makes every record of a file again from its metadata; with `line`, only that one."""
    bound = bound or Bound()
    with StageWriter(target, "synth replay", [source, *bound.files]) as writer:
        for row in read_rows(source):
            if line and row.number != line:
                continue
            writer.accept(synth.replay_row(row, source=bound.source))
            writer.result.num_in += 1
    if line and not writer.result.num_in:
        raise UsageError(f"{source} has no line {line}")
    return writer.result
