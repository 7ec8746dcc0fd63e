"""Turns what a teacher wrote into a record, or says why not, in words that can be sent back.

In this order: was it cut off or refused, does it hold the JSON asked for, does it keep the schema, the forbidden
patterns and the refusal that was due, is the record of its spec, is the plan in order, does the skill's verifier agree.
Running plans is `synth verify`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from frontier_core.errors import ConfigError, DataError
from frontier_core.lineage import mark
from frontier_core.profiles import ProfileName, dress, undress, violation
from frontier_core.records import Message, Record
from frontier_core.schemas import load_schema
from generators.teachers.forbidden import Forbidden, PatternTimeout
from generators.teachers.json_text import find_json
from generators.teachers.tasks import Task
from generators.teachers.wire import Reply
from generators.templates import PromptTemplate
from validators.base import Finding
from validators.schema_gate import SchemaGate
from validators.skills.table import VERIFIERS

FINAL = frozenset({"teacher_refused", "wrong_answer", "slot", "bad_task", "forbid_timeout"})
"""Findings that asking again can't mend, or must not: a hint from the verifier would give the answer away."""

TRACE_SKILL = "tool_use"
GRAPH_SKILL = "graph_qa"
GRAPH_KEYS = ("nodes", "edges", "query")
"""What the verdict on an answer about a graph rests on, besides the prompt; `relations` says how it reads."""


class Origin(NamedTuple):
    """Where an answer came from, for the record's metadata."""

    model: str
    sampling: dict[str, Any]
    key: str
    num_asked: int


