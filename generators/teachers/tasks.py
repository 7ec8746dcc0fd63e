"""What a teacher is asked: tasks from a file or a pipe, or from the cells of `domains.yaml`.

A task is a JSON object; its keys fill the template. A whole record serves too: its last question becomes `prompt`, its
metadata is taken over, its answer is never shown. Asking the same twice gives two samples, told apart by their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import gcd
from typing import TYPE_CHECKING, Any

from frontier_core.domains import Domain
from frontier_core.errors import DataError
from frontier_core.jsonl import Row, dumps
from frontier_core.records import Message, Record, metadata_of
from frontier_core.seeds import child_random
from generators.templates import PromptTemplate

if TYPE_CHECKING:
    from generators.synth import Request as Cell

COORDINATES = ("generator_id", "generator_version", "seed", "index", "level", "skill")
"""What makes a procedural problem again; kept under metadata.problem."""
_INHERITED = (
    "persona",
    "domain",
    "level",
    "task_type",
    "scenario",
    "difficulty",
    "source_license",
    "length_hint",
    "notes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to ask: the values that fill the template, the metadata its record begins with, where it came from."""

    values: dict[str, Any]
    metadata: Record
    source: Record
    path: str
    line: int
    raw: bytes = b""

    @property
    def must_refuse(self) -> bool:
        """True when the right answer is a refusal."""
        return bool(self.values["refuse"])

    def original(self) -> bytes:
        """Gives the task as a line, for the rejects file."""
        return self.raw or dumps(self.source)


def tasks_from_rows(
    rows: Iterable[Row], template: PromptTemplate, *, seed: int, samples: int = 1
) -> Iterator[Task | tuple[Row, DataError]]:
    """Yields the tasks of a file, each `samples` times; a line that is none comes with its problem.

    Args:
        rows: the lines.
        template: what will be asked.
        seed: of the template's slots.
        samples: answers wanted to each task.
    """
    number = 0
    for row in rows:
        problem = row.problem or _problem(row.record, template)
        if problem is not None:
            yield row, problem
            continue
        for sample in range(samples):
            yield _task(
                row.record, template, (seed, number, sample), number, path=row.path, line=row.number, raw=row.raw
            )
            number += 1


def tasks_from_cells(cells: Sequence[Cell], template: PromptTemplate, *, seed: int) -> Iterator[Task]:
    """Yields as many tasks as each cell asks for; task i of a cell never depends on how many there are.

    A domain's topics and personas are spread over its tasks (`expansion`); they fill the template as `topic` and
    `persona`, and are metadata.scenario and metadata.persona of the records.
    """
    for cell in cells:
        domain = cell.domain
        seeds = expansion(domain, seed, cell.level)
        for index in range(cell.count):
            source: Record = {"skill": domain.skill, "domain": domain.name, "level": cell.level, "index": index}
            source |= next(seeds)
            if domain.brief:
                source["brief"] = domain.brief
            if domain.safety_tags:
                source["safety_tags"] = list(domain.safety_tags)
            if domain.tools:
                source["tools"] = list(domain.tools)
            where = (seed, domain.name, cell.level, index)
            yield _task(source, template, where, index, path=f"{domain.name} level {cell.level}", line=index + 1)


def expansion(domain: Domain, seed: int, level: int) -> Iterator[Record]:
    """Yields, without end, what sets each task of a cell apart: a topic and a persona, where the domain has some.

    Every pair of topic and persona comes once before one comes again, and every topic and persona equally often, within
    one, at any number of tasks up to the shorter list's multiples: pairs run along the diagonals of the table of both,
    rows and columns shuffled by seed, domain and level.
    """
    random = child_random("expansion", seed, domain.name, level)
    topics: list[str] = list(domain.topics)
    personas: list[str] = list(domain.personas)
    random.shuffle(topics)
    random.shuffle(personas)
    wide, narrow = max(len(topics), len(personas)), min(len(topics), len(personas))
    for number in count():
        # After lcm(topics, personas) tasks a diagonal is through, and the next one begins a persona further.
        turn = number // (wide * narrow // gcd(wide, narrow)) if narrow else 0
        found: Record = {}
        if topics:
            found["topic"] = found["scenario"] = topics[number % len(topics)]
        if personas:
            found["persona"] = personas[(number + turn) % len(personas)]
        yield found


def _problem(record: Record, template: PromptTemplate) -> DataError | None:
    skill = template.front.skill or record.get("skill") or metadata_of(record).get("skill")
    if not isinstance(skill, str) or not skill:
        hint = 'give each task a "skill", or the template one'
        return DataError("the task names no skill", pointer="/skill", code="bad_task", hint=hint)
    messages = record.get("messages")
    if messages is None:
        return None
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        return DataError("messages must be a list of turns", pointer="/messages", code="bad_task")
    num_asked = sum(turn.get("role") == "user" for turn in messages)
    if num_asked != 1:
        message = f"the task has {num_asked} user turns; a teacher is asked one question"
        return DataError(message, pointer="/messages", code="bad_task", hint="split it, or give the task a prompt key")
    return None


def _task(
    source: Record,
    template: PromptTemplate,
    where: Sequence[object],
    number: int,
    *,
    path: str,
    line: int,
    raw: bytes = b"",
) -> Task:
    front = template.front
    known = metadata_of(source)
    values = front.draw(*where) | {"tools": list(front.tools), "index": number} | source
    for name in ("skill", "domain", "level"):
        if name not in values and name in known:
            values[name] = known[name]
    prompt = _last_question(source.get("messages"))
    if prompt is not None:
        values["prompt"] = prompt
    values |= {"policy": front.safety.policy, "refuse": front.safety.must_refuse(number)}
    values["task"] = source
    metadata = _metadata(front.skill, front.domain, source, known)
    tools = list(front.tools) or source.get("tools") or known.get("tool_set") or []
    if tools:
        metadata["tool_set"] = [str(tool) for tool in tools]
    tags = [*(source.get("safety_tags") or known.get("safety_tags") or []), *front.safety.tags]
    if values["refuse"]:
        tags.append("refusal")
    if tags:
        metadata["safety_tags"] = list(dict.fromkeys(map(str, tags)))
    return Task(values=values, metadata=metadata, source=source, path=path, line=line, raw=raw)


def _metadata(skill: str, domain: str, source: Record, known: Record) -> Record:
    """Gives what a task says about its record: the template's word, the task's, then its metadata's."""
    metadata: Record = {"skill": skill or source.get("skill") or known.get("skill") or ""}
    for name in _INHERITED:
        value = source.get(name, known.get(name))
        if value is not None:
            metadata[name] = value
    if domain:
        metadata["domain"] = domain
    if "generator_id" in known:
        metadata["problem"] = {name: known[name] for name in COORDINATES if name in known}
    return metadata


def _last_question(messages: list[Message] | None) -> str | None:
    for turn in reversed(messages or []):
        if turn.get("role") == "user":
            return str(turn.get("content", ""))
    return None
