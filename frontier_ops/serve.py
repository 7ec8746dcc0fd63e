"""Serves one release over HTTP, OpenAI-compatible, until a signal: a light front here, the model in its own process.

The release is read byte by byte against its manifest before anything is loaded. Served as `current` it is followed:
what `frontier deploy` points at next is loaded beside it, probed and put into service without a dropped request
(serve_fleet.py); named by its id it is pinned. Batching is not covered.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontier_core.atomic import explain_os_error
from frontier_core.errors import EnvironmentMissing
from frontier_core.profiles import profile_named
from frontier_ops.listener import listen, quiet_server, stopped_by_signals, url_of
from frontier_ops.probe import Backend
from frontier_ops.releases import CURRENT, Release, require_whole
from frontier_ops.serve_fleet import SOAK_S, Fleet
from frontier_ops.serve_link import WorkerLink
from frontier_ops.serve_log import RequestLog
from frontier_ops.serve_nursery import Nursery

if TYPE_CHECKING:
    from uvicorn import Server

DEFAULT_PORT = 8765
MAX_WAITING = 16
GRACE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """A server that answers now: where, what, and how long verifying and loading took."""

    url: str
    host: str
    port: int
    release: str
    model: str
    front_pid: int
    worker_pid: int | None
    num_parameters: int
    device: str
    verify_s: float
    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Settings of a server.

    Where it listens; how many requests may wait; how long it finishes up after a signal; how long a new release is on
    trial and whether the old one stays loaded; whether releases are asked their golden probe; the profile ("" is each
    release's own); the key clients must show ("" none); another server to pass requests on to ("" is the embedded
    one), the name it knows the model by, and the key it wants.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    max_waiting: int = MAX_WAITING
    grace_s: int = GRACE_S
    soak_s: float = SOAK_S
    keep_warm: bool = True
    use_probe: bool = True
    profile: str = ""
    api_key: str = ""
    backend: str = ""
    backend_kind: str = "openai"
    backend_key: str = ""


def serve(
    target: Path,
    *,
    release: str = CURRENT,
    options: ServeOptions | None = None,
    on_ready: Callable[[ServerInfo], None],
    request_log: Path | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> None:
    """Serves a release until SIGINT or SIGTERM, then finishes what is being answered and returns.

    Args:
        target: where `frontier deploy` put releases.
        release: `current`, which is followed, or an id, its first digits, or `name@id`, which is pinned.
        options: see ServeOptions; None takes the defaults.
        on_ready: called once, when the first question can be answered, with the real port.
        request_log: JSON Lines file that gets one line per request, without any text.
        on_note: gets remarks for people (the worker died, a release was rejected).
    Raises:
        UsageError: no such release, or the address can't be used.
        DataError: the release is damaged, can't be loaded, or does not reproduce its golden probe.
        EnvironmentMissing: the serve extra is not installed.
        ServiceError: the worker died while it loaded.
    Side effects: handles SIGINT and SIGTERM while it runs (main thread only); puts `current` back and writes to the
        target's audit when it rejects a release.
    """
    options = options or ServeOptions()
    if options.profile:
        profile_named(options.profile)
    for module in ("starlette", "uvicorn", *(("httpx",) if options.backend else ("torch", "transformers"))):
        if find_spec(module) is None:
            raise EnvironmentMissing(f"{module} is not installed", hint="pip install 'frontier-data-engine[serve]'")
    started = time.monotonic()
    found = require_whole(target, release)
    verify_s = time.monotonic() - started
    listener = listen(options.host, options.port)
    try:
        log = RequestLog(request_log, on_note)
    except OSError as error:
        listener.close()
        raise explain_os_error(error, request_log or target) from error
    nursery = Nursery()
    fleet = Fleet(
        target,
        lambda wanted: _backend(wanted, options, nursery, on_note),
        soak_s=options.soak_s,
        keep_warm=options.keep_warm,
        use_probe=options.use_probe,
        on_note=on_note,
    )
    try:
        session = _Session(found, options, fleet, log, follows=release == CURRENT)
        asyncio.run(_run(session.run(listener, on_ready, verify_s), nursery))
    finally:
        listener.close()
        log.close()


async def _run(session: Coroutine[Any, Any, None], nursery: Nursery) -> None:
    try:
        await session
    finally:
        await nursery.close()


def _backend(release: Release, options: ServeOptions, nursery: Nursery, on_note: Callable[[str], None]) -> Backend:
    if options.backend:
        from frontier_ops.serve_remote import RemoteBackend

        return RemoteBackend(
            release, options.backend, kind=options.backend_kind, api_key=options.backend_key, on_note=on_note
        )
    profile = options.profile or release.profile
    return WorkerLink(release.path, max_waiting=options.max_waiting, on_note=on_note, profile=profile, nursery=nursery)


class _Session:
    """One run of the server, from binding to the last answer."""

    def __init__(
        self, release: Release, options: ServeOptions, fleet: Fleet, log: RequestLog, *, follows: bool
    ) -> None:  # fmt: skip
        self._release = release
        self._options = options
        self._fleet = fleet
        self._log = log
        self._follows = follows

    async def run(self, listener: socket.socket, on_ready: Callable[[ServerInfo], None], verify_s: float) -> None:
        server = self._server()
        # Health answers from the start; questions get 503 until the model is loaded.
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loading = asyncio.create_task(self._fleet.start(self._release))
        watching: asyncio.Task[None] | None = None
        with stopped_by_signals(server):
            try:
                await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
                if loading.done():
                    ready = loading.result()
                    on_ready(self._info(listener, ready, verify_s))
                    watching = asyncio.create_task(self._fleet.watch()) if self._follows else None
                else:
                    loading.cancel()
                await serving
            finally:
                server.should_exit = True
                tasks = [serving, loading, *([watching] if watching else [])]
                if watching is not None:
                    watching.cancel()
                await self._fleet.close()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _info(self, listener: socket.socket, ready: dict[str, Any], verify_s: float) -> ServerInfo:
        return ServerInfo(
            url=url_of(listener, self._options.host),
            host=self._options.host,
            port=int(listener.getsockname()[1]),
            release=self._release.id,
            model=self._release.model_id,
            front_pid=os.getpid(),
            worker_pid=self._fleet.active.backend.pid if self._fleet.active else None,
            num_parameters=int(ready.get("num_parameters", 0)),
            device=str(ready.get("device", "")),
            verify_s=verify_s,
            load_s=float(ready.get("load_s", 0.0)),
        )

    def _server(self) -> Server:
        from frontier_ops.serve_app import Front

        app = Front(self._fleet, self._log, api_key=self._options.api_key).app()
        return quiet_server(app, grace_s=self._options.grace_s)