class Refused(Exception):
    """An answer makes no record; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class Judge:
    """Makes records of the answers to one template.

    Args:
        template: what was asked.
        profile: how assistant turns look in the record.
    Raises:
        ConfigError: the template's schema is none.
    """

    def __init__(self, template: PromptTemplate, profile: ProfileName) -> None:
        self._template = template
        self._profile: ProfileName = profile
        self._gate = SchemaGate(template.spec)
        self._graph_gate = SchemaGate("graph_v1")
        self._forbidden = Forbidden(template.front.safety.forbid)
        self._validator: Any = None
        self._metadata_gate = _validator_for(load_schema("metadata_v1"))
        self._stage = f"teach:{template.front.name}@{template.digest[:12]}"
        if template.schema is not None:
            try:
                self._validator = _validator_for(template.schema)
            except ValueError as error:
                message = str(error).splitlines()[0]
                raise ConfigError(f"template {template.front.name}: its schema is invalid: {message}") from error

    def problem(self, task: Task) -> Finding | None:
        """Gives what makes every answer to a task useless, None when nothing does: said before anyone is asked."""
        skill = task.metadata["skill"]
        if not self._metadata_gate.is_valid(task.metadata):
            first = next(iter(self._metadata_gate.iter_errors(task.metadata)))
            pointer = "".join(f"/{part}" for part in ("metadata", *first.instance_path))
            return Finding(code="bad_task", message=first.message[:300], pointer=pointer, remedy="mend the task")
        if self._template.verify and skill not in VERIFIERS.names():
            remedy = "the template wants answers verified; verify: no leaves that out"
            return Finding(code="no_verifier", message=f"no verifier for the skill {skill!r}", remedy=remedy)
        return self._unanswerable(task) if self._template.verify else None

    @staticmethod
    def _unanswerable(task: Task) -> Finding | None:
        """What one answer can't serve, or what can't be judged by its prompt alone."""
        if task.metadata["skill"] == TRACE_SKILL:
            message = f"a task of {TRACE_SKILL} is a whole trace, and a teacher is asked for one answer"
            return Finding(code="bad_task", message=message, remedy="frontier synth gen makes traces")
        missing = [name for name in GRAPH_KEYS if name not in task.source]
        if task.metadata["skill"] == GRAPH_SKILL and missing:
            message = f"a task of {GRAPH_SKILL} needs {', '.join(missing)} to be judged by"
            return Finding(code="bad_task", message=message, remedy="give records of frontier synth gen as tasks")
        return None

    def record(self, task: Task, reply: Reply, origin: Origin) -> Record:
        """Gives the record of an answer. Raises Refused with the first thing that is wrong."""
        try:
            return self._record(task, reply, origin)
        except (RecursionError, ValueError) as error:  # the schema engine's word for the same
            raise _refused("nesting", f"the answer is nested too deep: {error}") from error

    def _record(self, task: Task, reply: Reply, origin: Origin) -> Record:
        if reply.finish == "length":
            raise _refused("cut_off", "the answer was cut off at the token limit", remedy="answer more briefly")
        if reply.finish == "refusal":
            raise _refused("teacher_refused", f"the teacher refused: {reply.text[:200]}")
        answer, mended = self._answer(reply.text)
        self._check_safety(task, answer)
        metadata = self._metadata(task, reply, origin, mended)
        try:
            record = self._plan(task, answer) if self._template.spec == "plan_v1" else self._chat(task, answer)
        except DataError as error:
            raise _refused(error.code, error.problem, remedy=error.hint) from error
        record["metadata"] = metadata
        self._check(record, task)
        return mark(record, f"{self._stage}/{origin.model}")

    def _answer(self, text: str) -> tuple[Any, bool]:
        if self._validator is None:
            bare = undress(text).strip()
            if not bare:
                raise _refused("empty_answer", "the answer is empty")
            return bare, False
        try:
            answer, mended = find_json(text)
        except ValueError as error:
            raise _refused("no_json", str(error), remedy="answer with one JSON object and nothing else") from error
        if not self._validator.is_valid(answer):
            first = next(iter(self._validator.iter_errors(answer)))
            pointer = "".join(f"/{part}" for part in first.instance_path)
            raise _refused("bad_answer", f"{pointer or 'the answer'}: {first.message[:300]}", pointer=pointer)
        return answer, mended

    def _check_safety(self, task: Task, answer: Any) -> None:
        safety = self._template.front.safety
        try:
            found = self._forbidden.find(_texts(answer))
        except PatternTimeout as error:
            raise _refused(
                "forbid_timeout", str(error), remedy="write the template's pattern so that it ends"
            ) from error
        if found is not None:
            message = f"the answer holds what is forbidden: {found!r}"
            raise _refused("forbidden", message, remedy="do it in another way")
        if safety.refuse_rate and answer["refused"] != task.must_refuse:
            wanted = "refused" if task.must_refuse else "answered, not refused"
            raise _refused("wrong_refusal", f"the request must be {wanted}", pointer="/refused")

    def _plan(self, task: Task, answer: Any) -> Record:
        """A task's own intent, fixture and expectation stay as they are: they can judge the plan."""
        given = task.source
        record: Record = {
            "instruction": given.get("instruction") or answer.get("instruction") or "",
            "output": [{name: step[name] for name in ("command", "id", "needs") if name in step and step[name] != []}
                       for step in answer["steps"]],
        }  # fmt: skip
        if "expect" in given or "fixture" in given:
            return record | {name: given[name] for name in ("fixture", "expect") if name in given}
        if answer.get("files"):
            record["fixture"] = {"files": {file["path"]: {"text": file["text"]} for file in answer["files"]}}
        record["expect"] = {"allow_other_changes": True}
        if answer.get("checks"):
            record["expect"]["checks"] = answer["checks"]
        return record

    def _chat(self, task: Task, answer: Any) -> Record:
        turns: list[Message] = self._template.record_turns({**task.values, "answer": answer})
        for turn in turns:
            if turn["role"] == "assistant":
                turn["content"] = dress(turn["content"], self._profile)
        if not self._template.verify or task.metadata["skill"] != GRAPH_SKILL:
            return {"messages": turns}
        own = {name: value for name, value in task.source.items() if name in (*GRAPH_KEYS, "relations")}
        return own | {"messages": turns}

    def _check(self, record: Record, task: Task) -> None:
        _, findings = (self._graph_gate if "nodes" in record else self._gate).check(record)
        if findings:
            first = findings[0]
            part = first.pointer[1:].split("/")[0]
            of_task = part in (*GRAPH_KEYS, "relations", "fixture", "expect") and part in task.source
            raise _refused("bad_task", first.message, pointer=first.pointer) if of_task else Refused(first)
        if self._template.spec == "plan_v1":
            _check_plan(record)
            return
        for place, turn in enumerate(record["messages"]):
            broken = violation(turn["content"], self._profile) if turn["role"] == "assistant" else None
            if broken:
                raise _refused(broken[0], broken[1], pointer=f"/messages/{place}/content")
        if self._template.verify:
            verdict = VERIFIERS.get(record["metadata"]["skill"])(record, undress(record["messages"][-1]["content"]))
            if not verdict.ok:
                raise _refused("wrong_answer", f"{verdict.message} [{verdict.code}]")

    def _metadata(self, task: Task, reply: Reply, origin: Origin, mended: bool) -> Record:
        front = self._template.front
        metadata = task.metadata | {"source": "teacher"}
        if front.review:
            metadata["review"] = "yes"
        metadata["generator_id"] = f"teach_{front.name}"
        metadata["generator_version"] = self._template.digest[:12]
        metadata["teacher"] = {
            "template": front.name,
            "template_digest": self._template.digest,
            "model": reply.model or origin.model,
            "sampling": origin.sampling,
            "response_id": reply.response_id,
            "usage": {"tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out},
            "key": origin.key,
            "num_asked": origin.num_asked,
            **({"is_mended": True} if mended else {}),
        }
        return metadata


def complaint(finding: Finding) -> str:
    """Gives the turn that asks a teacher to do better."""
    where = f"{finding.pointer}: " if finding.pointer and finding.pointer not in finding.message else ""
    remedy = f" ({finding.remedy})" if finding.remedy else ""
    return (
        f"Your answer can't be used: {where}{finding.message}{remedy}. "
        "Answer again, complete, in the form asked for, and with nothing else."
    )


def _check_plan(record: Record) -> None:
    from validators.execution_gate import BadPlan, plan_commands
    from validators.plan_lint import lint

    try:
        commands = plan_commands(record)
    except BadPlan as error:
        raise Refused(error.finding) from error
    if errors := [finding for finding in lint(commands) if finding.severity == "error"]:
        raise Refused(errors[0])


def _validator_for(schema: dict[str, Any]) -> Any:
    import jsonschema_rs

    return jsonschema_rs.validator_for(schema)


def _refused(code: str, message: str, *, pointer: str = "", remedy: str = "") -> Refused:
    return Refused(Finding(code=code, message=message, pointer=pointer, remedy=remedy))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
