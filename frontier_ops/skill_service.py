"""One skill as an HTTP service, so that curriculum data and verdicts can come from another host, and its client.

    GET /health    GET /info    GET /levels
    POST /generate {"level": 1, "count": 100, "seed": 7, "split": "train"}    -> JSON Lines, the bytes of `synth gen`
    POST /eval     {"record": {...}, "answer": "..."}                         -> {"correct", "code", "message"}

Records are a pure function of the request, so a client may repeat one. Wrong requests get 400 with the reason and a
hint, an answer that can't be judged here (no sandbox) 503.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from frontier_core.domains import Domain
from frontier_core.errors import (
    ConfigError,
    DataError,
    EnvironmentMissing,
    FrontierError,
    ServiceDecodeError,
    UsageError,
)
from frontier_core.jsonl import dumps, loads
from frontier_core.nearest import did_you_mean
from frontier_core.records import Record
from frontier_ops.services import ServiceClient
from generators import synth
from generators.table import GENERATORS
from validators.answers import judge_answer
from validators.sandbox.contract import Sandbox

MAX_COUNT = 10_000
MAX_BODY_BYTES = 8 << 20
_GENERATE = {"level": int, "count": int, "seed": int, "split": str}


class SkillService:
    """The application of one skill.

    Args:
        skill: its name.
        sandbox: gives the sandbox that plans are judged in; called when the first plan comes.
    Raises:
        ConfigError: no such skill; names the nearest.
    """

    def __init__(self, skill: str, sandbox: Callable[[], Sandbox]) -> None:
        self.generator = GENERATORS.get(skill)
        self.skill = skill
        self._open_sandbox = sandbox
        self._sandbox: Sandbox | None = None

    def app(self) -> Starlette:
        """Gives the ASGI application."""
        routes = [
            Route("/health", self.health),
            Route("/info", self.info),
            Route("/levels", self.levels),
            Route("/generate", self.generate, methods=["POST"]),
            Route("/eval", self.evaluate, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={FrontierError: _refuse})

    def close(self) -> None:
        """Closes the sandbox, if one was opened."""
        if self._sandbox is not None:
            self._sandbox.close()

    async def health(self, _: HttpRequest) -> Response:
        """Says that the service lives."""
        return _json({"status": "ok", "skill": self.skill})

    async def info(self, _: HttpRequest) -> Response:
        """Says what makes this skill's records."""
        made = self.generator
        return _json(
            {
                "skill": self.skill,
                "generator_id": made.generator_id,
                "generator_version": made.generator_version,
                "levels": list(made.levels),
                "max_count": MAX_COUNT,
            }
        )

    async def levels(self, _: HttpRequest) -> Response:
        """Lists the levels with a lower bound of how many distinct problems each has."""
        found = [{"level": level, "capacity": self.generator.capacity(level)} for level in self.generator.levels]
        return _json({"skill": self.skill, "levels": found})

    async def generate(self, request: HttpRequest) -> Response:
        """Answers POST /generate with JSON Lines."""
        asked = await _body(request)
        for key in asked:
            if key not in _GENERATE:
                raise UsageError(f"unknown key {key!r}", hint=did_you_mean(key, _GENERATE))
        for key, kind in _GENERATE.items():
            if key in asked and (not isinstance(asked[key], kind) or isinstance(asked[key], bool)):
                raise UsageError(f"{key} must be of type {kind.__name__}")
        level, count = asked.get("level", self.generator.levels[0]), asked.get("count", 1)
        if level not in self.generator.levels:
            raise UsageError(f"{self.skill} has no level {level}", hint=f"its levels: {list(self.generator.levels)}")
        if not 1 <= count <= MAX_COUNT:
            raise UsageError(f"count is {count}; it must be 1 to {MAX_COUNT}", hint="ask in parts, by seed")
        if asked.get("split", "train") not in ("train", "eval"):
            raise UsageError(f"unknown split {asked['split']!r}", hint="train or eval")
        domain = Domain(name=self.skill, skill=self.skill, levels=self.generator.levels)
        plan = synth.Plan(
            requests=[synth.Request(domain=domain, level=level, count=count)],
            seed=asked.get("seed", 0),
            split=asked.get("split", "train"),
        )
        lines = await run_in_threadpool(lambda: b"".join(line.data + b"\n" for line in synth.generate_lines(plan)))
        return Response(lines, media_type="application/x-ndjson")

    async def evaluate(self, request: HttpRequest) -> Response:
        """Answers POST /eval with a verdict."""
        asked = await _body(request)
        record, answer = asked.get("record"), asked.get("answer")
        if not isinstance(record, dict) or not isinstance(answer, str):
            raise UsageError("needs a record and an answer", hint='{"record": {...}, "answer": "..."}')
        metadata = record.get("metadata")
        if not isinstance(metadata, dict) or metadata.get("skill") != self.skill:
            raise UsageError(f"the record is not of the skill {self.skill}", hint="see /info")
        verdict = await run_in_threadpool(self._judge, record, answer)
        return _json({"correct": verdict.ok, "code": verdict.code, "message": verdict.message})

    def _judge(self, record: Record, answer: str) -> Any:
        if "output" in record and self._sandbox is None:
            self._sandbox = self._open_sandbox()
        try:
            return judge_answer(record, answer, self._sandbox)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UsageError(f"the record can't be judged: {error}", hint="send it as it was generated") from error


class SkillClient:
    """Calls a skill service.

    Args:
        client: how it is reached; see services.ServiceClient.
    """

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def info(self) -> Record:
        """Gives what makes the service's records."""
        found: Record = self._client.get_json("/info")
        return found

    def records(self, *, level: int, count: int, seed: int, split: str = "train") -> list[Record]:
        """Gives records; the same request gives the same ones, so it is repeated after a failure.

        Args:
            level: 0 is the skill's first.
            count: how many, at most MAX_COUNT.
            seed: of the run.
            split: "train" or "eval".
        Raises:
            ServiceHttpError: the service refuses: no such level, too many.
            ServiceDecodeError: the answer is no JSON Lines.
        """
        asked = {"count": count, "seed": seed, "split": split} | ({"level": level} if level else {})
        answer = self._client.request("POST", "/generate", json=asked, idempotency_key=dumps(asked).hex()[:64])
        try:
            return [loads(line) for line in answer.content.splitlines()]
        except ValueError as error:
            raise ServiceDecodeError(f"{self._client.service.name}: /generate: not JSON Lines: {error}") from error

    def evaluate(self, record: Record, answer: str) -> Record:
        """Gives the verdict on an answer."""
        asked = {"record": record, "answer": answer}
        found: Record = self._client.post_json("/eval", json=asked, idempotency_key=dumps(asked).hex()[:64])
        return found


async def _body(request: HttpRequest) -> Record:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise UsageError(f"the body is larger than {MAX_BODY_BYTES >> 20} MiB")
        parts.append(part)
    try:
        body = loads(b"".join(parts) or b"{}")
    except ValueError as error:
        raise UsageError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError("the body is not a JSON object")
    return body


def _json(content: Any, status: int = 200) -> Response:
    return Response(dumps(content), status_code=status, media_type="application/json")


def _refuse(_: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, FrontierError)
    status = 503 if isinstance(error, EnvironmentMissing) else 400
    if not isinstance(error, (UsageError, ConfigError, DataError, EnvironmentMissing)):
        status = 500
    return _json({"error": {"message": error.message, "hint": error.hint}}, status)
