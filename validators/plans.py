"""The forms a plan comes in, and the order its steps run in.

A plan is one script, a list of commands, or a JSON DAG of steps `{id, command, needs}`; a candidate of a teacher is
`{intent, plan, domain}`. All become plan_v1 records here, whose `output` is a list of steps. Judging them is
execution_gate.py; what a plan's text gives away is plan_lint.py.
"""

from __future__ import annotations

import re
from typing import Any

from frontier_core.errors import FrontierError
from frontier_core.jsonl import loads
from frontier_core.records import Record, metadata_of
from validators.base import Finding

Json = dict[str, Any]

DEFAULT_SKILL = "shell"
PLAN_MARKER = "EXECUTING_PLAN: "
"""What stands before a plan in an assistant's text."""
_INTENTS = ("instruction", "intent")
_PLANS = ("output", "plan")
_STEP_KEYS = ("command", "id", "needs")
_OWN_KEYS = ("instruction", "output", "fixture", "expect", "metadata")


class BadPlan(FrontierError):
    """A plan whose steps can't be put in order; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def is_plan(record: Record) -> bool:
    """Says whether a record is a plan_v1 record or a raw candidate that `as_plan` makes one of."""
    return any(key in record for key in _INTENTS) and any(key in record for key in _PLANS)


def as_plan(record: Record) -> Record:
    """Gives the plan_v1 form of a plan or a raw candidate `{intent, plan, domain}`; a plan_v1 record as it is.

    `plan` (or `output`) may be a script, a list of commands, or a list of steps `{command, id?, needs?}`; in steps
    `depends_on` is taken for `needs`, one need for a list of one, and numbers as ids for their text. Keys that plan_v1
    has no place for move to the metadata, where any key is kept: those of the record under their names, those of its
    steps as `steps`, one object a step; a name that is taken gets a number (`model_2`). A missing `metadata.skill`
    becomes `shell_DOMAIN`, or `shell` without a domain. What is no plan at all is given back untouched, for the schema
    gate to refuse. The record itself is not changed.
    """
    if not is_plan(record):
        return record
    intent = next(key for key in _INTENTS if key in record)
    plan = next(key for key in _PLANS if key in record)
    rest = {key: value for key, value in record.items() if key not in {*_OWN_KEYS, intent, plan}}
    metadata, steps = record.get("metadata", {}), _steps(record[plan])
    made: Record = {"instruction": record[intent], "output": steps}
    made |= {key: record[key] for key in ("fixture", "expect") if key in record}
    if not isinstance(metadata, dict):
        # Nothing can move there; what is left in its place is for the schema gate to refuse.
        made |= {**rest, "metadata": metadata}
        return record if made == record else made
    made["output"], notes = _without_notes(steps)
    made["metadata"] = _added(_added(metadata, rest), {"steps": notes} if any(notes) else {})
    made["metadata"].setdefault("skill", skill_of(made["metadata"].get("domain")))
    return record if made == record else made


def missing_half(record: Record) -> Finding | None:
    """Gives what a candidate lacks that has a plan and no intent, or the other way round; None for any other record."""
    has_intent, has_plan = (any(key in record for key in keys) for keys in (_INTENTS, _PLANS))
    if not has_intent and ("plan" in record or ("output" in record and "domain" in record)):
        message, remedy = "a plan needs `intent`: what it is to achieve", "add `intent` (or `instruction`) in words"
    elif "intent" in record and not has_plan:
        message, remedy = "an intent needs `plan`: the commands that achieve it", "add `plan` (or `output`)"
    else:
        return None
    return Finding(code="missing_key", message=message, remedy=remedy)


def pointer_as_written(record: Record, pointer: str) -> str:
    """Gives a pointer into `as_plan(record)` as one into the record itself, by the keys its author wrote."""
    if not is_plan(record) or not pointer:
        return pointer
    first, *rest = pointer.split("/")[1:]
    names = {"instruction": _INTENTS, "output": _PLANS}.get(first, (first,))
    key = next((name for name in names if name in record), first)
    value = record.get(key)
    if first == "output" and isinstance(value, str):
        rest = []
    elif first == "output" and isinstance(value, list) and rest and rest[0].isdigit() and int(rest[0]) < len(value):
        step = value[int(rest[0])]
        if isinstance(step, str):
            rest = rest[:1]
        elif isinstance(step, dict) and rest[1:2] == ["needs"]:
            name = "needs" if "needs" in step else "depends_on"
            rest = [rest[0], name, *(rest[2:] if isinstance(step.get(name), list) else ())]
    return "/".join(["", key, *rest])


def _without_notes(steps: object) -> tuple[object, list[Json]]:
    """Takes from steps the keys that plan_v1 has no place for; gives both, one object of those keys a step."""
    if not isinstance(steps, list):
        return steps, []
    kept = [
        {key: value for key, value in step.items() if key in _STEP_KEYS} if isinstance(step, dict) else step
        for step in steps
    ]
    notes = [
        {key: value for key, value in step.items() if key not in _STEP_KEYS} if isinstance(step, dict) else {}
        for step in steps
    ]
    return kept, notes


def _added(metadata: Json, more: Json) -> Json:
    """Gives the metadata with more keys, under the next free name where one stands there with another value."""
    made = dict(metadata)
    for key, value in more.items():
        name, number = key, 1
        while name in made and made[name] != value:
            number += 1
            name = f"{key}_{number}"
        made[name] = value
    return made


def skill_of(domain: object) -> str:
    """Gives the skill of a plan of that domain: `File System` -> `shell_file_system`; `shell` without one."""
    name = domain_slug(domain)
    return f"{DEFAULT_SKILL}_{name}" if name else DEFAULT_SKILL


def domain_slug(domain: object) -> str:
    """Gives a domain's name as domains.yaml writes them: `File System` -> `file_system`; "" for no text."""
    return re.sub(r"[^a-z0-9]+", "_", domain.lower()).strip("_") if isinstance(domain, str) else ""


