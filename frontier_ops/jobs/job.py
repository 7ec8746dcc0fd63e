"""A job: what is to be run, where it stands, and how one event of its history changes it. Pure values.

    queued -> processing -> (paused <-> processing) -> stopped | completed | failed | skipped

`advance` is the only way a job changes, live and when the store is rebuilt from the history, so the two can't differ.
A job whose worker died goes back to `queued`; its attempt number is the fencing token: an event of an older attempt
is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

import orjson

from frontier_core.errors import ConfigError, DataError
from frontier_core.nearest import did_you_mean
from frontier_ops.jobs.kinds import JobType, job_type_named

PRIORITIES = ("high", "normal", "low")
"""In the order in which jobs are taken; within one, first submitted is first taken."""


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    PROCESSING = "processing"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Says whether nothing more will happen unless somebody retries the job."""
        return self in (State.STOPPED, State.COMPLETED, State.FAILED, State.SKIPPED)

    @property
    def is_held(self) -> bool:
        """Says whether a worker has the job."""
        return self in (State.PROCESSING, State.PAUSED)


def state_named(name: str) -> State:
    """Gives the state of that name, or raises ConfigError with the nearest known one."""
    try:
        return State(name)
    except ValueError:
        raise ConfigError(f"unknown state {name!r}", hint=did_you_mean(name, list(State))) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What is to be run.

    `inputs` and `outputs` are paths (relative ones from `cwd`): with outputs, a job whose like has been completed
    and whose inputs and outputs still have those bytes is skipped. `payload` is whatever the job's type needs to know;
    eval and sparring jobs name their model there. `retries` counts runs after a first one that failed.

    Raises:
        ConfigError: no argv, an unknown type or priority, or an eval job that does not name its model.
    """

    type: JobType
    argv: tuple[str, ...]
    cwd: str = "."
    env: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    payload: dict[str, Any] = field(default_factory=dict)
    priority: str = "normal"
    retries: int = 0

    def __post_init__(self) -> None:
        if not self.argv or not all(isinstance(word, str) and "\0" not in word for word in self.argv):
            raise ConfigError("a job needs an argv of strings", hint="frontier jobs submit --type eval -- COMMAND ...")
        if self.priority not in PRIORITIES:
            raise ConfigError(f"unknown priority {self.priority!r}", hint=did_you_mean(self.priority, PRIORITIES))
        if self.retries < 0:
            raise ConfigError(f"retries is {self.retries}; it must be 0 or more")
        if self.type.is_model_anchored and not self.payload.get("checkpoint_id"):
            raise ConfigError(
                f"jobs of type {self.type} must name their model: payload.checkpoint_id is missing",
                hint="such a job never asks which model is current; --model CHECKPOINT names it",
            )

    @property
    def role(self) -> str:
        """The role a worker must have."""
        return self.type.school.worker_role

    @property
    def command(self) -> str:
        """The command in one line for people; our own, however it is called, reads `frontier ...`."""
        is_ours = self.argv[1:3] == ("-m", "frontier_cli.main")
        return " ".join(("frontier", *self.argv[3:]) if is_ours else self.argv)

    def fingerprint(self) -> str:
        """Gives a digest of what is run, "" without outputs: jobs alike in it make the same of the same inputs."""
        if not self.outputs:
            return ""
        what = (self.type, self.argv, self.cwd, sorted(self.env.items()), self.inputs, self.outputs, self.payload)
        return sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]

    def to_mapping(self) -> dict[str, Any]:
        """Gives the spec as a JSON object; empty values are left out."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in values.items() if value}

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> JobSpec:
        """Reads a spec; raises ConfigError on an unknown key, naming the nearest known one, or on a wrong type."""
        known = JobSpec.__dataclass_fields__
        for key in values:
            if key not in known:
                raise ConfigError(f"unknown key of a job: {key!r}", hint=did_you_mean(key, known))
        if "type" not in values:
            raise ConfigError("a job needs a type", hint=", ".join(JobType))
        for name in ("argv", "inputs", "outputs"):
            if not isinstance(values.get(name, []), (list, tuple)):
                raise ConfigError(f"{name} must be a list of strings")
        for name in ("env", "payload"):
            if not isinstance(values.get(name, {}), dict):
                raise ConfigError(f"{name} must be an object")
        return JobSpec(
            type=job_type_named(str(values["type"])),
            argv=tuple(values.get("argv", ())),
            cwd=str(values.get("cwd", ".")),
            env={str(key): str(value) for key, value in values.get("env", {}).items()},
            inputs=tuple(map(str, values.get("inputs", ()))),
            outputs=tuple(map(str, values.get("outputs", ()))),
            payload=dict(values.get("payload", {})),
            priority=str(values.get("priority", "normal")),
            retries=int(values.get("retries", 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as its history tells it.

    `number` counts submissions from 1. `attempt` is how often a worker has taken it, `deaths` how many of those
    attempts ended with their worker, `failures` with a failing command, `postponed` with exit code 75. `control` is
    what somebody asked for and the worker has not done yet: "pause", "resume" or "stop". `result` is the last
    line its command printed; it is taken into the history once, with the end of the job, however often workers died on
    the way. Times are ISO 8601 in UTC.
    """

    id: str
    number: int
    spec: JobSpec
    state: State = State.QUEUED
    attempt: int = 0
    deaths: int = 0
    failures: int = 0
    postponed: int = 0
    worker: str = ""
    control: str = ""
    submitted_at: str = ""
    started_at: str = ""
    ended_at: str = ""
    exit_code: int | None = None
    reason: str = ""
    result: str = ""
    input_sha256: dict[str, str] = field(default_factory=dict)
    output_sha256: dict[str, str] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        """Gives the job as a JSON object, its spec inside."""
        return self.standing() | {"spec": self.spec.to_mapping()}

    def standing(self) -> dict[str, Any]:
        """Gives all but the spec, which never changes, as a JSON object."""
        return {name: getattr(self, name) for name in _STANDING}

    @staticmethod
    def from_standing(standing: dict[str, Any], spec: JobSpec) -> Job:
        """Makes a job of what `standing` gave and its spec."""
        return Job(**(standing | {"spec": spec, "state": State(standing["state"])}))


_STANDING = tuple(name for name in Job.__dataclass_fields__ if name != "spec")

Event = dict[str, Any]
"""One line of the history: `event`, `job`, `at`, and what that kind of event has to say."""

_ALLOWED = {
    "claimed": (State.QUEUED,),
    "requested": (State.QUEUED, State.PROCESSING, State.PAUSED),
    "paused": (State.PROCESSING,),
    "resumed": (State.PAUSED, State.PROCESSING),
    "requeued": (State.PROCESSING, State.PAUSED),
    "finished": (State.PROCESSING, State.PAUSED, State.QUEUED),
    "retried": (State.STOPPED, State.FAILED, State.SKIPPED, State.COMPLETED),
}
"""Event -> the states in which it may happen."""


def advance(job: Job | None, event: Event) -> Job:
    """Gives the job after one event of its history.

    Args:
        job: the job before it; None for its submission.
        event: the event; see docs/jobs.md for their kinds.
    Raises:
        DataError: the event can't happen to this job (an unknown kind, the wrong state, an outdated attempt).
    """
    kind = event.get("event")
    if kind == "submitted":
        if job is not None:
            raise DataError(f"{job.id} is submitted twice", code="history")
        spec = JobSpec.from_mapping(event["spec"])
        return Job(id=event["job"], number=event["number"], spec=spec, submitted_at=event["at"])
    if job is None:
        raise DataError(f"{event.get('job')}: {kind} before it was submitted", code="history")
    if job.state not in _ALLOWED.get(str(kind), ()):
        raise DataError(f"{job.id}: {kind} can't happen to a job that is {job.state}", code="history")
    if kind != "claimed" and "attempt" in event and event["attempt"] != job.attempt:
        raise DataError(f"{job.id}: {kind} of attempt {event['attempt']}, but this is {job.attempt}", code="fenced")
    return _CHANGES[str(kind)](job, event)


def _claimed(job: Job, event: Event) -> Job:
    return replace(
        job, state=State.PROCESSING, attempt=event["attempt"], worker=event["worker"], started_at=event["at"],
        ended_at="", exit_code=None, reason="", result="", control="",
    )  # fmt: skip


def _finished(job: Job, event: Event) -> Job:
    failures = job.failures + (event["state"] == State.FAILED and job.state is not State.QUEUED)
    return replace(
        job, state=State(event["state"]), failures=failures, worker="", control="", ended_at=event["at"],
        exit_code=event.get("exit_code"), reason=event.get("reason", ""), result=event.get("result", ""),
        input_sha256=event.get("input_sha256", {}), output_sha256=event.get("output_sha256", {}),
    )  # fmt: skip


def _requeued(job: Job, event: Event) -> Job:
    cause = event["cause"]
    return replace(
        job, state=State.QUEUED, worker="", control="", deaths=job.deaths + (cause == "death"),
        failures=job.failures + (cause == "failure"), postponed=job.postponed + (cause == "busy"),
        exit_code=event.get("exit_code"), reason=event.get("reason", ""),
    )  # fmt: skip


def _standing(job: Job, state: State) -> Job:
    return replace(job, state=state, control="")


def _retried(job: Job) -> Job:
    return replace(
        job, state=State.QUEUED, deaths=0, failures=0, postponed=0, reason="", result="", exit_code=None, ended_at=""
    )


_CHANGES: dict[str, Callable[[Job, Event], Job]] = {
    "claimed": _claimed,
    "finished": _finished,
    "requeued": _requeued,
    "requested": lambda job, event: replace(job, control=event["control"]),
    "paused": lambda job, _: _standing(job, State.PAUSED),
    "resumed": lambda job, _: _standing(job, State.PROCESSING),
    "retried": lambda job, _: _retried(job),
}
