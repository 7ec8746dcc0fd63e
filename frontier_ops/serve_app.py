"""The HTTP front: OpenAI-compatible routes over a WorkerLink, as a starlette application.

A client that goes away frees the worker: its request is cancelled whether it waits, is being answered whole, or
streams. Covers no keys and no TLS: it is meant for loopback or behind a proxy.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import randbits, token_hex
from typing import TypeVar

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontier_core.jsonl import dumps
from frontier_core.records import Record
from frontier_ops.releases import Release
from frontier_ops.serve_api import ApiError, ChatRequest, Envelope, parse_request, usage_of
from frontier_ops.serve_link import QueueFull, WorkerDown, WorkerLink

MAX_BODY_BYTES = 8 << 20
CLIENT_GONE = 499
"""Status in the request log of a request whose client went away. Source: nginx's log convention."""

T = TypeVar("T")
Events = AsyncGenerator[Record, None]


class JsonResponse(Response):
    """A JSON answer, written by the same encoder as every file."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Gives the body."""
        return dumps(content)


class RequestLog:
    """Appends one JSON line per request: times, counts and outcome, never the text.

    A log that can't be written is said once and costs no answer.
    """

    def __init__(self, path: Path | None, on_note: Callable[[str], None]) -> None:
        self._on_note = on_note
        self._descriptor = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, entry: Record) -> None:
        """Appends one entry in a single write."""
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, dumps(entry) + b"\n")
        except OSError as error:
            self._on_note(f"the request log can't be written ({error.strerror}); going on without it")
            self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(slots=True)
class Visit:
    """What the log tells about one chat request, filled while it is answered."""

    request_id: str
    release: str
    started: float = field(default_factory=time.monotonic)
    status: int = CLIENT_GONE
    stream: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None
    first_token_s: float | None = None
    error: str | None = None

    def see(self, event: Record) -> None:
        """Takes note of an event of the worker."""
        if event["event"] == "text" and event["text"] and self.first_token_s is None:
            self.first_token_s = round(time.monotonic() - self.started, 4)
        elif event["event"] == "done":
            self.prompt_tokens, self.completion_tokens = event["prompt_tokens"], event["completion_tokens"]
            self.finish_reason = event["finish_reason"]

    def refuse(self, error: ApiError) -> None:
        """Takes note of a refusal."""
        self.status, self.error = error.status, error.code or error.message

    def entry(self) -> Record:
        """Gives the log line."""
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": self.request_id,
            "release": self.release,
            "status": self.status,
            "stream": self.stream,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "first_token_s": self.first_token_s,
            "latency_s": round(time.monotonic() - self.started, 4),
            "finish_reason": self.finish_reason,
            "error": self.error,
        }