def _steps(plan: object) -> object:
    if isinstance(plan, str):
        return [{"command": plan}]
    return [_step(step) for step in plan] if isinstance(plan, list) else plan


def _step(step: object) -> object:
    if isinstance(step, str):
        return {"command": step}
    if not isinstance(step, dict):
        return step
    made = dict(step)
    if "depends_on" in made and "needs" not in made:
        made["needs"] = made.pop("depends_on")
    if _is_number(made.get("id")):
        made["id"] = str(made["id"])
    if isinstance(made.get("needs"), str) or _is_number(made.get("needs")):
        made["needs"] = [made["needs"]]
    if isinstance(made.get("needs"), list):
        made["needs"] = [str(name) if _is_number(name) else name for name in made["needs"]]
    return made


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def plan_steps(record: Record) -> list[tuple[int, str]]:
    """Gives a plan's steps as (position in `output`, command) in the order they run.

    Without `needs` that is the order written; with them a topological order, ties in the order written.

    Raises:
        BadPlan: a step has no command, an id stands twice, is unknown, or the steps wait for each other.
    """
    output = record.get("output")
    steps = output if isinstance(output, list) else []
    by_id: dict[str, int] = {}
    for number, step in enumerate(steps):
        if not isinstance(step, dict) or not isinstance(step.get("command"), str):
            raise _bad("no_command", "the step has no command", f"/output/{number}")
        name = step.get("id")
        if name is not None and name in by_id:
            raise _bad("duplicate_step", f"the id {name!r} stands twice", f"/output/{number}/id")
        if name is not None:
            by_id[name] = number
    needs = [_needs_of(step, number, by_id) for number, step in enumerate(steps)]
    order: list[int] = []
    done: set[int] = set()
    while len(order) < len(steps):
        ready = next((n for n in range(len(steps)) if n not in done and needs[n] <= done), None)
        if ready is None:
            waiting = [str(steps[n].get("id", n)) for n in range(len(steps)) if n not in done]
            raise _bad("plan_cycle", f"steps wait for each other: {', '.join(waiting)}", "/output")
        order.append(ready)
        done.add(ready)
    return [(number, steps[number]["command"]) for number in order]


def plan_commands(record: Record) -> list[str]:
    """Gives the commands of a plan in the order they run; raises BadPlan as `plan_steps` does."""
    return [command for _, command in plan_steps(record)]


def plan_in(answer: str) -> list[str] | None:
    """Gives the commands of the plan in an assistant's bare text, None when it holds no well-formed plan."""
    _, found, rest = answer.partition(PLAN_MARKER.strip())
    if not found:
        return None
    try:
        steps = loads(rest.strip())
    except ValueError:
        return None
    if not isinstance(steps, list) or not steps:
        return None
    commands = [step.get("command") if isinstance(step, dict) else None for step in steps]
    return [str(command) for command in commands] if all(isinstance(c, str) and c for c in commands) else None


def tool_set(record: Record) -> list[str]:
    """Gives the commands a record says its plan needs."""
    tools = metadata_of(record).get("tool_set")
    return [name for name in tools if isinstance(name, str)] if isinstance(tools, list) else []


def _needs_of(step: Json, number: int, by_id: dict[str, int]) -> set[int]:
    needs: set[int] = set()
    for position, name in enumerate(step.get("needs") or []):
        if name not in by_id:
            raise _bad("unknown_step", f"needs {name!r}, which is no step", f"/output/{number}/needs/{position}")
        needs.add(by_id[name])
    return needs


def _bad(code: str, message: str, pointer: str) -> BadPlan:
    return BadPlan(Finding(code=code, message=message, pointer=pointer))
