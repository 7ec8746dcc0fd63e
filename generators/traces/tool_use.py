"""Tool-use traces played from workflow templates against the built-in services; five levels.

    1 one call    2 two calls, the second with what the first gave    3 calls at once, and calls that depend on them
    4 an error and its remedy, or a missing argument asked for        5 several services and a second request

Workflows of a level take turns by index, so each gets its share and refusals come in exact quotas.
LIMIT: chat templates that allow one call a turn, as Llama 3.1's, refuse the 29 % of traces that make calls at once.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from frontier_core.errors import ConfigError, UsageError
from frontier_core.records import Record
from frontier_core.resources import shipped
from frontier_core.seeds import child_random, child_seed
from generators.base import Generator
from generators.traces.play import Scene, play
from generators.traces.workflow import LEVELS, Workflow, load_workflows

VERSION = "1.1.0"
SKILL = "tool_use"


class WorkflowSkill:
    """The generator of a folder of workflow templates: see generators.base.Generator for the protocol.

    The templates' digest is part of `generator_version`: a record replays with the templates that made it, or not at
    all.

    Args:
        folder: holds *.yaml files.
    """

    skill = SKILL
    generator_id = SKILL

    def __init__(self, folder: Path) -> None:
        workflows, digest = load_workflows(folder)
        self.generator_version = f"{VERSION}+{digest}"
        self._by_level = {level: [w for w in workflows if w.level == level] for level in LEVELS}
        self._by_level = {level: found for level, found in self._by_level.items() if found}
        self.levels = tuple(self._by_level)

    def workflows(self, level: int) -> list[Workflow]:
        """Gives the workflows of a level; raises UsageError when there are none."""
        if level not in self._by_level:
            known = ", ".join(map(str, self.levels))
            raise UsageError(f"{self.skill} has no level {level}", hint=f"choose one of: {known}")
        return self._by_level[level]

    def capacity(self, level: int) -> int:
        """Gives a lower bound of the distinct requests of a level that a run still finds without long searching."""
        return sum(workflow.num_problems for workflow in self.workflows(level)) // 2

    def problem(self, record: Record) -> str:
        """Gives what the user asks for: all user turns; the world behind it differs from seed to seed."""
        return "\n".join(turn["content"] for turn in record["messages"] if turn["role"] == "user")

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level); same three and same templates, same bytes."""
        workflows = self.workflows(level)
        place = (self.generator_id, self.generator_version, seed, level, index)
        turn, number = divmod(index, len(workflows))
        workflow = workflows[number]
        refuses = workflow.front.safety.must_refuse(turn)
        scene = play(workflow, child_random(*place), partial(call_id, *place), refuses=refuses)
        return self._record(workflow, scene, refuses=refuses, seed=seed, index=index)

    def _record(self, workflow: Workflow, scene: Scene, *, refuses: bool, seed: int, index: int) -> Record:
        front = workflow.front
        names = [entry["function"]["name"] for entry in scene.tools]
        forbid = [name for name in names if any(rule.fullmatch(name) for rule in front.safety.forbid)]
        if front.safety.forbid and not forbid:
            raise ConfigError(f"{workflow.where}: safety.forbid names no tool of {', '.join(front.tools)}")
        metadata = {
            "skill": self.skill,
            "domain": front.domain,
            "level": workflow.level,
            "task_type": "refusal" if refuses else "tool_calls",
            "scenario": front.name,
            "source": "procedural",
            "source_license": "CC0-1.0",
            "tool_set": sorted({call["name"] for turn in scene.calls for call in turn}),
            "generator_id": self.generator_id,
            "generator_version": self.generator_version,
            "seed": seed,
            "index": index,
        }
        if front.safety.tags:
            metadata["safety_tags"] = list(front.safety.tags)
        if front.review:
            metadata["review"] = "yes"
        return {
            "messages": scene.messages,
            "tools": scene.tools,
            "initial_state": scene.initial_state,
            "expect": scene.expect(forbid if refuses else ()),
            "metadata": metadata,
        }


def call_id(*place: object) -> str:
    """Gives the id of one call: the same place (generator, seed, level, index, number), the same id."""
    return f"call_{child_seed('call', *place):016x}"


def shipped_workflows() -> Generator:
    """Gives the generator of the templates that ship."""
    return WorkflowSkill(shipped("templates/tools"))


GENERATOR: Generator = shipped_workflows()
