"""A real HTTP server on loopback that speaks OpenAI chat.completions and Anthropic messages, and fails on demand.

In a test: `with serving(latency_s=0.01) as server: ... server.url, server.num_requests, server.statuses`.
As a program, for benchmarks: `python llm_server.py --latency 0.05` prints its address; GET /stats gives its counts.

Faults are asked for in the prompt, each with how often one and the same request meets it before it is answered:

    @500*2   @503*1   @529*1   @429*3    that HTTP status          @400  @404  always
    @drop*1     the connection is closed without an answer         @cut*1   closed in the middle of the body
    @garbage*1  a body that is not JSON                            @slow*1  a body dribbling out over 30 s
    @hang*1     no answer at all

What is answered: `@say{...}@` in the last turn, word for word (so that a repair can differ); else an instance of the
request's JSON Schema; else words. `@short` cuts the answer at half its length with finish reason `length`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from email.utils import formatdate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from llm_wire import APIS, Refused, digest, example, num_tokens

FAULT = re.compile(r"@(\d{3}|drop|cut|garbage|slow|hang)(?:\*(\d+))?")
SAY = re.compile(r"@say(.*?)@", re.DOTALL)
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class Server:
    """Settings and counts of one server."""

    def __init__(
        self,
        *,
        latency_s=0.0,
        key="",
        limit_per_s=0.0,
        burst=10,
        retry_after_s=1.0,
        retry_after_date=False,
        down=False,
        reply_tokens=40,
        knows_schemas=True,
    ):
        self.latency_s = latency_s
        self.key = key
        self.limit_per_s = limit_per_s
        self.burst = burst
        self.retry_after_s = retry_after_s
        self.retry_after_date = retry_after_date
        self.down = down
        self.reply_tokens = reply_tokens
        self.knows_schemas = knows_schemas
        self.url = ""
        self.statuses = Counter()
        self.asked = Counter()
        self.bodies = []
        self.keep_bodies = True
        self.answered_at = []
        self.max_in_flight = self.in_flight = 0
        self._credit, self._credit_at = float(burst), time.monotonic()

    @property
    def num_requests(self):
        return self.statuses.total()

    def stats(self):
        return {
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "answered_at": self.answered_at,
            "max_in_flight": self.max_in_flight,
        }

    def within_limit(self):
        if not self.limit_per_s:
            return True
        now = time.monotonic()
        self._credit = min(self.burst, self._credit + (now - self._credit_at) * self.limit_per_s)
        self._credit_at = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def decide(self, api, headers, body):
        """Gives (status, payload, fault) for one request."""
        if self.key and api.key(headers) != self.key:
            return 401, api.error(401, "invalid key"), ""
        try:
            api.check(body)
        except Refused as error:
            return 400, api.error(400, str(error)), ""
        if not self.knows_schemas and api.schema(body):
            name = "response_format" if "response_format" in body else "output_config"
            return 400, api.error(400, f"{name} is not supported by this server"), ""
        if self.down:
            return 500, api.error(500, "down"), ""
        if not self.within_limit():
            return 429, api.error(429, "too many requests"), ""
        texts = api.texts(body)
        name = digest(body)
        self.asked[name] += 1
        seen = 0
        for what, times in FAULT.findall("\n".join(texts)):
            always = what in ("400", "404") and not times
            seen += int(times or 1)
            if always or self.asked[name] <= seen:
                if what.isdigit():
                    return int(what), api.error(int(what), f"asked for {what}"), ""
                return 200, self.answer(api, body, texts, name), what
        return 200, self.answer(api, body, texts, name), ""

    def answer(self, api, body, texts, name):
        said = SAY.search(texts[-1])
        schema = api.schema(body)
        if said:
            text = said[1]
        elif schema:
            text = json.dumps(example(schema, name, self.reply_tokens * 4))
        else:
            text = " ".join(f"word{n}" for n in range(self.reply_tokens // 2)) + f" {name}"
        finish = "stop"
        if "@short" in texts[-1]:
            text, finish = text[: len(text) // 2], "length"
        num_in = num_tokens("\n".join(texts)) + 3 * len(texts)
        make = api.stream if body.get("stream") else api.answer
        return make(body, text, finish, num_in, num_tokens(text))

    def retry_after(self):
        if self.retry_after_date:
            return formatdate(time.time() + self.retry_after_s, usegmt=True)
        return f"{self.retry_after_s:g}"


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, requests one after another."""

    def __init__(self, server, loop):
        self.server, self.loop = server, loop
        self.buffer = b""
        self.transport = None
        self.closed = False

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        self.closed = True

    def data_received(self, data):
        self.buffer += data
        while True:
            head, separator, rest = self.buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            lines = head.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            method, path, _ = lines[0].split(" ", 2)
            self.handle(method, path.partition("?")[0], headers, rest[:length])

    def handle(self, method, path, headers, raw):
        server = self.server
        if method == "GET" and path == "/stats":
            return self.send(200, server.stats())
        if method == "GET" and path == "/v1/models":
            return self.send(200, {"object": "list", "data": [{"id": "fake", "object": "model"}]})
        api = APIS.get(path)
        if api is None or method != "POST":
            return self.send(404, {"error": {"message": f"no such page: {path}"}})
        body = json.loads(raw)
        if server.keep_bodies:
            server.bodies.append(body)
        server.in_flight += 1
        server.max_in_flight = max(server.max_in_flight, server.in_flight)
        status, payload, fault = server.decide(api, headers, body)
        # A refusal costs a provider nothing and comes at once.
        delay = server.latency_s if status == 200 else min(server.latency_s, 0.005)
        self.loop.call_later(delay, self.reply, status, payload, fault)
        return None

    def reply(self, status, payload, fault):
        server = self.server
        server.in_flight -= 1
        server.statuses[status] += 1
        if self.closed:
            return
        if fault == "drop":
            self.transport.close()
        elif fault == "hang":
            pass
        elif fault == "cut":
            self.send(200, payload, keep=0.5)
        elif fault == "slow":
            self.send(200, payload, keep=0.0)
            raw = json.dumps(payload).encode()
            for place in range(300):
                self.loop.call_later(place / 10, self.dribble, raw[place : place + 1])
        elif fault == "garbage":
            self.send_raw(200, b"<html>bad gateway</html>", "text/html")
        elif not isinstance(payload, dict):
            self.send_stream(payload)
        else:
            if status == 200:
                server.answered_at.append(time.monotonic())
            self.send(status, payload)

    def dribble(self, piece):
        if not self.closed:
            self.transport.write(piece)

    def send(self, status, payload, keep=1.0):
        self.send_raw(status, json.dumps(payload, ensure_ascii=False).encode(), "application/json", keep)

    def send_raw(self, status, raw, kind, keep=1.0):
        extra = f"retry-after: {self.server.retry_after()}\r\n" if status in (429, 503) else ""
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\ncontent-type: {kind}\r\n{extra}"
        shown = raw[: int(len(raw) * keep)]
        self.transport.write(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + shown)
        if 0 < keep < 1:
            self.transport.close()

    def send_stream(self, events):
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())
        for name, data in events:
            text = data if isinstance(data, str) else json.dumps(data)
            event = f"event: {name}\n" if name else ""
            chunk = f"{event}data: {text}\n\n".encode()
            self.transport.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.transport.write(b"0\r\n\r\n")


async def _listen(server):
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server, loop), "127.0.0.1", 0, backlog=1024)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    return listening


@contextmanager
def serving(**settings):
    """Runs a server in a thread of this process and gives it."""
    server = Server(**settings)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def main():
        listening = await _listen(server)
        ready.set()
        await stop.wait()
        listening.close()

    def run():
        loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--limit", type=float, default=0.0, help="requests a second; above it 429")
    parser.add_argument("--reply-tokens", type=int, default=200)
    options = parser.parse_args()
    server = Server(latency_s=options.latency, limit_per_s=options.limit, reply_tokens=options.reply_tokens)
    server.keep_bodies = False

    async def run():
        await _listen(server)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())


if __name__ == "__main__":
    main()
