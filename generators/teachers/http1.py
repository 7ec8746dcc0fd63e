"""Posts to one address over HTTP/1.1, on connections that stay open, at a third of a general client's CPU.

llhttp parses (httptools, the engine of uvicorn and Node.js), asyncio has the sockets and TLS. Spoken: bodies by length,
in chunks and up to the end of the connection, interim answers, gzip, TLS, proxies of the environment (HTTP_PROXY,
HTTPS_PROXY, NO_PROXY; CONNECT for https). Not spoken: redirects, cookies, upgrades, HTTP/2, answers while they come.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from asyncio.staggered import staggered_race
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from itertools import zip_longest
from math import inf
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from frontier_core.errors import ConfigError

CONNECT_S = 15.0
HAPPY_EYEBALLS_S = 0.25
"""Head start of an address before the next one of the same name is tried beside it. Source: RFC 8305, section 5."""
CLOCK_S = 0.001
"""An event loop's clock may go in such steps: what is due so soon is due now."""
MAX_HEAD_BYTES = 256 * 1024
MAX_BODY_BYTES = 256 * 1024 * 1024
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_SAFE = "/%:@!$&'()*+,;=?-._~"


class Answer(NamedTuple):
    """A whole answer; the names of headers are in lower case, values of one name are joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes


class ConnectionLost(ConnectionError):
    """The connection ended early, or what came over it was no HTTP. `is_stale`: it had ended before it was asked."""

    is_stale = False


class Connection(asyncio.Protocol):
    """One connection, one request at a time: `ask`, and the future has the answer.

    `is_reusable` is true after an answer that leaves it open; `deadline` is when its answer must be there.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_reusable = True
        self.deadline = inf
        self._num_answers = 0
        self._waiter: asyncio.Future[Answer] | None = None
        self._parser = HttpResponseParser(self)
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._num_head = self._num_body = 0
        self._has_begun = self._is_head_whole = False

    @property
    def is_open(self) -> bool:
        """True while a request may be sent."""
        return self.is_reusable and self.transport is not None and not self.transport.is_closing()

    def ask(self, request: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Answer]:
        """Sends a request and gives the future of its answer."""
        assert self.transport is not None
        self._waiter = loop.create_future()
        self.transport.write(request)
        return self._waiter

    def drop(self, error: Exception | None = None) -> None:
        """Closes at once; who waits for an answer gets the error."""
        self.is_reusable = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error or ConnectionLost("the connection was closed"))
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = cast(asyncio.Transport, transport)
        if (raw := transport.get_extra_info("socket")) is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # an answer may take minutes

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._waiter is None:
            return self.drop()  # nobody asked: what comes can't be told from the next answer
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.drop(ConnectionLost("the service changed the protocol"))
        except HttpParserError as error:
            self.drop(_cause(error) or ConnectionLost(f"the answer is no HTTP: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio. A body without a length ends with its connection."""
        if self._waiter is not None and error is None and self._is_head_whole and not self._has_length():
            self.on_message_complete()
        lost = ConnectionLost(str(error) if error else "the service closed the connection without a whole answer")
        lost.is_stale = self._num_answers > 0 and not self._has_begun
        self.drop(lost)

    def _has_length(self) -> bool:
        return "content-length" in self._headers or "transfer-encoding" in self._headers

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._waiter is None:
            raise ConnectionLost("more came than was asked for")
        self._begin()
        self._has_begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._num_head += len(name) + len(value)
        if self._num_head > MAX_HEAD_BYTES:
            raise ConnectionLost("the answer's head is too long")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._is_head_whole = True

    def on_body(self, chunk: bytes) -> None:
        """Called by the parser."""
        self._num_body += len(chunk)
        if self._num_body > MAX_BODY_BYTES:
            raise ConnectionLost("the answer is too long")
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        """Called by the parser, also after an interim answer (1xx), which is none."""
        status = self._parser.get_status_code()
        if status < 200:
            return
        self.is_reusable = self._parser.should_keep_alive()
        self._num_answers += 1
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            try:
                body = unpacked(b"".join(self._chunks), self._headers.get("content-encoding", ""))
            except (zlib.error, ConnectionLost) as error:
                waiter.set_exception(ConnectionLost(f"the answer can't be unpacked: {error}"))
            else:
                waiter.set_result(Answer(status, self._headers, body))
        self._has_begun = False


class Poster:
    """Posts bodies to one URL; close it in the end.

    Args:
        url: http or https, with a host.
        headers: sent with every request.
        timeout_s: for one answer, from the first byte out to the last byte in.
        proxy: the URL of an http proxy, "" for none; see `proxy_for`.
    Raises:
        ConfigError: a header or the proxy can't be used; never shows a value.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, timeout_s: float, proxy: str = "") -> None:
        self._loop = asyncio.get_running_loop()
        self._target = urlsplit(url)
        self._proxy = _proxy_parts(proxy)
        self._timeout_s = timeout_s
        self._tls = _tls() if self._target.scheme == "https" else None
        self._timer: asyncio.TimerHandle | None = None
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        path = quote(self._target.path or "/", _SAFE) + (f"?{self._target.query}" if self._target.query else "")
        if self._proxy and self._tls is None:
            path = f"http://{_authority(self._target)}{path}"
            headers = {**headers, **_proxy_headers(self._proxy)}
        told = {"host": _authority(self._target), "accept": "application/json", "accept-encoding": "identity"}
        self._head = b"POST %b HTTP/1.1\r\n%bcontent-length: " % (path.encode("ascii"), _lines({**told, **headers}))

    async def post(self, body: bytes) -> Answer:
        """Gives the answer to a body.

        Raises:
            TimeoutError: none came in time. OSError (ConnectionLost, ssl.SSLError): the connection failed.
        """
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        deadline = self._loop.time() + self._timeout_s
        while True:
            connection = self._kept() or await self._connect(deadline)
            connection.deadline = deadline
            if self._timer is None:
                self._timer = self._loop.call_at(deadline, self._drop_late)
            try:
                answer = await connection.ask(request, self._loop)
            except ConnectionLost as error:
                self._all.discard(connection)
                if not error.is_stale:
                    raise
                # Closed by the service while it was idle: the request was not seen.
            except BaseException:
                self._all.discard(connection)
                connection.drop()
                raise
            else:
                self._keep(connection)
                return answer

    def _drop_late(self) -> None:
        """Ends what is past its deadline. One timer serves all requests: most are answered long before theirs."""
        now = self._loop.time() + CLOCK_S
        for connection in [each for each in self._all if each.deadline <= now]:
            connection.drop(TimeoutError())
        earliest = min((each.deadline for each in self._all if each.deadline > now), default=inf)
        self._timer = self._loop.call_at(earliest, self._drop_late) if earliest < inf else None

    async def close(self) -> None:
        """Closes all connections."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in self._all:
            connection.drop()
        self._all.clear()
        self._idle.clear()
        for _ in range(3):
            await asyncio.sleep(0)  # asyncio closes sockets in the turns that follow

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            self._all.discard(connection)
        return None

    def _keep(self, connection: Connection) -> None:
        connection.deadline = inf
        if connection.is_open:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
            connection.drop()

    async def _connect(self, deadline: float) -> Connection:
        async with asyncio.timeout_at(min(deadline, self._loop.time() + CONNECT_S)):
            place = self._proxy or self._target
            host = place.hostname or ""
            sock = await _dial(host, _port(place), self._loop)
            if self._proxy is not None and self._tls is not None:
                _, tunnel = await self._loop.create_connection(_Tunnel, sock=sock)
                connection = await self._through(tunnel)
            else:
                name = host if self._tls is not None else None
                _, connection = await self._loop.create_connection(
                    Connection, sock=sock, ssl=self._tls, server_hostname=name
                )
        self._all.add(connection)
        return connection

    async def _through(self, tunnel: _Tunnel) -> Connection:
        """Asks a proxy for a way to the service and starts TLS in it."""
        assert self._proxy is not None
        assert tunnel.transport is not None
        assert self._tls is not None
        try:
            host = _authority(self._target, always_port=True)
            lines = _lines({"host": host, **_proxy_headers(self._proxy)})
            status = await tunnel.open(b"CONNECT %b HTTP/1.1\r\n%b\r\n" % (host.encode("ascii"), lines), self._loop)
            if not 200 <= status < 300:
                raise ConnectionLost(f"the proxy refuses (HTTP {status})")
            connection = Connection()
            transport = await self._loop.start_tls(
                tunnel.transport, connection, self._tls, server_hostname=self._target.hostname
            )
            if transport is None:
                raise ConnectionLost("the proxy closed the connection")
        except BaseException:
            tunnel.transport.abort()
            raise
        connection.connection_made(transport)
        return connection


class _Tunnel(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT, and not a byte more: what follows is the service's."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[int] | None = None
        self._data = b""

    def open(self, request: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future[int]:
        """Sends the request and gives the future of the answer's status."""
        assert self.transport is not None
        self._waiter = loop.create_future()
        self.transport.write(request)
        return self._waiter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio. A service behind TLS is silent until it is spoken to, so nothing follows the head."""
        self._data += data
        if self._waiter is None or self._waiter.done():
            return
        first, _, _ = self._data.partition(b"\r\n")
        words = first.split(maxsplit=2)
        if b"\r\n\r\n" in self._data and len(words) >= 2 and words[0].startswith(b"HTTP/") and words[1].isdigit():
            self._waiter.set_result(int(words[1]))
        elif b"\r\n\r\n" in self._data or len(self._data) > MAX_HEAD_BYTES:
            self._waiter.set_exception(ConnectionLost("the proxy's answer is no HTTP"))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """Called by asyncio."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionLost("the proxy closed the connection"))


async def _dial(host: str, port: int, loop: asyncio.AbstractEventLoop) -> socket.socket:
    """Gives a socket connected to the first address of a host that answers. Raises OSError when none does.

    Not left to the event loop, because only asyncio's own one can race addresses.
    """
    places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    families = [[place for place in places if place[0] == family] for family in dict.fromkeys(p[0] for p in places)]
    in_turns = [place for row in zip_longest(*families) for place in row if place is not None]

    async def connect(place: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = place
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    if len(in_turns) == 1:
        return await connect(in_turns[0])
    ways = [partial(connect, place) for place in in_turns]
    sock: socket.socket | None
    sock, _, errors = await staggered_race(ways, HAPPY_EYEBALLS_S)
    if sock is None:
        raise next((error for error in errors if error is not None), OSError(f"{host} has no address"))
    return sock


def proxy_for(url: str) -> str:
    """Gives the proxy that the environment names for a URL, "" for none: never for this machine itself."""
    if is_local(url):
        return ""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return ""
    return getproxies().get(parts.scheme, "")


def is_local(url: str) -> bool:
    """Says whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unpacked(body: bytes, encoding: str) -> bytes:
    """Gives a body without its content coding, which a service may use unasked.

    Raises:
        ConnectionLost: the coding is unknown, or what is packed is cut off or too long. zlib.error: it is broken.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ConnectionLost(f"unknown content-encoding {encoding[:40]!r}")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    text = unpacker.decompress(body, MAX_BODY_BYTES)
    if not unpacker.eof:
        raise ConnectionLost("it is cut off or too long")
    return text


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _cause(error: HttpParserError) -> ConnectionLost | None:
    """Gives what a callback of ours raised inside the parser."""
    inner = error.__context__
    return inner if isinstance(inner, ConnectionLost) else None


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _authority(parts: SplitResult, *, always_port: bool = False) -> str:
    host = parts.hostname or ""
    try:
        name = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ConfigError(f"{host!r} is no name of a host", hint="see --teacher") from error
    return f"{name}:{_port(parts)}" if parts.port or always_port else name


def _proxy_parts(proxy: str) -> SplitResult | None:
    if not proxy:
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        hint = "HTTP_PROXY and HTTPS_PROXY name one like http://HOST:PORT; NO_PROXY leaves hosts out"
        raise ConfigError("the environment's proxy is not an http proxy", hint=hint)
    return parts


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": "Basic " + b64encode(pair.encode()).decode("ascii")}


def _lines(headers: Mapping[str, str]) -> bytes:
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            hint = "a key is one word, without quotes or line breaks"
            raise ConfigError(f"the header {name} holds a character that HTTP doesn't carry", hint=hint)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii")
