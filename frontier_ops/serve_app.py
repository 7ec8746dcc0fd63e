"""The HTTP front: OpenAI-compatible routes over a Fleet of releases, as a starlette application.

A client that goes away frees the model: its request is cancelled whether it waits, is being answered whole, or
streams. A reader that stands still for a minute is let go. Covers no TLS: it is meant for loopback or behind a proxy.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import suppress
from datetime import datetime
from secrets import randbits, token_hex
from typing import TypeVar

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontier_core.jsonl import dumps
from frontier_core.records import Record
from frontier_ops.serve_api import ApiError, GenerationRequest, parse_request
from frontier_ops.serve_fleet import Fleet, Lease, Slot
from frontier_ops.serve_link import QueueFull, WorkerDown
from frontier_ops.serve_log import CLIENT_GONE, Metrics, RequestLog, Visit
from frontier_ops.serve_wire import Envelope, usage_of

MAX_BODY_BYTES = 8 << 20
STALL_S = 60.0
"""How long one piece of a stream may wait for its reader."""
OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""What answers without a key."""

T = TypeVar("T")


class JsonResponse(Response):
    """A JSON answer, written by the same encoder as every file."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Gives the body."""
        return dumps(content)


class Front:
    """The routes, with what they need: the releases, the log, the key ("" asks for none)."""

    def __init__(self, fleet: Fleet, log: RequestLog, *, api_key: str = "") -> None:
        self.fleet = fleet
        self.log = log
        self.metrics = Metrics()
        self._api_key = api_key
        self._num_running = 0

    def app(self) -> ASGIApp:
        """Gives the ASGI application."""
        routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.text, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics_page),
        ]
        handlers = {ApiError: _show_error, HTTPException: _show_http_error, Exception: _show_bug}
        return _Stamp(Starlette(routes=routes, exception_handlers=handlers), self.fleet, self._api_key)

    async def healthz(self, _: Request) -> Response:
        """Says that the front lives."""
        return JsonResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Says whether a question would be answered now, by which release, and what else is loaded or was rejected."""
        active, warm = self.fleet.active, self.fleet.warm
        is_ready = active is not None and active.backend.ready is not None
        body: Record = {"status": "ready" if is_ready else "loading"}
        if active is not None:
            body |= {"release": active.release.id, "model": active.release.model_id}
            body["restarts"] = getattr(active.backend, "num_restarts", 0)
        body |= {"warm": warm.release.id if warm else None, "loading": self.fleet.loading or None}
        body["rejected"] = dict(self.fleet.rejected)
        return JsonResponse(body, status_code=200 if is_ready else 503)

    async def metrics_page(self, _: Request) -> Response:
        """Gives counters for Prometheus."""
        fleet, active = self.fleet, self.fleet.active
        gauges: Record = {
            "frontier_requests_running": self._num_running,
            "frontier_swaps_total": fleet.num_swaps,
            "frontier_releases_rejected_total": fleet.num_rejected,
            "frontier_releases_loaded": len(fleet.slots()),
            "frontier_last_load_seconds": round(fleet.last_load_s, 3),
            "frontier_worker_restarts_total": getattr(active.backend, "num_restarts", 0) if active else 0,
        }
        if active is not None:
            gauges[f'frontier_release_info{{release="{active.release.id}",model="{active.release.model_id}"}}'] = 1
        return PlainTextResponse(self.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        """Lists the loaded releases, the one in service first."""
        return JsonResponse({"object": "list", "data": [_about(slot) for slot in self.fleet.slots()]})

    async def model(self, request: Request) -> Response:
        """Describes a model by any of its names."""
        name = request.path_params["name"]
        slot = self.fleet.find(name)
        if slot is None:
            raise ApiError(404, f"no model {name!r} here", param="model", code="model_not_found")
        return JsonResponse(_about(slot))

    async def chat(self, request: Request) -> Response:
        """Answers POST /v1/chat/completions."""
        return await self._answer(request, "chat")

    async def text(self, request: Request) -> Response:
        """Answers POST /v1/completions."""
        return await self._answer(request, "text")

    async def _answer(self, request: Request, kind: str) -> Response:
        active = self.fleet.active
        visit = Visit(request.scope["frontier_request_id"], active.release.id if active else "")
        is_streaming = False
        self._num_running += 1
        try:
            names = [name for slot in self.fleet.slots() for name in slot.names]
            asked = parse_request(await _read_body(request), names, kind)
            visit.stream = asked.stream
            job = asked.job(randbits(63))
            if not asked.stream:
                return await self._answer_whole(request, asked, job, kind, visit)
            # The first text decides between a stream and an error with its own status.
            lease = await _unless_gone(request, self.fleet.begin(asked.model, job))
            try:
                _refuse(lease.first[-1])
            except BaseException:
                await lease.close()
                raise
            self._name(request, lease.slot, visit)
            is_streaming = True
            visit.status = 200
            envelope = _envelope(lease.slot, visit, kind)
            return _EventStream(self._stream(lease, asked, envelope, visit), media_type="text/event-stream")
        except (WorkerDown, QueueFull) as error:
            refusal = _translate(error)
            visit.refuse(refusal.status, refusal.code or refusal.message)
            raise refusal from error
        except ApiError as error:
            visit.refuse(error.status, error.code or error.message)
            raise
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        finally:
            if not is_streaming:
                self._leave(visit)

    def _name(self, request: Request, slot: Slot, visit: Visit) -> None:
        visit.release = request.scope["frontier_release"] = slot.release.id

    def _leave(self, visit: Visit) -> None:
        self._num_running -= 1
        entry = visit.entry()
        self.metrics.count(entry)
        self.log.write(entry)

    async def _answer_whole(
        self, request: Request, asked: GenerationRequest, job: Record, kind: str, visit: Visit
    ) -> Response:
        async def collect() -> tuple[Slot, list[Record]]:
            while True:
                lease = await self.fleet.begin(asked.model, job)
                events: list[Record] = []
                try:
                    async for event in lease.events():
                        _refuse(event)
                        visit.see(event)
                        events.append(event)
                    return lease.slot, events
                except WorkerDown as error:
                    # Nothing was sent yet: where the release was on trial, the one before answers from the start.
                    if not self.fleet.gives_up(lease.slot, str(error)):
                        raise
                finally:
                    await lease.close()

        slot, events = await _unless_gone(request, collect())
        self._name(request, slot, visit)
        visit.status = 200
        done = events[-1]
        ids = [token for event in events for token in event.get("ids", ())]
        whole = _envelope(slot, visit, kind).completion(
            "".join(event.get("text", "") for event in events),
            done["finish_reason"],
            usage_of(done["prompt_tokens"], done["completion_tokens"]),
            tokens=None if asked.top_logprobs is None else [t for event in events for t in event.get("tokens", ())],
            ids=(done.get("prompt_ids") or [], ids) if asked.return_token_ids else None,
        )
        return JsonResponse(whole)

    async def _stream(
        self, lease: Lease, asked: GenerationRequest, envelope: Envelope, visit: Visit
    ) -> AsyncGenerator[bytes, None]:
        wants_usage = asked.include_usage
        is_complete = False
        events = lease.events()
        try:
            opening = envelope.opening(include_usage=wants_usage)
            if opening is not None:
                yield _sse(opening)
            async for event in events:
                _refuse(event)
                visit.see(event)
                if event["event"] == "text":
                    if event["text"] or event.get("tokens") or event.get("ids"):
                        tokens = event.get("tokens", []) if asked.top_logprobs is not None else None
                        ids = event.get("ids", []) if asked.return_token_ids else None
                        yield _sse(envelope.piece(event["text"], include_usage=wants_usage, tokens=tokens, ids=ids))
                    continue
                yield _sse(envelope.closing(event["finish_reason"], include_usage=wants_usage))
                if wants_usage:
                    yield _sse(envelope.usage_chunk(usage_of(event["prompt_tokens"], event["completion_tokens"])))
            yield b"data: [DONE]\n\n"
            is_complete = True
        except (ApiError, WorkerDown, QueueFull) as error:
            # Status 200 is out already; the client learns from an error event, and from the missing [DONE].
            refusal = error if isinstance(error, ApiError) else _translate(error)
            visit.refuse(refusal.status, refusal.code or refusal.message)
            yield _sse(refusal.body())
            is_complete = True
        finally:
            if not is_complete:
                visit.status = CLIENT_GONE
            self._leave(visit)
            await events.aclose()
            await lease.close()


def _sse(record: Record) -> bytes:
    return b"data: " + dumps(record) + b"\n\n"


def _envelope(slot: Slot, visit: Visit, kind: str) -> Envelope:
    prefix = "chatcmpl" if kind == "chat" else "cmpl"
    return Envelope(
        id=f"{prefix}-{visit.request_id}",
        created=int(time.time()),
        model=slot.release.model_id,
        fingerprint=f"frontier-{slot.release.id}",
        kind=kind,
    )


def _about(slot: Slot) -> Record:
    release = slot.release
    identity: Record = {
        "id": release.model_id,
        "object": "model",
        "created": int(datetime.fromisoformat(release.created_at).timestamp()),
        "owned_by": "frontier",
    }
    facts = slot.backend.ready or {}
    keys = ("context_tokens", "num_parameters", "device", "dtype")
    about: Record = {key: facts[key] for key in keys if key in facts}
    about |= {"profile": release.profile, "has_probe": release.probe is not None}
    return identity | about | {"aliases": list(slot.names[1:]), "lineage": release.lineage()}


class _EventStream(StreamingResponse):
    """A stream whose source is closed when the client goes or stands still, not when the collector comes by."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["cache-control"] = "no-cache"
        self.headers["x-accel-buffering"] = "no"

        async def patient(message: Message) -> None:
            async with asyncio.timeout(STALL_S):
                await send(message)

        try:
            with suppress(TimeoutError):
                await super().__call__(scope, receive, patient)
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()


class _Stamp:
    """Asks for the key, and puts the release and a request id on every answer, errors included."""

    def __init__(self, app: ASGIApp, fleet: Fleet, api_key: str) -> None:
        self._app = app
        self._fleet = fleet
        self._expected = f"Bearer {api_key}".encode() if api_key else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["frontier_request_id"] = token_hex(12)
        active = self._fleet.active
        scope["frontier_release"] = active.release.id if active is not None else ""

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-frontier-release"] = scope["frontier_release"]
                headers["x-request-id"] = scope["frontier_request_id"]
            await send(message)

        if self._expected and scope["path"] not in OPEN_PATHS and not self._has_key(scope):
            refusal = ApiError(401, "a key is needed: Authorization: Bearer KEY", code="invalid_api_key")
            response = JsonResponse(refusal.body(), status_code=401, headers={"www-authenticate": "Bearer"})
            await response(scope, receive, stamped)
            return
        await self._app(scope, receive, stamped)

    def _has_key(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._expected)


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
