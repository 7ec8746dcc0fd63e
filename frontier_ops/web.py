"""Small web applications of ours: bound before anything else, quiet, ended by SIGINT or SIGTERM, closed to strangers.

An address other than loopback needs a token: `Authorization: Bearer TOKEN`, or `?token=TOKEN` once in a browser, which
then keeps it in a cookie. Health checks answer without one. Covers no TLS: put a proxy in front, or use ssh -L.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from frontier_core.errors import UsageError
from frontier_core.jsonl import dumps

if TYPE_CHECKING:
    from uvicorn import Server

COOKIE = "frontier_token"
OPEN_PATHS = ("/health", "/healthz")
GRACE_S = 5
Asgi = Callable[..., Any]


def serve_app(
    app: Asgi, *, host: str, port: int, token: str = "", on_ready: Callable[[str], None] = lambda _: None
) -> None:
    """Serves an ASGI application until SIGINT or SIGTERM.

    Args:
        app: the application.
        host: address to listen on.
        port: 0 picks a free one.
        token: what clients must show; may be empty on loopback only.
        on_ready: called with the URL once connections are taken.
    Raises:
        UsageError: no such address, the port is taken, or no token where strangers could come.
    """
    if not token and not is_loopback(host):
        raise UsageError(f"{host}: anybody could reach that", hint="set --token, or listen on 127.0.0.1")
    listener = _listen(host, port)
    try:
        asyncio.run(_run(Guarded(app, token) if token else app, listener, on_ready))
    finally:
        listener.close()


def is_loopback(host: str) -> bool:
    """Says whether only this machine can reach an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class Guarded:
    """An application that answers only those who show the token; see this module's head.

    Args:
        app: the application behind it.
        token: the token.
    """

    def __init__(self, app: Asgi, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Lets a request through, or answers 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        asked = parse_qs(scope["query_string"].decode("latin1")).get("token", [""])[0]
        kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        shown = (headers.get("authorization", "").removeprefix("Bearer "), asked, kept.value if kept else "")
        if not any(hmac.compare_digest(candidate.encode(), self._token) for candidate in shown):
            body = dumps({"error": {"message": "a token is needed", "hint": "Authorization: Bearer TOKEN"}})
            headers_out = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers_out})
            await send({"type": "http.response.body", "body": body})
            return

        async def send_with_cookie(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and asked:
                cookie = f"{COOKIE}={asked}; HttpOnly; SameSite=Strict; Path=/".encode()
                message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie)]}
            await send(message)

        await self._app(scope, receive, send_with_cookie)


def _listen(host: str, port: int) -> socket.socket:
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"{host}:{port}: no such address", hint="use --host 127.0.0.1") from error
    listener = socket.socket(place[0], socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place[4])
        listener.listen(128)
    except OSError as error:
        listener.close()
        is_taken = error.errno == errno.EADDRINUSE
        hint = "another server has it; --port 0 picks a free one" if is_taken else "choose another --host or --port"
        raise UsageError(f"{host}:{port}: {error.strerror}", hint=hint) from error
    return listener


async def _run(app: Asgi, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    import uvicorn

    class QuietServer(uvicorn.Server):
        """Leaves signals to us: uvicorn raises them again after a clean stop, which would end in status -15."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        app, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    server = QuietServer(config)
    address = listener.getsockname()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    with _signals(server):
        on_ready(f"http://{host}:{address[1]}")
        await server.serve(sockets=[listener])


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    """Turns the first SIGINT or SIGTERM into a clean stop and the second into a quick one."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    with contextlib.suppress(ValueError, RuntimeError):  # outside the main thread whoever started it does this
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
    yield
