"""Small web applications of ours: bound before anything else, quiet, ended by SIGINT or SIGTERM, closed to strangers.

An address other than loopback needs a token: `Authorization: Bearer TOKEN`, or `?token=TOKEN` once in a browser, which
then keeps it in a cookie. Health checks answer without one. Covers no TLS: put a proxy in front, or use ssh -L.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import socket
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from frontier_core.errors import UsageError
from frontier_core.jsonl import dumps
from frontier_ops.listener import listen, quiet_server, stopped_by_signals, url_of

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
    listener = listen(host, port)
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


async def _run(app: Asgi, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    server = quiet_server(app, grace_s=GRACE_S)
    with stopped_by_signals(server):
        on_ready(url_of(listener))
        await server.serve(sockets=[listener])
