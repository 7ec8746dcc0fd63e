"""Another server as the backend: a fake that speaks the wire protocol, our own front before it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")

from frontier_core.errors import DataError, ServiceAuthError, ServiceUnavailable
from frontier_ops.checkpoint_files import FileEntry
from frontier_ops.probe import check_probe, make_probe
from frontier_ops.releases import Release
from frontier_ops.serve_api import GenerationRequest
from frontier_ops.serve_link import WorkerDown
from frontier_ops.serve_remote import RemoteBackend


class Fake:
    """What a vLLM-like server would do; `answer` is what it says, `breaks` ends each stream before [DONE]."""

    def __init__(self) -> None:
        self.models = ["model"]
        self.answer = ["Hel", "lo"]
        self.breaks = False
        self.refuses: tuple[int, str] | None = None
        self.key = ""
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.url = ""


@contextmanager
def serving(fake: Fake) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.reply({"data": [{"id": name, "max_model_len": 512} for name in fake.models]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            fake.seen.append((self.path, body))
            if self.path.endswith("_lora_adapter"):
                fake.models = [*fake.models, body["lora_name"]] if "unload" not in self.path else fake.models[:1]
                self.reply({})
            elif self.path == "/update_weights_from_disk":
                self.reply({"success": True})
            elif fake.refuses:
                self.reply({"error": {"message": fake.refuses[1]}}, fake.refuses[0])
            else:
                self.stream(body)

        def stream(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for number, piece in enumerate(fake.answer):
                said = {"delta": {"content": piece}} if "messages" in body else {"text": piece}
                logprobs = {"content": [{"token": piece, "logprob": -0.25, "top_logprobs": [
                    {"token": piece, "logprob": -0.25}, {"token": "x", "logprob": -2.0}]}]}  # fmt: skip
                choice = {**said, "logprobs": logprobs if body.get("logprobs") else None, "finish_reason": None}
                if body.get("return_token_ids"):
                    choice["token_ids"] = [sum(map(ord, piece))]
                self.event({"choices": [choice], "prompt_token_ids": [1, 2] if number == 0 else None})
            if fake.breaks:
                return
            self.event({"choices": [{"delta": {}, "finish_reason": "length"}]})
            self.event({"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": len(fake.answer)}})
            self.wfile.write(b"data: [DONE]\n\n")

        def event(self, record: dict[str, Any]) -> None:
            self.wfile.write(b"data: " + json.dumps(record).encode() + b"\n\n")

        def reply(self, record: dict[str, Any], status: int = 200) -> None:
            if fake.key and self.headers.get("authorization") != f"Bearer {fake.key}":
                status, record = 401, {"error": {"message": "no"}}
            raw = json.dumps(record).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    with serving(made) as made.url:
        yield made


def release(*names: str) -> Release:
    files = {name: FileEntry(sha256="0" * 64, num_bytes=1) for name in names or ("config.json",)}
    return Release(
        id="0123456789ab", name="model", path=Path("/releases/0123456789ab"), files=files, source={},
        created_at="2026-11-30T00:00:00+00:00", code_version="1",
    )  # fmt: skip


def job(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "temperature": 0.0, "top_p": 1.0, "stop": (),
        "seed": 3, "stream": False, "include_usage": False,
    }  # fmt: skip
    return GenerationRequest(**values | changes).job(0)


def ask(fake: Fake, request: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    async def work() -> list[dict[str, Any]]:
        backend = RemoteBackend(options.pop("release", release()), fake.url, on_note=lambda _: None, **options)
        try:
            await backend.start()
            return [event async for event in backend.generate(request)]
        finally:
            await backend.close()

    return asyncio.run(work())


def test_an_answer_comes_back_as_the_workers_events(fake: Fake) -> None:
    events = ask(fake, job())

    assert [event["event"] for event in events] == ["text", "text", "text", "done"]
    assert "".join(event.get("text", "") for event in events) == "Hello"
    assert events[-1] == {"event": "done", "finish_reason": "length", "prompt_tokens": 2, "completion_tokens": 2}
    path, body = fake.seen[-1]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "model", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5,
        "temperature": 0.0, "top_p": 1.0, "seed": 3, "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip


def test_sampling_parameters_are_passed_on_and_texts_go_to_completions(fake: Fake) -> None:
    ask(fake, job(messages=[], prompt="once", stop=("\n",), top_k=4, presence_penalty=0.5, logit_bias={7: -1.0}))

    path, body = fake.seen[-1]
    assert path == "/v1/completions"
    assert (body["prompt"], body["stop"], body["top_k"], body["presence_penalty"]) == ("once", ["\n"], 4, 0.5)
    assert body["logit_bias"] == {"7": -1.0}


def test_a_stream_without_done_is_a_broken_one_and_a_refusal_is_the_servers_own(fake: Fake) -> None:
    fake.refuses = (400, "context too long")
    assert ask(fake, job()) == [{"event": "error", "code": "backend_refused", "message": "context too long"}]
    fake.refuses, fake.breaks = None, True
    with pytest.raises(WorkerDown):
        ask(fake, job())


def test_a_backend_that_reloaded_in_name_only_fails_the_probe(fake: Fake) -> None:
    async def work() -> tuple[list[str], list[str]]:
        backend = RemoteBackend(release(), fake.url, on_note=lambda _: None)
        await backend.start()
        probe = await make_probe(backend.generate, dtype="float32")
        same = await check_probe(backend.generate, probe, dtype="float32")
        fake.answer = ["Hel", "la"]
        stale = await check_probe(backend.generate, probe, dtype="")
        await backend.close()
        return same, stale

    same, stale = asyncio.run(work())
    assert same == []
    assert len(stale) == 3


def test_an_adapter_is_put_into_vllm_under_a_name_of_its_own_and_taken_out_again(fake: Fake) -> None:
    adapter = release("adapter_config.json", "adapter_model.safetensors")

    ask(fake, job(), release=adapter, kind="vllm")

    assert [path for path, _ in fake.seen] == [
        "/v1/load_lora_adapter", "/v1/chat/completions", "/v1/unload_lora_adapter",
    ]  # fmt: skip
    assert fake.seen[0][1] == {"lora_name": "model@0123456789ab", "lora_path": "/releases/0123456789ab"}
    assert fake.seen[1][1]["model"] == "model@0123456789ab"


def test_weights_go_into_sglang_from_disk(fake: Fake) -> None:
    ask(fake, job(), kind="sglang")
    assert fake.seen[0] == ("/update_weights_from_disk", {"model_path": "/releases/0123456789ab"})


def test_a_backend_without_the_model_a_key_it_refuses_and_none_at_all_are_said(fake: Fake) -> None:
    fake.models = ["a", "b"]
    with pytest.raises(DataError, match="serves a, b, none of it model@0123456789ab"):
        ask(fake, job())
    fake.key = "secret"
    with pytest.raises(ServiceAuthError):
        ask(fake, job())
    with pytest.raises(DataError, match="serves a, b"):
        ask(fake, job(), api_key="secret")
    gone = Fake()
    with serving(gone) as gone.url:
        pass
    with pytest.raises(ServiceUnavailable):
        ask(gone, job())
