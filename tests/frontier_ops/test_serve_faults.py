"""What a server does with long prompts, clients that leave, slow readers, too many requests and dead workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
openai = pytest.importorskip("openai")

from model_server import (  # noqa: E402
    CONTEXT_TOKENS,
    DEADLINE_S,
    MAX_WAITING,
    USER,
    Running,
    http,
    nursery_of,
    open_endless,
    text_of,
    wait_for_end,
    worker_of,
)

from frontier_ops.ask import wait_until_ready  # noqa: E402
from frontier_ops.releases import find_release  # noqa: E402

pytestmark = pytest.mark.torch


def test_long_prompts_clients_that_leave_and_slow_readers_leak_nothing(server: Running) -> None:
    """Counted with no connection open, so that not one descriptor may be left over."""

    def abuse() -> None:
        with server.client() as client:
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(model="model", messages=[{"role": "user", "content": "x" * 1_000_000}])
            open_endless(client).close()
            # A reader that takes nothing: its answer waits in the front, the worker is free for the next.
            body = json.dumps({"model": "model", "messages": USER, "max_tokens": 400, "stream": True}).encode()
            with socket.create_connection(("127.0.0.1", server.info["port"])) as slow:
                head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
                slow.sendall(head.encode() + body)
                slow.recv(1)
                assert text_of(client)

    pids = (server.info["front_pid"], server.info["worker_pid"])
    for _ in range(2):  # buffers and caches grow to what a request needs
        abuse()
    before = when_idle(server, descriptors, pids)
    memory = [resident_mb(pid) for pid in pids]
    for _ in range(5):
        abuse()

    assert when_idle(server, descriptors, pids) == before
    wait_until_none_runs(server)
    grown = [resident_mb(pid) - mb for pid, mb in zip(pids, memory, strict=True)]
    assert max(grown) < 5, grown  # five leaked prompts of 1 MB, or answers of 400 events, would be more


def when_idle(server: Running, look: Callable[[tuple[int, ...]], Any], pids: tuple[int, ...]) -> Any:
    """Gives what is seen when the kernel has no connection to the server any more."""
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        if not connections(server):
            return look(pids)
        pause.wait(0.02)
    raise AssertionError(f"{connections(server)} connections are still open")


def wait_until_none_runs(server: Running) -> None:
    """A connection is gone a moment before the request that it carried."""
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        page = http(server, "GET", "/metrics")[2]
        if b"frontier_requests_running 0" in page:
            return
        pause.wait(0.02)
    raise AssertionError(page.decode())


def connections(server: Running) -> int:
    """Counts the server's ends of connections: all sockets on its port but the listening one and those in TIME_WAIT."""
    table = Path(f"/proc/{server.info['front_pid']}/net/tcp").read_text().splitlines()[1:]
    ends = [line.split() for line in table]
    port = f"{server.info['port']:04X}"
    return sum(end[1].endswith(f":{port}") and end[3] not in ("0A", "06") for end in ends)


def descriptors(pids: tuple[int, ...]) -> list[int]:
    """Counts the open descriptors of each process."""
    return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]


def resident_mb(pid: int) -> float:
    """Gives a process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_client_that_leaves_a_stream_frees_the_worker(server: Running, client: Any) -> None:
    expected = text_of(client)

    open_endless(client).close()

    assert text_of(client) == expected  # within the client's deadline, though the stream had minutes to go
    gone = [entry for entry in server.logged() if entry["status"] == 499]
    assert gone[-1]["stream"] is True
    assert gone[-1]["completion_tokens"] == 0  # the worker was told to stop, so it never reported an end


def test_a_client_that_leaves_a_whole_answer_frees_the_worker(server: Running, client: Any) -> None:
    expected = text_of(client)
    body = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": CONTEXT_TOKENS - 100}

    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(**body)

    assert text_of(client) == expected
    assert server.logged()[-2]["status"] == 499


def test_concurrent_requests_are_answered_in_turn_and_alike(client: Any) -> None:
    expected = text_of(client)

    with ThreadPoolExecutor(1 + MAX_WAITING) as pool:
        assert list(pool.map(lambda _: text_of(client), range(1 + MAX_WAITING))) == [expected] * (1 + MAX_WAITING)


def test_beyond_the_queue_a_request_gets_429_with_retry_after_and_the_others_are_served(client: Any) -> None:
    expected = text_of(client)
    stream = open_endless(client)
    with ThreadPoolExecutor(5) as pool:
        asked: set[Future[str]] = {pool.submit(text_of, client) for _ in range(5)}
        refused: list[BaseException | None] = []
        while len(refused) < 3:
            done, asked = wait(asked, DEADLINE_S, FIRST_COMPLETED)
            assert done
            refused += [future.exception() for future in done]
        stream.close()
        answers = [future.result() for future in asked]

    assert all(isinstance(error, openai.RateLimitError) for error in refused)
    assert {error.response.headers["retry-after"] for error in refused} == {"1"}  # type: ignore[union-attr]
    assert answers == [expected] * MAX_WAITING


def test_health_answers_while_the_model_is_busy(server: Running, client: Any) -> None:
    stream = open_endless(client)

    assert http(server, "GET", "/healthz")[0] == 200
    assert http(server, "GET", "/readyz")[0] == 200
    stream.close()


@contextmanager
def out_of_reach(release: Path) -> Iterator[None]:
    """A release that can't be loaded for a while: what a server says meanwhile is no matter of its speed."""
    hidden = release.with_name("hidden")
    release.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(release)


def test_a_killed_worker_breaks_the_stream_gives_503_and_comes_back_with_the_same_release(
    server: Running, client: Any, target: Path
) -> None:
    expected = text_of(client)
    first = find_release(target)
    stream = open_endless(client)

    with out_of_reach(first.path):
        os.kill(worker_of(server), signal.SIGKILL)
        with pytest.raises(openai.APIError, match="being loaded"):
            list(stream)
        with pytest.raises(openai.InternalServerError) as caught:
            text_of(client)
        readiness, health = http(server, "GET", "/readyz")[0], http(server, "GET", "/healthz")[0]
    wait_until_ready(server.url, timeout_s=DEADLINE_S)

    assert (caught.value.status_code, caught.value.code) == (503, "model_not_ready")
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert (readiness, health) == (503, 200)
    assert text_of(client) == expected
    assert http(server, "GET", "/healthz")[1]["x-frontier-release"] == first.id
    assert "ended with status -9" in server.stderr.read_text()


def test_workers_outlive_the_process_they_are_forked_from_and_the_next_comes_from_a_new_one(
    server: Running, client: Any
) -> None:
    expected = text_of(client)
    nursery, worker = nursery_of(server), worker_of(server)

    os.kill(nursery, signal.SIGKILL)
    wait_for_end(nursery)
    answered = text_of(client)
    os.kill(worker, signal.SIGKILL)
    wait_for_end(worker)
    until_refused_or_answered(client)
    wait_until_ready(server.url, timeout_s=DEADLINE_S)

    assert [answered, text_of(client)] == [expected, expected]
    assert nursery_of(server) != nursery
    assert worker_of(server) != worker


def until_refused_or_answered(client: Any) -> None:
    """Asks once: when the answer is here, the front has noticed that a worker is gone."""
    with suppress(openai.InternalServerError):
        text_of(client)


def test_a_worker_does_not_outlive_a_front_that_is_killed(server: Running) -> None:
    nursery, worker = nursery_of(server), worker_of(server)

    server.process.kill()

    wait_for_end(worker)
    wait_for_end(nursery)
