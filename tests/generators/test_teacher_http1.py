"""The HTTP client against servers that answer in every way HTTP allows, byte by byte, and in some that it doesn't."""

import asyncio
import gzip
import socket
import ssl
import zlib
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from frontier_core.errors import ConfigError
from generators.teachers.http1 import ConnectionLost, Poster, proxy_for, unpacked

PEM = Path(__file__).parent.parent / "data" / "localhost.pem"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Script:
    """A server whose n-th connection says what is listed for it, one entry a request; None closes the connection."""

    def __init__(self, *connections, piece=0):
        self.connections = list(connections)
        self.requests = []
        self.num_connections = 0
        self.piece = piece

    async def __call__(self, reader, writer):
        number, self.num_connections = self.num_connections, self.num_connections + 1
        try:
            for answer in self.connections[min(number, len(self.connections) - 1)]:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                self.requests.append(head + await reader.readexactly(length))
                if answer is None:
                    break
                size = self.piece or len(answer)
                for place in range(0, len(answer), size):
                    writer.write(answer[place : place + size])
                    await writer.drain()
                    if self.piece:
                        await asyncio.sleep(0)
            writer.close()
            await writer.wait_closed()
        except (asyncio.IncompleteReadError, OSError):
            pass


@asynccontextmanager
async def served(handler, tls=None):
    tasks = set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await handler(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)


def post_all(script, *, num=1, headers=None, timeout_s=5.0):
    """Gives what `num` posts one after another give: answers or exceptions."""

    async def main():
        async with served(script) as port:
            poster = Poster(f"http://127.0.0.1:{port}/v1/chat", headers or {}, timeout_s=timeout_s)
            found = []
            for number in range(num):
                try:
                    found.append(await poster.post(b'{"n":%d}' % number))
                except (OSError, TimeoutError) as error:
                    found.append(error)
            await poster.close()
            return found

    return asyncio.run(main())


@pytest.mark.parametrize("piece", [0, 1, 3])
@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\na: b\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\ncontent-length: 0\r\n\r\n", 429, b""),
    ],
)
def test_an_answer_is_read_whatever_its_framing_and_the_connection_kept(raw, status, body, piece):
    script = Script([raw, raw, raw], piece=piece)
    found = post_all(script, num=3)
    assert [(answer.status, answer.body) for answer in found] == [(status, body)] * 3
    assert script.num_connections == 1
    assert [request.rpartition(b"\r\n\r\n")[2] for request in script.requests] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_an_answer_that_ends_its_connection_is_whole_and_the_next_gets_another(raw):
    script = Script([raw])
    assert [answer.body for answer in post_all(script, num=2)] == [b"ok", b"ok"]
    assert script.num_connections == 2


def test_a_connection_closed_while_idle_is_replaced_without_a_word():
    script = Script([OK, None], [OK])
    assert [answer.body for answer in post_all(script, num=2)] == [b"ok", b"ok"]
    assert script.num_connections == 2


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok", "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000 + b"\r\n\r\n", "too long"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nok", "content-encoding"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok", "unpacked"),
    ],
)
def test_an_answer_that_is_none_is_a_lost_connection_and_the_next_is_asked_afresh(raw, words):
    script = Script([raw], [OK])
    first, second = post_all(script, num=2)
    assert isinstance(first, ConnectionLost)
    assert words in str(first)
    assert second.body == b"ok"


def test_what_nobody_asked_for_is_never_taken_for_the_next_answer():
    script = Script([OK + OK.replace(b"ok", b"no")], [OK])
    first, second = post_all(script, num=2)
    assert second.body == b"ok"
    assert script.num_connections == 2
    assert first.body == b"ok"


