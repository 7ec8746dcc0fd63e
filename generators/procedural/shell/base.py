"""What the eight shell domains share: a task, the words tasks are made of, and the generator over a table of templates.

A template draws names and numbers, lays out a world (targets and look-alikes), and writes down two things apart from
each other: the plan, and the world after it. The second is computed here in Python from the parameters, never by
running the first, so that a slip in either shows up in the sandbox. Running plans is validators/execution_gate.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from random import Random
from typing import Any, TypeVar

from frontier_core.errors import UsageError
from frontier_core.records import Record
from frontier_core.seeds import child_random

Tree = dict[str, str]
"""Files of a world: path under the home folder -> text."""

FOLDERS = (
    "docs", "reports", "photos", "music", "src", "notes", "inbox", "data", "drafts", "shared", "invoices", "exports",
    "designs", "lectures", "recipes", "samples", "office", "travel", "garden", "orders", "course", "studio",
)  # fmt: skip
WORDS = (
    "budget", "plan", "summary", "agenda", "meeting", "index", "sales", "invoice", "letter", "survey", "roadmap",
    "poster", "recipe", "lesson", "ticket", "review", "outline", "contract", "menu", "diary", "journal", "catalog",
    "report", "memo", "sketch", "chart", "quiz", "guide", "script", "story", "essay", "order", "stock", "price",
    "rating", "contact", "address", "holiday", "project", "task",
)  # fmt: skip
EXTENSIONS = ("txt", "log", "md", "csv", "json", "cfg", "html", "xml", "yml", "ini")
ITEMS = (
    "apple", "pear", "plum", "grape", "lemon", "melon", "peach", "cherry", "mango", "olive", "carrot", "onion",
    "potato", "tomato", "bean", "rice", "bread", "butter", "cheese", "honey", "coffee", "sugar", "salt", "pepper",
)  # fmt: skip
CITIES = (
    "Oslo", "Lima", "Rome", "Cairo", "Paris", "Quito", "Tokyo", "Delhi", "Accra", "Turin", "Basel", "Perth", "Porto",
    "Hanoi", "Sofia", "Dakar", "Leeds", "Miami", "Tunis", "Riga",
)  # fmt: skip


TOOLS = {
    "awk": "awk", "cmp": "cmp", "find": "find", "getconf": "getconf", "git": "git", "grep": "grep", "gunzip": "gzip",
    "gzip": "gzip", "hostname": "hostname", "sed": "sed", "tar": "tar", "xargs": "xargs", "zcat": "gzip",
}  # fmt: skip
"""Words of a plan that are commands beyond bash and coreutils -> the tool that brings them."""
_TOOL = re.compile(rf"(?<![\w./-])(?:{'|'.join(TOOLS)})(?![\w./-])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One intent with the plan that fulfils it, the world before and the world demanded after.

    `fixture` and `expect` follow docs/records.md; `tool_set` names commands beyond bash and coreutils.
    """

    instruction: str
    commands: tuple[str, ...]
    fixture: Record = field(default_factory=dict)
    expect: Record = field(default_factory=dict)
    tool_set: tuple[str, ...] = ()
    safety_tags: tuple[str, ...] = ()


Row = TypeVar("Row", bound=tuple[Any, ...])

Template = Callable[[Random], Task]
"""Draws the parameters of one kind of task; its function name is the record's `scenario`."""


def say(rng: Random, *phrasings: str) -> str:
    """Gives one of the ways people would ask for the same thing."""
    return rng.choice(phrasings)


def lines(items: Iterable[object]) -> str:
    """Gives a text file's content: one item a line, each ended by a newline; "" for no items."""
    return "".join(f"{item}\n" for item in items)


def stem(rng: Random) -> str:
    """Gives a file's name without extension: `plan`, `plan_sales`, `plan-2021` or `plan7`."""
    first, second = rng.sample(WORDS, 2)
    return rng.choice((first, f"{first}_{second}", f"{first}-{rng.randint(2015, 2029)}", f"{first}{rng.randint(2, 9)}"))


def stems(rng: Random, count: int) -> list[str]:
    """Gives `count` distinct names, none of which is a prefix of another."""
    return [
        f"{word}{rng.choice(('', '', '_old', '-v2', '_' + str(rng.randint(11, 49))))}" for word in distinct(rng, count)
    ]


def paths(rng: Random, *extensions: str) -> list[str]:
    """Gives the paths of distinct files in one folder, one for each extension."""
    folder = rng.choice(FOLDERS)
    return [f"{folder}/{name}.{ext}" for name, ext in zip(stems(rng, len(extensions)), extensions, strict=True)]


def distinct(rng: Random, count: int) -> list[str]:
    """Gives `count` distinct plain words."""
    return rng.sample(WORDS, count)


def prose(rng: Random, count: int = 2) -> str:
    """Gives `count` short lines of filler, so that files differ in content."""
    return lines(f"{rng.choice(ITEMS)} {rng.choice(WORDS)} {rng.randint(10, 99)}" for _ in range(count))


def fill(rng: Random, paths: Iterable[str]) -> Tree:
    """Gives a tree with filler in each of `paths`; contents differ from file to file."""
    return {path: f"{number} {prose(rng, 1)}" for number, path in enumerate(paths, 1)}


def bracketed(rows: Sequence[Row], values: Sequence[object], column: int) -> list[Row]:
    """Gives the rows, some of them changed so that each of some values stands in a column.

    A bound is pinned down by a row on it and one on either side: a plan with any other bound gives another result.

    Args:
        rows: tuples of equal length, more than there are values.
        values: what must stand in the column.
        column: its place, from 0.
    """
    changed: list[Any] = list(rows)
    free = (place for place, row in enumerate(rows) if row[column] not in values)
    for value in values:
        if all(row[column] != value for row in rows):
            place = next(free)
            changed[place] = (*rows[place][:column], value, *rows[place][column + 1 :])
    return changed


