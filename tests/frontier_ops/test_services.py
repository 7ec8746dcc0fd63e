"""Calling a service that fails in every way: the right exception, the right number of tries, no harm done twice."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import (
    ConfigError,
    ServiceAuthError,
    ServiceDecodeError,
    ServiceError,
    ServiceHttpError,
    ServiceUnavailable,
)
from frontier_ops.ask import ask
from frontier_ops.hosts import Service, find_service, load_hosts
from frontier_ops.service_clients import OracleClient, PredictionClient
from frontier_ops.services import RetryBudget, ServiceClient, retry_after_s

Reply = tuple[int, dict[str, str], bytes] | str
"""Status, headers and body, or a fault: hang, close, half."""


class FaultServer(ThreadingHTTPServer):
    """Answers requests from a script, one reply each, the last one for ever."""

    daemon_threads = True

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies = list(replies)
        self.seen: list[tuple[str, str, str]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.release = threading.Event()
        self.news = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait_for(self, num_seen: int) -> None:
        """Returns when so many requests have come, or fails after a minute."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.seen) >= num_seen, 60), self.seen

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are the point


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultServer

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        with self.server.news:
            number = len(self.server.seen)
            self.server.seen.append((self.command, self.path, body))
            self.server.headers_seen.append(dict(self.headers))
            self.server.news.notify_all()
        reply = self.server.replies[min(number, len(self.server.replies) - 1)]
        if reply == "hang":
            self.server.release.wait(60)
        if reply == "half":
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half"')
        if isinstance(reply, str):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers, data = reply
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., FaultServer]]:
    servers: list[FaultServer] = []

    def start(*replies: Reply) -> FaultServer:
        server = FaultServer(*replies)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.release.set()
        server.shutdown()
        server.server_close()


OK: Reply = (200, {"Content-Type": "application/json"}, b'{"fine": true}')
BUSY: Reply = (429, {"Retry-After": "2"}, b"slow down")
DOWN: Reply = (503, {}, b"down")
WAITS: list[float] = []


def client(server: FaultServer, *, retries: int = 2, timeout_s: float = 60.0, key: str = "") -> ServiceClient:
    WAITS.clear()
    service = Service(name="inference", url=server.url, timeout_s=timeout_s, max_retries=retries, api_key=key)
    return ServiceClient(service, sleep=WAITS.append, jitter=lambda _low, high: high)


FAULTS: list[tuple[str, list[Reply], type[ServiceError] | None, int]] = [
    ("fine", [OK], None, 1),
    ("busy once", [BUSY, OK], None, 2),
    ("busy for ever", [BUSY], ServiceUnavailable, 3),
    ("down twice", [DOWN, (500, {}, b""), OK], None, 3),
    ("down for ever", [(502, {}, b"bad gateway")], ServiceUnavailable, 3),
    ("closed once", ["close", OK], None, 2),
    ("closed for ever", ["close"], ServiceUnavailable, 3),
    ("half a body for ever", ["half"], ServiceUnavailable, 3),
    ("half a body once", ["half", OK], None, 2),
    ("not found", [(404, {}, b"no such path")], ServiceHttpError, 1),
    ("not implemented", [(501, {}, b"")], ServiceHttpError, 1),
    ("no key", [(401, {}, b"")], ServiceAuthError, 1),
    ("wrong key", [(403, {}, b"")], ServiceAuthError, 1),
    ("garbage", [(200, {}, b"<html>hello")], ServiceDecodeError, 1),
    ("empty", [(200, {}, b"")], ServiceDecodeError, 1),
]


@pytest.mark.parametrize(("replies", "error", "tries"), [fault[1:] for fault in FAULTS], ids=[f[0] for f in FAULTS])
def test_get_meets_each_fault_with_its_error_and_number_of_tries(
    serve: Callable[..., FaultServer], replies: list[Reply], error: type[ServiceError] | None, tries: int
) -> None:
    server = serve(*replies)
    with client(server) as caller:
        if error is None:
            assert caller.get_json("/x") == {"fine": True}
        else:
            with pytest.raises(ServiceError) as caught:
                caller.get_json("/x")
            assert type(caught.value) is error
    assert len(server.seen) == tries


