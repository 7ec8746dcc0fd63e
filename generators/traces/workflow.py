"""Workflow templates: what a user wants of some services and how an assistant gets it done, as YAML.

A file holds front matter that its workflows share (skill, domain, tools = services, review, safety) and `workflows`:

    - name: move_event
      level: 2
      slots:
        event: {pick: "=state.calendar.events.values() | list", distinct: 20}
        start: "=..."
      given: [{set: "/shop/products/{{ sku }}/stock", to: 0}, {fault: weather_get_week, code: timeout}, {call: ...}]
      script:
        - user: ["Move {{ event.title }} to {{ start | time }}", ...]
        - {call: calendar_search_events, with: {query: =event.title}, as: found}
        - {call: calendar_move_event, with: {...}, as: moved, on: {conflict: [...], rate_limited: retry}}
        - together: [{call: ...}, {call: ...}]
        - {let: {best: "=..."}}
        - {if: "=...", then: [...], else: [...]}
        - say: ["Moved to {{ start }}."]
          facts: {start: "moved#/event/start time"}
      refuse: [...]           the script taken in the share `safety.refuse_rate` of the draws

A slot is a list (one is drawn), {range: [low, high, step]}, {pick: =list, count, distinct}, `=value` or a text; later
slots see earlier ones. Running a script is generators/traces/play.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import prod
from pathlib import Path
from random import Random
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from generators.templates import FrontMatter, read_front, read_yaml
from generators.traces.expressions import check_syntax, evaluate
from validators.services.base import FAULTS, Json
from validators.services.facts import FORMS, OPS
from validators.services.table import known_tool, service_named
from validators.skills.tool_use import KINDS

LEVELS = (1, 2, 3, 4, 5)
_SHARED = ("skill", "domain", "tools", "safety", "review")
_OWN = ("name", "level", "slots", "given", "script", "refuse")
_STEPS: dict[str, tuple[str, ...]] = {
    "user": ("user",),
    "call": ("call", "with", "as", "on"),
    "together": ("together",),
    "say": ("say", "facts", "kind"),
    "let": ("let",),
    "if": ("if", "then", "else"),
    "set": ("set", "to"),
    "fault": ("fault", "code"),
}
_SLOT_KEYS = ("range", "pick", "count", "distinct")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One template; `where` names file and workflow for messages."""

    front: FrontMatter
    level: int
    script: tuple[Json, ...]
    refuse: tuple[Json, ...]
    given: tuple[Json, ...]
    where: str

    @property
    def num_problems(self) -> int:
        """A lower bound of the distinct requests: phrasings times the slots that each of them names."""
        phrasings = self.script[0]["user"]
        named = set.intersection(*(set(re.findall(r"\w+", text)) for text in phrasings))
        return len(phrasings) * prod(_num_values(slot) for name, slot in self.front.slots.items() if name in named)

    def draw(self, rng: Random, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Gives a value for every slot, in their order; raises ConfigError when one can't be worked out."""
        names = dict(scope)
        drawn: dict[str, Any] = {}
        for name, slot in self.front.slots.items():
            drawn[name] = names[name] = _draw(slot, rng, names)
        return drawn


def _num_values(slot: Any) -> int:
    if isinstance(slot, list):
        return len(slot)
    if isinstance(slot, dict):
        return len(range(*_bounds(slot["range"]))) if "range" in slot else int(slot.get("distinct", 1))
    return 1


def _bounds(limits: Sequence[int]) -> tuple[int, int, int]:
    low, high, step = (*limits, 1) if len(limits) == 2 else limits
    return low, high + 1, step


def _draw(slot: Any, rng: Random, names: Mapping[str, Any]) -> Any:
    if isinstance(slot, list):
        return evaluate(rng.choice(slot), names)
    if not isinstance(slot, dict):
        return evaluate(slot, names)
    if "range" in slot:
        return rng.randrange(*_bounds(slot["range"]))
    options = list(evaluate(slot["pick"], names))
    count = slot.get("count", 1)
    if len(options) < count:
        raise ConfigError(f"{slot['pick']!r} gives {len(options)} to pick {count} from")
    return rng.sample(options, count) if "count" in slot else rng.choice(options)


def load_workflows(folder: Path) -> tuple[list[Workflow], str]:
    """Gives the workflows of every YAML file of a folder, in order, and a digest of the files (8 hex digits).

    Raises:
        DataError: a file is no YAML; names the line.
        ConfigError: a key is unknown, missing or out of range; names file, workflow and step.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise ConfigError(f"{folder}: holds no workflow templates (*.yaml)")
    whole, workflows = blake2b(digest_size=4), []
    for path in paths:
        document, digest = read_yaml(path)
        whole.update(digest.encode())
        workflows += _read(document, str(path))
    names = [workflow.front.name for workflow in workflows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"{folder}: the workflow {twice!r} is there twice")
    return workflows, whole.hexdigest()


def _read(document: Json, where: str) -> list[Workflow]:
    _refuse_unknown(document, (*_SHARED, "workflows"), where)
    entries = document.get("workflows")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where}: needs a list under `workflows:`")
    shared = {key: value for key, value in document.items() if key != "workflows"}
    return [_workflow({**shared, **entry} if isinstance(entry, dict) else {}, where) for entry in entries]


def _workflow(entry: Json, where: str) -> Workflow:
    front = read_front(entry, where)
    where = f"{where}: {front.name}"
    _refuse_unknown(entry, (*_SHARED, *_OWN), where)
    if entry.get("level") not in LEVELS:
        raise ConfigError(f"{where}: level must be 1 to 5")
    for name in front.tools:
        service_named(name)
    for name, slot in front.slots.items():
        _check_slot(slot, f"{where}: slots.{name}")
    scripts = {key: _steps(entry.get(key) or [], f"{where}: {key}") for key in ("given", "script", "refuse")}
    for key in ("script", "refuse"):
        steps = scripts[key]
        if (key == "script" or steps) and (len(steps) < 2 or "user" not in steps[0]):
            raise ConfigError(f"{where}: {key} must begin with a user step and go on")
    if bool(front.safety.refuse_rate) != bool(scripts["refuse"]):
        raise ConfigError(f"{where}: safety.refuse_rate and a script `refuse` belong together")
    return Workflow(front=front, level=entry["level"], where=where, **scripts)


def _check_slot(slot: Any, where: str) -> None:
    if isinstance(slot, dict):
        _refuse_unknown(slot, _SLOT_KEYS, where)
        if ("range" in slot) == ("pick" in slot):
            raise ConfigError(f"{where}: needs either range or pick")
        limits = slot.get("range", [0, 0])
        if not (isinstance(limits, list) and len(limits) in (2, 3) and all(isinstance(n, int) for n in limits)):
            raise ConfigError(f"{where}: range must be [low, high] or [low, high, step]")
    _check_syntax(slot, where)


def _steps(steps: Any, where: str) -> tuple[Json, ...]:
    if not isinstance(steps, list):
        raise ConfigError(f"{where}: must be a list of steps")
    for number, step in enumerate(steps):
        _check_step(step, f"{where}[{number}]")
    return tuple(steps)


def _check_step(step: Any, where: str) -> None:
    kind = next((key for key in _STEPS if isinstance(step, dict) and key in step), None)
    if kind is None:
        raise ConfigError(f"{where}: is no step", hint=f"a step has one of: {', '.join(_STEPS)}")
    _refuse_unknown(step, _STEPS[kind], where)
    if kind in ("user", "say") and not (isinstance(step[kind], list) and step[kind]):
        raise ConfigError(f"{where}: {kind} must be a list of phrasings")
    if kind == "call":
        _check_call(step, where)
    elif kind == "together":
        for number, call in enumerate(step["together"]):
            _check_call(call, f"{where}: together[{number}]")
    elif kind == "say":
        _check_say(step, where)
    elif kind == "if":
        for branch in ("then", "else"):
            _steps(step.get(branch, []), f"{where}: {branch}")
    elif kind == "fault" and step.get("code") not in FAULTS:
        raise ConfigError(
            f"{where}: unknown fault {step.get('code')!r}", hint=did_you_mean(str(step.get("code")), FAULTS)
        )
    _check_syntax([step.get(key) for key in ("user", "say", "with", "let", "if", "to", "set")], where)


def _check_call(step: Any, where: str) -> None:
    name = step.get("call") if isinstance(step, dict) else None
    if not isinstance(name, str) or known_tool(name) is None:
        raise ConfigError(f"{where}: there is no tool {name!r}")
    _refuse_unknown(step, _STEPS["call"], where)
    for code, steps in (step.get("on") or {}).items():
        if steps != "retry":
            _steps(steps, f"{where}: on.{code}")


def _check_say(step: Json, where: str) -> None:
    if step.get("kind", "answer") not in KINDS:
        raise ConfigError(f"{where}: kind must be one of {', '.join(KINDS)}")
    for name, fact in (step.get("facts") or {}).items():
        about = fact_spec(fact)
        if about["op"] not in OPS or about["form"] not in FORMS:
            raise ConfigError(f"{where}: facts.{name}: unknown op or form in {fact!r}")


def fact_spec(fact: Any) -> Json:
    """Gives a template's fact in full: `"moved#/event/start time"` -> {op: value, of: [...], form: time}."""
    if isinstance(fact, str):
        source, _, form = fact.partition(" ")
        return {"op": "value", "of": [source], "form": form or "text"}
    if "said" in fact:
        return {"op": "said", "of": [], "form": "text", "text": fact["said"]}
    of = fact.get("of", [])
    return {"op": "value", "form": "text", **fact, "of": of if isinstance(of, list) else [of]}


def _check_syntax(raw: Any, where: str) -> None:
    try:
        check_syntax(raw)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error


def _refuse_unknown(entries: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in entries:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(str(key), known))
