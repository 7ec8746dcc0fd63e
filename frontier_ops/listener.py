"""Where our HTTP fronts listen and how they end: bound before anything else, quiet, stopped by SIGINT or SIGTERM.

Shared by the model server (serve.py) and the small web applications (web.py). Knows sockets and uvicorn, no routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from frontier_core.errors import UsageError

if TYPE_CHECKING:
    from uvicorn import Server

KEEP_ALIVE_S = 75
"""How long an idle connection stays open: longer than clients keep theirs (httpx 5 s, proxies 60 s), so that none sends
its next request into a connection that is just being closed."""


def listen(host: str, port: int) -> socket.socket:
    """Binds before anything is loaded, so that a taken port is told at once; port 0 picks a free one.

    Raises:
        UsageError: no such address, or the port is taken.
    """
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, OverflowError) as error:
        raise UsageError(f"{host}:{port}: no such address", hint="use --host 127.0.0.1") from error
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
        raise UsageError(f"{host}:{port}: {reason}", hint=hint) from error
    return listener


def url_of(listener: socket.socket, host: str = "") -> str:
    """Gives the URL of a listener, under its own address or under `host`, with the real port."""
    address = listener.getsockname()
    host = host or str(address[0])
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"


def quiet_server(app: Callable[..., Any], *, grace_s: int) -> Server:
    """Gives a uvicorn server that logs nothing and leaves signals to `stopped_by_signals`.

    Args:
        app: the ASGI application.
        grace_s: how long running requests may take after a stop was asked for.
    """
    import uvicorn

    class QuietServer(uvicorn.Server):
        """Leaves signals to us: uvicorn raises them again after a clean stop, which would end in status -15."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        app, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_graceful_shutdown=grace_s, timeout_keep_alive=KEEP_ALIVE_S,
    )  # fmt: skip
    return QuietServer(config)


@contextlib.contextmanager
def stopped_by_signals(server: Server) -> Iterator[None]:
    """Turns the first SIGINT, SIGTERM or SIGHUP (not under nohup) into a clean stop and the second into a quick one."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    handled: list[signal.Signals] = []
    is_immune = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for number in (signal.SIGINT, signal.SIGTERM, *(() if is_immune else (signal.SIGHUP,))):
        # Outside the main thread signals can't be handled; whoever started the thread does it.
        with contextlib.suppress(ValueError, RuntimeError):
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