@pytest.mark.parametrize("reply", [BUSY, DOWN, "close", "half"])
def test_post_is_sent_once_unless_it_has_an_idempotency_key(serve: Callable[..., FaultServer], reply: Reply) -> None:
    server = serve(reply)
    with client(server) as caller, pytest.raises(ServiceError):
        caller.post_json("/jobs", json={"a": 1})
    assert len(server.seen) == 1
    keyed = serve(reply, OK)
    with client(keyed) as caller:
        assert caller.post_json("/jobs", json={"a": 1}, idempotency_key="k1") == {"fine": True}
    assert [seen[2] for seen in keyed.seen] == ['{"a":1}', '{"a":1}']
    assert [headers["Idempotency-Key"] for headers in keyed.headers_seen] == ["k1", "k1"]


def test_time_out_is_per_try_and_retried(serve: Callable[..., FaultServer]) -> None:
    server = serve("hang")
    with client(server, timeout_s=0.05, retries=1) as caller, pytest.raises(ServiceUnavailable, match="timed out"):
        caller.get_json("/x")
    server.wait_for(2)  # the client gives a try up before the server has to know of it
    assert len(server.seen) == 2


def test_post_that_never_left_is_retried() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        WAITS.clear()
        service = Service(name="inference", url=url, max_retries=2)
        with (
            ServiceClient(service, sleep=WAITS.append, jitter=lambda _low, high: high) as caller,
            pytest.raises(ServiceUnavailable) as caught,
        ):
            caller.post_json("/x", json={})
    assert caught.value.hint == "is it running? INFERENCE_URL sets where"
    assert WAITS == [0.2, 0.4]


def test_waits_grow_and_obey_retry_after(serve: Callable[..., FaultServer]) -> None:
    with client(serve(DOWN), retries=4) as caller, pytest.raises(ServiceUnavailable, match="HTTP 503 after 5 tries"):
        caller.get_json("/x")
    assert WAITS == [0.2, 0.4, 0.8, 1.6]
    with client(serve(BUSY, OK)) as caller:
        caller.get_json("/x")
    assert WAITS == [2.0]
    with client(serve((503, {"Retry-After": "3600"}, b""))) as caller, pytest.raises(ServiceUnavailable):
        caller.get_json("/x")  # an hour is not waited for
    assert WAITS == []


def test_budget_stops_retrying_a_service_that_stays_down(serve: Callable[..., FaultServer]) -> None:
    server = serve(DOWN)
    with client(server, retries=3) as caller:
        for _ in range(5):
            with pytest.raises(ServiceUnavailable):
                caller.get_json("/x")
    assert len(server.seen) == 5 + 5  # five first tries, five retries: half of the ten tokens


def test_budget_is_earned_back_by_success() -> None:
    budget = RetryBudget(2.0)
    assert [budget.take(), budget.take()] == [True, False]
    for _ in range(20):
        budget.refund()
    assert budget.take()


def test_key_is_sent_and_never_shown(serve: Callable[..., FaultServer]) -> None:
    server = serve((500, {}, b"oops"))
    with client(server, key="secret123", retries=0) as caller, pytest.raises(ServiceUnavailable) as caught:
        caller.get_json("/x")
    assert server.headers_seen[0]["Authorization"] == "Bearer secret123"
    assert "secret123" not in f"{caught.value.message} {caught.value.hint} {caller.service!r}"


def test_a_question_shows_its_key_and_a_refusal_says_how_to_give_one(serve: Callable[..., FaultServer]) -> None:
    answer = json.dumps({"choices": [{"message": {"content": "12"}}]}).encode()
    server = serve((200, {}, b'{"data": [{"id": "m"}]}'), (200, {}, answer), (401, {}, b"{}"))

    assert ask(server.url, "7 + 5?", api_key="secret123") == "12"
    assert [seen["Authorization"] for seen in server.headers_seen] == ["Bearer secret123"] * 2
    with pytest.raises(ServiceAuthError) as caught:
        ask(server.url, "7 + 5?")
    assert "Authorization" not in server.headers_seen[2]
    assert caught.value.hint == "set INFERENCE_API_KEY, or name its variable with --key-env"


def test_the_dashboards_question_box_shows_the_key_and_says_how_to_give_one(
    serve: Callable[..., FaultServer], tmp_path: Path
) -> None:
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from frontier_ops.monitor.dashboard import dashboard

    models: Reply = (200, {}, b'{"data": [{"id": "m@1"}]}')
    server = serve(models, (200, {}, b'{"choices": [{"message": {"content": "12"}}]}'), (401, {}, b"no"))

    with TestClient(dashboard(tmp_path, model_url=server.url, model_key="s3cret")) as http:
        answer = http.post("/chat", json={"question": "7 + 5?"})
    with TestClient(dashboard(tmp_path, model_url=server.url)) as http:
        refusal = http.post("/chat", json={"question": "7 + 5?"})

    assert (answer.status_code, answer.json()) == (200, {"answer": "12"})
    assert [seen.get("Authorization") for seen in server.headers_seen] == ["Bearer s3cret"] * 2 + [None]
    assert refusal.status_code == 502
    assert refusal.json()["detail"] == f"inference: GET {server.url}/v1/models: HTTP 401; set INFERENCE_API_KEY"


