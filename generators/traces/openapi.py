"""Tool-use traces over an API that the user describes by an OpenAPI 3 document.

    generator = openapi_generator("petstore.yaml")
    source = generators.synth.bound(generator)      # what `synth gen` and `synth replay` draw from

The records carry everything a judge needs: the tools' schemas, the operations and the store they run on. The document's
sha256 is in the metadata, and its first digits in `generator_version`: another document can't replay them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from frontier_core.domains import Domain
from frontier_core.errors import DataError, UsageError
from frontier_core.records import Record
from frontier_core.seeds import child_random
from generators.traces.document import Api, read_api
from generators.traces.recipes import Recipe, recipes_of
from generators.traces.stage import Stage
from generators.traces.tool_use import SKILL, call_id

VERSION = "1.1.0"
DOMAIN = "openapi"
NUM_DRAWS = 256


class OpenapiSkill:
    """The generator of one document: see generators.base.Generator for the protocol; `api` tells what it found."""

    skill = SKILL
    generator_id = "openapi"

    def __init__(self, api: Api) -> None:
        self.api = api
        self.generator_version = f"{VERSION}+{api.sha256[:16]}"
        by_level: dict[int, list[Recipe]] = {}
        for recipe in recipes_of(api):
            by_level.setdefault(recipe.level, []).append(recipe)
        self._by_level = dict(sorted(by_level.items()))
        self.levels = tuple(self._by_level)

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenapiSkill, (self.api,)  # recipes hold functions, which worker processes can't be sent

    @property
    def unsupported(self) -> dict[str, str]:
        """What no trace is made of: `GET /ping` -> why."""
        return self.api.unsupported

    @property
    def domain(self) -> Domain:
        """The line of a domains file that this generator stands for."""
        return Domain(name=DOMAIN, skill=self.skill, levels=self.levels)

    def recipes(self, level: int) -> list[Recipe]:
        """Gives what can be asked at a level; raises UsageError when the document allows nothing there."""
        if level not in self._by_level:
            known = ", ".join(map(str, self.levels))
            raise UsageError(f"the OpenAPI document allows no level {level}", hint=f"choose one of: {known}")
        return self._by_level[level]

    def capacity(self, level: int) -> int:
        """Gives a lower bound of the distinct requests of a level that a run still finds without long searching."""
        bound = sum(recipe.num_problems for recipe in self.recipes(level)) // 2
        if bound >= NUM_DRAWS:
            return bound
        # Optional arguments widen what the bound knows of: at least what some draws give is there.
        return max(bound, len({self.problem(self.sample(0, index, level)) for index in range(NUM_DRAWS)}))

    def problem(self, record: Record) -> str:
        """Gives what the user asks for: all user turns."""
        return "\n".join(turn["content"] for turn in record["messages"] if turn["role"] == "user")

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes the record at (seed, index, level); same three and same document, same bytes."""
        recipes = self.recipes(level)
        recipe = recipes[index % len(recipes)]
        place = (self.generator_id, self.generator_version, seed, level, index)
        stage = Stage(self.api, recipe.needs, child_random(*place), partial(call_id, *place))
        recipe.play(stage, recipe.needs)
        scene = stage.scene
        return {
            "messages": scene.messages,
            "tools": scene.tools,
            "initial_state": scene.initial_state,
            "expect": scene.expect(),
            "metadata": {
                "skill": self.skill,
                "domain": DOMAIN,
                "level": level,
                "task_type": "tool_calls",
                "scenario": recipe.name,
                "source": "procedural",
                "tool_set": sorted({call["name"] for turn in scene.calls for call in turn}),
                "openapi_title": self.api.title,
                "openapi_sha256": self.api.sha256,
                "generator_id": self.generator_id,
                "generator_version": self.generator_version,
                "seed": seed,
                "index": index,
            },
        }


def openapi_generator(path: str | Path) -> OpenapiSkill:
    """Gives the generator of an OpenAPI 3.0 or 3.1 document, JSON or YAML.

    Raises:
        UsageError: no such file.
        DataError: no OpenAPI 3 document, a broken reference, or no operation that can be stood in for; names why.
    """
    api = read_api(path)
    if not api.operations:
        first = next(iter(api.unsupported.items()), None)
        reason = f": {first[0]}: {first[1]}" if first else ""
        raise DataError(f"none of its operations can be simulated{reason}", path=str(path), code="openapi")
    return OpenapiSkill(api)