def tools_of(commands: Iterable[str]) -> tuple[str, ...]:
    """Gives the tools beyond bash and coreutils that a plan uses, sorted; compressing with tar takes gzip too."""
    text = "\n".join(commands)
    found = {TOOLS[word] for word in _TOOL.findall(text)}
    return tuple(sorted(found | {"gzip"} if re.search(r"\btar -[cx]z", text) else found))


def folders_of(paths: Iterable[str]) -> set[str]:
    """Gives every folder that some path lies in, home itself not counted."""
    return {str(parent) for path in paths for parent in PurePosixPath(path).parents if str(parent) != "."}


def changed_files(
    before: Tree, after: Tree, *, dirs: Iterable[str] = (), made: Iterable[str] = (), gone: Iterable[str] = ()
) -> Record:
    """Gives `expect.files`: every path in which the world after differs from the world before.

    Args:
        before: files of the fixture.
        after: files there should be afterwards.
        dirs: folders of the fixture beyond those its files lie in.
        made: folders there should be afterwards beyond those the new files lie in.
        gone: folders there should be no more; a folder that only lost its files stays.
    """
    expected: Record = {path: {"absent": True} for path in [*sorted(before.keys() - after.keys()), *sorted(gone)]}
    old_dirs = folders_of(before) | set(dirs) | folders_of(dirs)
    new_dirs = folders_of(after) | set(made) | folders_of(made)
    expected |= {path: {"dir": True} for path in sorted(new_dirs - old_dirs)}
    return expected | {path: {"text": text} for path, text in sorted(after.items()) if before.get(path) != text}


def task(
    instruction: str,
    commands: Sequence[str],
    before: Tree,
    after: Tree | None = None,
    *,
    stdout: str | None = None,
    dirs: Sequence[str] = (),
    made: Sequence[str] = (),
    gone: Sequence[str] = (),
    fixture: Mapping[str, Any] | None = None,
    expect: Mapping[str, Any] | None = None,
    safety_tags: Sequence[str] = (),
) -> Task:
    """Gives the task that turns the files `before` into the files `after` (the same ones when None).

    Args:
        instruction: the intent, in a person's words.
        commands: the plan, one shell command a step.
        before: files of the fixture.
        after: files demanded afterwards.
        stdout: demanded output, None when the intent asks for none.
        dirs, made, gone: folders, as in `changed_files`.
        fixture, expect: further keys; their `files` are added to those computed here.
        safety_tags: what a plan of this kind may endanger.
    """
    whole_fixture: Record = {"files": {path: {"text": text} for path, text in before.items()}}
    if dirs:
        whole_fixture["dirs"] = {path: {} for path in dirs}
    for key, value in (fixture or {}).items():
        whole_fixture[key] = {**whole_fixture.get(key, {}), **value} if isinstance(value, dict) else value
    whole_expect: Record = {
        "files": changed_files(before, before if after is None else after, dirs=dirs, made=made, gone=gone)
    }
    if stdout is not None:
        whole_expect["stdout"] = stdout
    for key, value in (expect or {}).items():
        whole_expect[key] = {**whole_expect.get(key, {}), **value} if isinstance(value, dict) else value
    return Task(
        instruction=instruction,
        commands=tuple(commands),
        fixture={key: value for key, value in whole_fixture.items() if value},
        expect={key: value for key, value in whole_expect.items() if value or key == "stdout"},
        tool_set=tools_of(commands),
        safety_tags=tuple(safety_tags),
    )


class ShellGenerator:
    """Makes the plan_v1 records of one shell domain from its templates.

    Implements generators.base.Generator. The template is drawn first, uniformly among its level's, then its parameters.
    """

    generator_version = "1.1.0"
    levels: tuple[int, ...] = (1, 2, 3)

    def __init__(
        self, domain: str, templates: Mapping[int, Sequence[Template]], *, distinct_problems: int = 3500
    ) -> None:
        self.domain = domain
        self.skill = self.generator_id = f"shell_{domain}"
        self.templates = {level: tuple(templates[level]) for level in self.levels}
        self._distinct_problems = distinct_problems

    def capacity(self, level: int) -> int:
        """Gives a lower bound of how many distinct problems the level has; declared, and reached in the tests."""
        self._known(level)
        return self._distinct_problems

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes one record: a pure function of the three numbers and the generator's version.

        Raises:
            UsageError: the level is none of `levels`.
        """
        self._known(level)
        rng = child_random(self.generator_id, self.generator_version, seed, level, index)
        template = rng.choice(self.templates[level])
        made = template(rng)
        return {
            "instruction": made.instruction,
            "output": [{"command": command} for command in made.commands],
            "fixture": made.fixture,
            "expect": made.expect,
            "metadata": {
                "skill": self.skill,
                "domain": self.domain,
                "level": level,
                "task_type": "shell",
                "scenario": template.__name__,
                "source": "procedural",
                "tool_set": list(made.tool_set),
                "safety_tags": list(made.safety_tags),
                "source_license": "CC0-1.0",
                "generator_id": self.generator_id,
                "generator_version": self.generator_version,
                "seed": seed,
                "index": index,
            },
        }

    def problem(self, record: Record) -> str:
        """Gives the instruction, for it is all that a model gets to see: another fixture makes no other problem."""
        return str(record["instruction"])

    def _known(self, level: int) -> None:
        if level not in self.templates:
            raise UsageError(f"{self.skill} has no level {level}", hint=f"levels: {', '.join(map(str, self.levels))}")