def test_prediction_client_speaks_chat_completions(serve: Callable[..., FaultServer]) -> None:
    answer = json.dumps({"choices": [{"message": {"content": "4"}}]}).encode()
    server = serve((200, {}, answer), (200, {}, b'{"choices": []}'))
    with client(server) as caller:
        model = PredictionClient(caller)
        assert model.chat([{"role": "user", "content": "2+2?"}], temperature=0) == "4"
        with pytest.raises(ServiceDecodeError, match="holds no choice"):
            model.chat([])
    method, path, body = server.seen[0]
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert json.loads(body)["temperature"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b'{"choices": [{"message": {"content": "4"}}]}',
        b'{"choices": [{"message": {"content": "4"}, "logprobs": null}]}',
    ],
)
def test_oracle_says_when_a_server_tells_no_log_probabilities(
    serve: Callable[..., FaultServer], answer: bytes
) -> None:  # fmt: skip
    server = serve((200, {}, b'{"data": [{"id": "m"}]}'), (200, {}, answer))
    with client(server) as caller, pytest.raises(ServiceDecodeError, match="the answer holds no"):
        OracleClient(caller).consult([{"role": "user", "content": "2+2?"}])
    assert json.loads(server.seen[1][2])["logprobs"] is True


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", 0.0), ("", 0.0), ("Fri, 01 Jan 2021 00:00:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float) -> None:
    assert retry_after_s(text) == seconds


HOSTS = {
    "hosts": {
        "a": {"host": "10.0.0.5", "role": "trainer", "services": {"vault": 8767}},
        "b": {"host": "inf", "services": {"inference": {"port": 8765, "timeout_s": 120, "max_retries": 5}}},
    }
}


def write_hosts(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps(document))
    return path


def test_service_is_found_in_the_hosts_file_and_the_environment_is_stronger(tmp_path: Path) -> None:
    path = write_hosts(tmp_path, HOSTS)
    assert find_service("vault", path=path, environ={}).url == "http://10.0.0.5:8767"
    plain = find_service("inference", path=path, environ={})
    assert (plain.url, plain.timeout_s, plain.max_retries, plain.api_key) == ("http://inf:8765", 120.0, 5, "")
    environ = {
        "INFERENCE_URL": "https://elsewhere/", "INFERENCE_TIMEOUT_S": "7", "INFERENCE_MAX_RETRIES": "1",
        "INFERENCE_API_KEY": "k",
    }  # fmt: skip
    over = find_service("inference", path=path, environ=environ)
    assert (over.url, over.timeout_s, over.max_retries, over.api_key) == ("https://elsewhere", 7.0, 1, "k")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"hosts": {"a": {"hots": "x"}}}, "/hosts/a: unknown key 'hots'"),
        ({"hosts": {"a": {"role": "x"}}}, "/hosts/a: 'host' is missing"),
        ({"hosts": {"a": {"host": "x", "services": {"vault": 70000}}}}, "/hosts/a/services/vault: needs a port"),
        ({"hosts": {"a": {"host": "x", "services": {"v": {"prt": 1}}}}}, "/hosts/a/services/v: unknown key 'prt'"),
        ([], "needs an object under /hosts"),
    ],
)
def test_hosts_file_with_a_mistake_names_the_place(tmp_path: Path, document: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_hosts(write_hosts(tmp_path, document))
    assert words in caught.value.message


def test_unknown_service_names_the_nearest_and_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_service("inferance", path=write_hosts(tmp_path, HOSTS), environ={})
    assert caught.value.hint == "did you mean 'inference'?, or set INFERANCE_URL"
    with pytest.raises(ConfigError, match="INFERENCE_TIMEOUT_S: 'soon' is no number"):
        find_service("inference", path=write_hosts(tmp_path, HOSTS), environ={"INFERENCE_TIMEOUT_S": "soon"})


def test_example_hosts_file_is_valid() -> None:
    assert set(load_hosts(Path(__file__).parents[2] / "config" / "hosts.example.json")) == {"trainer", "inference"}