class Front:
    """The routes, with what they need: one release, its worker, the log."""

    def __init__(self, release: Release, link: WorkerLink, log: RequestLog) -> None:
        self.release = release
        self.link = link
        self.log = log
        self.created = int(datetime.fromisoformat(release.created_at).timestamp())
        # The bare name follows whatever is deployed; the full id pins this very content.
        self.names = (release.model_id, release.name, release.id)

    def app(self) -> ASGIApp:
        """Gives the ASGI application."""
        routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
        ]
        handlers = {ApiError: _show_error, HTTPException: _show_http_error, Exception: _show_bug}
        return _Stamp(Starlette(routes=routes, exception_handlers=handlers), self.release.id)

    async def healthz(self, _: Request) -> Response:
        """Says that the front lives."""
        return JsonResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Says whether a question would be answered now."""
        is_ready = self.link.ready is not None
        body = {
            "status": "ready" if is_ready else "loading",
            "release": self.release.id,
            "model": self.release.model_id,
        }
        return JsonResponse({**body, "restarts": self.link.num_restarts}, status_code=200 if is_ready else 503)

    async def models(self, _: Request) -> Response:
        """Lists the one model there is."""
        return JsonResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """Describes the model by any of its names."""
        name = request.path_params["name"]
        if name not in self.names:
            raise ApiError(404, f"no model {name!r} here", param="model", code="model_not_found")
        return JsonResponse(self._model())

    def _model(self) -> Record:
        identity: Record = {
            "id": self.release.model_id,
            "object": "model",
            "created": self.created,
            "owned_by": "frontier",
        }
        facts = self.link.ready or {}
        about: Record = {key: facts[key] for key in ("context_tokens", "num_parameters", "device") if key in facts}
        about |= {"aliases": list(self.names[1:]), "lineage": self.release.lineage()}
        return identity | about

    async def chat(self, request: Request) -> Response:
        """Answers POST /v1/chat/completions."""
        visit = Visit(request.scope["frontier_request_id"], self.release.id)
        is_streaming = False
        try:
            asked = parse_request(await _read_body(request), self.names)
            visit.stream = asked.stream
            events = self.link.generate(_job(asked))
            envelope = Envelope(
                id=f"chatcmpl-{visit.request_id}",
                created=int(time.time()),
                model=self.release.model_id,
                fingerprint=f"frontier-{self.release.id}",
            )
            if not asked.stream:
                return await self._answer_whole(request, events, envelope, visit)
            # The first event decides between a stream and an error with its own status.
            try:
                _refuse(await _unless_gone(request, anext(events)))
            except BaseException:
                await events.aclose()
                raise
            is_streaming = True
            visit.status = 200
            return _EventStream(self._stream(events, asked, envelope, visit), media_type="text/event-stream")
        except (WorkerDown, QueueFull) as error:
            refusal = _translate(error)
            visit.refuse(refusal)
            raise refusal from error
        except ApiError as error:
            visit.refuse(error)
            raise
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        finally:
            if not is_streaming:
                self.log.write(visit.entry())

    async def _answer_whole(self, request: Request, events: Events, envelope: Envelope, visit: Visit) -> Response:
        texts: list[str] = []

        async def collect() -> Record:
            async for event in events:
                _refuse(event)
                visit.see(event)
                texts.append(event.get("text", ""))
            return event

        try:
            done = await _unless_gone(request, collect())
        finally:
            await events.aclose()
        visit.status = 200
        usage = usage_of(done["prompt_tokens"], done["completion_tokens"])
        return JsonResponse(envelope.completion("".join(texts), done["finish_reason"], usage))

    async def _stream(
        self, events: Events, asked: ChatRequest, envelope: Envelope, visit: Visit
    ) -> AsyncGenerator[bytes, None]:
        def sse(record: Record) -> bytes:
            return b"data: " + dumps(record) + b"\n\n"

        wants_usage = asked.include_usage
        is_complete = False
        try:
            yield sse(envelope.chunk({"role": "assistant", "content": ""}, include_usage=wants_usage))
            async for event in events:
                _refuse(event)
                visit.see(event)
                if event["event"] == "text":
                    yield sse(envelope.chunk({"content": event["text"]}, include_usage=wants_usage))
                    continue
                yield sse(envelope.chunk({}, event["finish_reason"], include_usage=wants_usage))
                if wants_usage:
                    yield sse(envelope.usage_chunk(usage_of(event["prompt_tokens"], event["completion_tokens"])))
            yield b"data: [DONE]\n\n"
            is_complete = True
        except (ApiError, WorkerDown, QueueFull) as error:
            # Status 200 is out already; the client learns from an error event, and from the missing [DONE].
            refusal = error if isinstance(error, ApiError) else _translate(error)
            visit.refuse(refusal)
            yield sse(refusal.body())
            is_complete = True
        finally:
            if not is_complete:
                visit.status = CLIENT_GONE
            self.log.write(visit.entry())
            await events.aclose()


class _EventStream(StreamingResponse):
    """A stream whose source is closed when the client goes, not when the garbage collector comes by."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["cache-control"] = "no-cache"
        self.headers["x-accel-buffering"] = "no"
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()


class _Stamp:
    """Puts the release and a request id on every answer, errors included."""

    def __init__(self, app: ASGIApp, release: str) -> None:
        self._app = app
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["frontier_request_id"] = token_hex(12)

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-frontier-release"] = self._release
                headers["x-request-id"] = scope["frontier_request_id"]
            await send(message)

        await self._app(scope, receive, stamped)


def _job(asked: ChatRequest) -> Record:
    return {
        "messages": asked.messages,
        "max_tokens": asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "stop": list(asked.stop),
        "seed": randbits(63) if asked.seed is None else asked.seed,
    }


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ApiError(413, f"the body is longer than {MAX_BODY_BYTES} bytes", code="body_too_large")
        parts.append(part)
    return b"".join(parts)


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Awaits `work`, but drops it and raises ClientDisconnect as soon as the client goes away."""

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(listen())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for waiting in (task, gone):
            if not waiting.done():
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    await waiting


def _refuse(event: Record) -> None:
    """Raises what a worker's error event means for the client."""
    if event["event"] == "error":
        is_ours = event["code"] == "generation_failed"
        raise ApiError(
            500 if is_ours else 400, event["message"], param=None if is_ours else "messages", code=event["code"]
        )


def _translate(error: WorkerDown | QueueFull) -> ApiError:
    if isinstance(error, WorkerDown):
        return ApiError(503, str(error), code="model_not_ready", retry_after_s=error.retry_after_s)
    return ApiError(429, "too many requests are waiting", code="queue_full", retry_after_s=1)


async def _show_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else None
    return JsonResponse(error.body(), status_code=error.status, headers=headers)


async def _show_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not allowed here"}
    ours = ApiError(error.status_code, words.get(error.status_code, error.detail), code="no_such_route")
    return JsonResponse(ours.body(), status_code=error.status_code, headers=error.headers)


async def _show_bug(_: Request, error: Exception) -> Response:
    return JsonResponse(ApiError(500, f"a bug in the server: {type(error).__name__}").body(), status_code=500)