def test_time_is_up_for_one_answer_and_not_for_the_next():
    async def slow(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        await reader.read()
        writer.close()

    found = post_all(slow, timeout_s=0.05)
    assert isinstance(found[0], TimeoutError)


def test_names_of_headers_are_small_and_values_of_one_name_joined():
    raw = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n"
    (answer,) = post_all(Script([raw]))
    assert (answer.headers["retry-after"], answer.headers["x-a"]) == ("7", "1, 2")


def test_a_request_is_what_http_wants():
    script = Script([OK])
    post_all(script, headers={"authorization": "Bearer secret"})
    lines = script.requests[0].decode().split("\r\n")
    assert lines[0] == "POST /v1/chat HTTP/1.1"
    assert {"authorization: Bearer secret", "content-length: 7", "accept-encoding: identity"} < set(lines)
    assert lines[1].startswith("host: 127.0.0.1:")


@pytest.mark.parametrize("value", ["two\r\nx: y", "caf\xe9"])
def test_a_header_that_http_can_not_carry_is_refused_and_not_shown(value):
    with pytest.raises(ConfigError) as error:
        post_all(Script([OK]), headers={"authorization": value})
    assert value not in error.value.message + error.value.hint


def test_packed_bodies_are_unpacked():
    assert unpacked(gzip.compress(b"text"), "gzip") == unpacked(zlib.compress(b"text"), "Deflate") == b"text"
    assert unpacked(b"text", "") == unpacked(b"text", "identity") == b"text"
    with pytest.raises(ConnectionLost):
        unpacked(gzip.compress(b"text" * 99)[:-9], "gzip")


def tls_server():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def post_tls(script, host, *, proxy=None):
    async def main():
        async with served(script, tls_server()) as port, served(proxy or Script([OK])) as proxy_port:
            address = f"http://user:p%40ss@127.0.0.1:{proxy_port}" if proxy else ""
            poster = Poster(f"https://{host}:{port}/x", {}, timeout_s=5.0, proxy=address)
            try:
                return [await poster.post(b"{}"), await poster.post(b"{}")]
            finally:
                await poster.close()

    return asyncio.run(main())


def test_tls_is_spoken_and_its_certificate_checked(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    script = Script([OK, OK])
    assert [answer.body for answer in post_tls(script, "127.0.0.1")] == [b"ok", b"ok"]
    assert script.num_connections == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ssl.SSLCertVerificationError):
        post_tls(Script([OK]), "127.0.0.1")


class Proxy:
    """A CONNECT proxy; `refusal` is its answer when it refuses."""

    def __init__(self, refusal=b""):
        self.heads = []
        self.refusal = refusal

    async def __call__(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.refusal:
            writer.write(self.refusal)
            return await writer.drain()
        host, _, port = head.split()[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n")
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
        return None


async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()


def test_https_goes_through_a_proxy_by_connect(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    proxy = Proxy()
    assert [answer.body for answer in post_tls(Script([OK, OK]), "127.0.0.1", proxy=proxy)] == [b"ok", b"ok"]
    assert len(proxy.heads) == 1
    assert b"proxy-authorization: Basic dXNlcjpwQHNz\r\n" in proxy.heads[0]


def test_a_proxy_that_refuses_is_a_lost_connection():
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    with pytest.raises(ConnectionLost, match="407"):
        post_tls(Script([OK]), "127.0.0.1", proxy=Proxy(refusal))


def test_http_goes_through_a_proxy_by_whole_address():
    async def main(script):
        async with served(script) as port:
            poster = Poster("http://far.example/v1", {}, timeout_s=5.0, proxy=f"127.0.0.1:{port}")
            try:
                return await poster.post(b"{}")
            finally:
                await poster.close()

    script = Script([OK])
    assert asyncio.run(main(script)).body == b"ok"
    assert script.requests[0].startswith(b"POST http://far.example/v1 HTTP/1.1\r\nhost: far.example\r\n")


def test_proxies_come_from_the_environment_and_never_for_this_machine(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_for("https://api.example/v1") == ""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "in.example")
    assert proxy_for("https://api.example/v1") == "http://proxy:3128"
    assert proxy_for("https://x.in.example/v1") == proxy_for("http://127.0.0.1:8000") == proxy_for("http://api") == ""


def test_a_socks_proxy_is_refused_with_a_hint():
    async def main():
        Poster("http://far.example", {}, timeout_s=1.0, proxy="socks5://127.0.0.1:1")

    with pytest.raises(ConfigError, match="not an http proxy"):
        asyncio.run(main())


def test_a_name_of_several_addresses_is_reached_at_the_first_that_answers(monkeypatch):
    script = Script([OK])

    async def main():
        async with served(script) as port:
            places = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
            places.insert(1, (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", port, 0, 0)))
            loop = asyncio.get_running_loop()

            async def found(*_, **__):
                return places

            monkeypatch.setattr(loop, "getaddrinfo", found)
            poster = Poster(f"http://some.name:{port}/v1", {}, timeout_s=5.0)
            answer = await poster.post(b"{}")
            await poster.close()
            places.pop()
            with pytest.raises(OSError, match="Connect call failed"):
                await Poster(f"http://some.name:{port}/v1", {}, timeout_s=5.0).post(b"{}")
            return answer

    assert asyncio.run(main()).body == b"ok"


def test_nobody_there_is_an_error_of_the_system():
    async def main():
        async with served(Script([OK])) as port:
            pass
        poster = Poster(f"http://127.0.0.1:{port}", {}, timeout_s=5.0)
        await poster.post(b"{}")

    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(main())
