"""Serves one release over HTTP, OpenAI-compatible, until a signal: a light front here, the model in its own process.

The release is read byte by byte against its manifest before anything is loaded, and it is pinned by id: moving
`current` afterwards changes nothing for a running server. Hot swap, canaries and batching are not covered.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontier_core.atomic import explain_os_error
from frontier_core.errors import EnvironmentMissing, UsageError
from frontier_ops.releases import CURRENT, Release, require_whole
from frontier_ops.serve_link import WorkerLink

if TYPE_CHECKING:
    from uvicorn import Server

    from frontier_ops.serve_app import RequestLog

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
    """Settings of a server: where it listens, how many requests may wait, how long it finishes up after a signal."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    max_waiting: int = MAX_WAITING
    grace_s: int = GRACE_S


def serve(
    target: Path,
    *,
    release: str = CURRENT,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    on_ready: Callable[[ServerInfo], None],
    request_log: Path | None = None,
    max_waiting: int = MAX_WAITING,
    grace_s: int = GRACE_S,
    on_note: Callable[[str], None] = lambda _: None,
) -> None:
    """Serves a release until SIGINT or SIGTERM, then finishes what is being answered and returns.

    Args:
        target: where `frontier deploy` put releases.
        release: `current`, an id, its first digits, or `name@id`.
        host: address to listen on; there is no key check, so keep it to loopback or a trusted network.
        port: 0 picks a free one.
        on_ready: called once, when the first question can be answered, with the real port.
        request_log: JSON Lines file that gets one line per request, without any text.
        max_waiting: requests that may wait for the model; more get 429.
        grace_s: seconds that running answers get after a signal; a second signal ends them at once.
        on_note: gets remarks for people (the worker died, and when it is back).
    Raises:
        UsageError: no such release, or the address can't be used.
        DataError: the release is damaged or can't be loaded.
        EnvironmentMissing: the serve extra is not installed.
        ServiceError: the worker died while it loaded.
    Side effects: handles SIGINT and SIGTERM while it runs (main thread only).
    """
    for module in ("starlette", "uvicorn", "torch", "transformers"):
        if find_spec(module) is None:
            raise EnvironmentMissing(f"{module} is not installed", hint="pip install 'frontier-data-engine[serve]'")
    started = time.monotonic()
    found = require_whole(target, release)
    verify_s = time.monotonic() - started
    options = ServeOptions(host=host, port=port, max_waiting=max_waiting, grace_s=grace_s)
    listener = _listen(options)
    from frontier_ops.serve_app import RequestLog

    try:
        log = RequestLog(request_log, on_note)
    except OSError as error:
        listener.close()
        raise explain_os_error(error, request_log or target) from error
    try:
        link = WorkerLink(found.path, max_waiting=max_waiting, on_note=on_note)
        asyncio.run(_Session(found, options, link, log).run(listener, on_ready, verify_s))
    finally:
        listener.close()
        log.close()


def _listen(options: ServeOptions) -> socket.socket:
    """Binds before anything is loaded: a taken port is told at once."""
    try:
        place = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"{options.host}:{options.port}: no such address", hint="use --host 127.0.0.1") from error
    listener = socket.socket(place[0], socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place[4])
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        is_taken = getattr(error, "errno", None) == errno.EADDRINUSE
        hint = "another server has it; --port 0 picks a free one" if is_taken else "choose another --host or --port"
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{options.host}:{options.port}: {reason}", hint=hint) from error
    return listener


class _Session:
    """One run of the server, from binding to the last answer."""

    def __init__(self, release: Release, options: ServeOptions, link: WorkerLink, log: RequestLog) -> None:
        self._release = release
        self._options = options
        self._link = link
        self._log = log

    async def run(self, listener: socket.socket, on_ready: Callable[[ServerInfo], None], verify_s: float) -> None:
        server = self._server()
        # Health answers from the start; questions get 503 until the model is loaded.
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loading = asyncio.create_task(self._link.start())
        with _signals(server):
            try:
                await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
                if loading.done():
                    ready = loading.result()
                    on_ready(self._info(listener, ready, verify_s))
                else:
                    loading.cancel()
                await serving
            finally:
                server.should_exit = True
                await self._link.close()
                await asyncio.gather(serving, loading, return_exceptions=True)

    def _info(self, listener: socket.socket, ready: dict[str, Any], verify_s: float) -> ServerInfo:
        port = int(listener.getsockname()[1])
        host = self._options.host
        return ServerInfo(
            url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}",
            host=host,
            port=port,
            release=self._release.id,
            model=self._release.model_id,
            front_pid=os.getpid(),
            worker_pid=self._link.pid,
            num_parameters=ready["num_parameters"],
            device=ready["device"],
            verify_s=verify_s,
            load_s=ready["load_s"],
        )

    def _server(self) -> Server:
        import uvicorn

        from frontier_ops.serve_app import Front

        class QuietServer(uvicorn.Server):
            """Leaves signals to us: uvicorn raises them again after a clean stop, which would end in status -15."""

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        config = uvicorn.Config(
            Front(self._release, self._link, self._log).app(),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=self._options.grace_s,
        )
        return QuietServer(config)


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    """Turns the first SIGINT or SIGTERM into a clean stop and the second into a quick one."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    handled: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Outside the main thread signals can't be handled; whoever started the thread does it.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
