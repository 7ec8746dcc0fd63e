"""The server as its users meet it: a real process on loopback, a real (tiny) model, the real openai client."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
openai = pytest.importorskip("openai")

from frontier_core.errors import DataError, ServiceHttpError, ServiceUnavailable, UsageError  # noqa: E402
from frontier_ops.ask import ask, wait_until_ready  # noqa: E402
from frontier_ops.deploy import deploy, prepare, rollback  # noqa: E402
from frontier_ops.probe import probe_folder  # noqa: E402
from frontier_ops.releases import find_release  # noqa: E402
from frontier_ops.serve import ServeOptions, serve  # noqa: E402

pytestmark = pytest.mark.torch

DEADLINE_S = 240.0
CONTEXT_TOKENS = 30_000
MAX_WAITING = 2
USER = [{"role": "user", "content": "hi"}]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SERVER = """
import dataclasses, json, sys
from pathlib import Path
from frontier_ops.serve import ServeOptions, serve
target, log, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
def say(info): print(json.dumps(dataclasses.asdict(info)), flush=True)
def note(text): print(text, file=sys.stderr, flush=True)
serve(target, options=ServeOptions(port=0, **options), on_ready=say, request_log=log, on_note=note)
"""


def make_model(folder: Path, *, seed: int) -> Path:
    """A random two-layer Qwen3 (8,864 parameters) with one token per byte, saved as an ordinary directory."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"], chat_template=TEMPLATE,
    )  # fmt: skip
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=CONTEXT_TOKENS, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
        # With tied embeddings a zero row scores zero: the end mark is never the likeliest, so answers run to the limit.
        model.get_input_embeddings().weight[tokenizer.eos_token_id] = 0
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def one_thread() -> Iterator[None]:
    """Two threads of a tiny model wait for each other longer than they count."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def greedy_by_transformers(folder: Path, text: str, num_tokens: int) -> str:
    """What transformers' own generate says: the yard-stick for our decoding loop."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with one_thread():
        made = model.generate(ids, do_sample=False, max_new_tokens=num_tokens, attention_mask=ids.new_ones(ids.shape))
    return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))


@dataclass
class Running:
    process: subprocess.Popen[str]
    info: dict[str, Any]
    log: Path
    stderr: Path

    @property
    def url(self) -> str:
        return str(self.info["url"])

    def client(self, **options: Any) -> Any:
        options = {"max_retries": 0, "timeout": DEADLINE_S} | options
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", **options)

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running(target: Path, folder: Path, **options: Any) -> Iterator[Running]:
    """A server that answers; whatever happens, it is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    log, stderr = folder / "requests.jsonl", folder / "stderr"
    with stderr.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(target), str(log), json.dumps(options)],
            stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        lines: Queue[str] = Queue()
        reader = threading.Thread(target=lambda: lines.put(process.stdout.readline()))
        reader.start()
        line = lines.get(timeout=DEADLINE_S)
        reader.join()
        assert line, stderr.read_text()
        yield Running(process, json.loads(line), log, stderr)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        process.stdout.close()


def wait_for_end(pid: int) -> None:
    """Returns when the process is gone; fails after the deadline."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], DEADLINE_S)[0], f"process {pid} still lives"
    finally:
        os.close(descriptor)


def text_of(client: Any, **options: Any) -> str:
    options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 24} | options
    return str(client.chat.completions.create(**options).choices[0].message.content)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="session")
def model(home: Path) -> Path:
    return make_model(home / "model", seed=1)


@pytest.fixture(scope="session")
def target(home: Path, model: Path) -> Path:
    deploy(model, home / "target")
    return home / "target"


@pytest.fixture(scope="session")
def server(home: Path, target: Path) -> Iterator[Running]:
    with running(target, home / "server", max_waiting=MAX_WAITING) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with server.client() as client:
        yield client


def test_an_answer_is_what_transformers_generates_greedily(client: Any, model: Path) -> None:
    answer = client.chat.completions.create(model="model", messages=USER, temperature=0, max_tokens=24)

    assert answer.choices[0].message.content == greedy_by_transformers(model, "hi", 24)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.object == "chat.completion"
    # 21 = <|im_start|> "user\n" "hi" <|im_end|> "\n" <|im_start|> "assistant\n"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (21, 24, 45)


def test_a_stream_brings_the_same_text_in_pieces_then_the_reason_then_usage(client: Any) -> None:
    whole = text_of(client)
    options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 24, "stream": True}

    chunks = list(client.chat.completions.create(**options, stream_options={"include_usage": True}))

    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks[:-1]) > 5
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert chunks[-1].choices == []
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (21, 24)
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.usage for chunk in list(client.chat.completions.create(**options))] == [None] * (len(chunks) - 1)


def test_a_stream_ends_with_done_on_the_wire(server: Running) -> None:
    body = json.dumps({"model": "model", "messages": USER, "max_tokens": 2, "stream": True})

    status, headers, raw = http(server, "POST", "/v1/chat/completions", body.encode())

    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    events = raw.decode().split("\n\n")
    assert all(event.startswith("data: {") for event in events[:-2])
    assert events[-2:] == ["data: [DONE]", ""]


def test_an_answer_ends_before_a_stop_string_streamed_or_not(client: Any) -> None:
    whole = text_of(client)
    stop = whole[7:9]
    expected = whole[: whole.index(stop)]
    options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 24}

    answer = client.chat.completions.create(**options, stop=stop)
    chunks = list(client.chat.completions.create(**options, stop=["never seen", stop], stream=True))

    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (expected, "stop")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_temperature_and_seed_are_honoured(client: Any) -> None:
    def drawn(**options: Any) -> str:
        return text_of(client, temperature=1.5, max_tokens=12, **options)

    by_seed = [drawn(seed=seed) for seed in range(5)]

    assert len(set(by_seed)) == 5
    assert [drawn(seed=seed) for seed in range(5)] == by_seed
    assert drawn() != drawn()
    assert drawn(seed=1, top_p=0) == text_of(client, max_tokens=12)


def test_max_completion_tokens_limits_the_answer(client: Any) -> None:
    answer = client.chat.completions.create(model="model", messages=USER, max_completion_tokens=3)

    assert answer.usage.completion_tokens == 3


def test_a_conversation_is_rendered_by_the_models_own_template(client: Any) -> None:
    turns = [{"role": "system", "content": "s"}, *USER, {"role": "assistant", "content": "ok"}, *USER]

    answer = client.chat.completions.create(model="model", messages=turns, max_tokens=1)

    # one token per byte and per mark: "<|im_start|>system\ns<|im_end|>\n" has 1 + 7 + 1 + 1 + 1
    assert answer.usage.prompt_tokens == 11 + 10 + 15 + 10 + 11


def test_models_are_listed_with_lineage_and_answer_to_every_name(client: Any, target: Path, model: Path) -> None:
    release = find_release(target)

    (listed,) = client.models.list().data

    assert listed.id == f"model@{release.id}"
    assert listed.lineage["source"] == {"checkpoint": str(model)}
    assert listed.num_parameters == 8864
    assert client.models.retrieve("model").id == listed.id
    assert {text_of(client, model=name) for name in (listed.id, "model", release.id)} == {text_of(client)}
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt")


def test_every_answer_names_the_release_and_a_request_id(client: Any, server: Running, target: Path) -> None:
    raw = client.chat.completions.with_raw_response.create(model="model", messages=USER, max_tokens=1)

    assert raw.headers["x-frontier-release"] == find_release(target).id
    assert len(raw.headers["x-request-id"]) == 24
    assert raw.parse().system_fingerprint == f"frontier-{find_release(target).id}"
    for path in ("/healthz", "/nowhere", "/v1/models"):
        assert http(server, "GET", path)[1]["x-frontier-release"] == find_release(target).id


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"messages": [*USER, {"role": "robot", "content": "x"}]}, "messages[1].role"),
        ({"temperature": 9}, "temperature"),
        ({"extra_body": {"guided_regex": "a"}}, "guided_regex"),
    ],
)
def test_what_is_not_supported_raises_bad_request_in_the_client(
    client: Any, options: dict[str, Any], param: str
) -> None:  # fmt: skip
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**({"model": "model", "messages": USER} | options))

    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_text_is_completed_as_it_stands(client: Any, model: Path) -> None:
    prompt = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"

    answer = client.completions.create(model="model", prompt=prompt, temperature=0, max_tokens=24)
    chunks = list(client.completions.create(model="model", prompt=prompt, temperature=0, max_tokens=24, stream=True))

    assert answer.object == "text_completion"
    assert answer.choices[0].text == greedy_by_transformers(model, "hi", 24)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (21, 24)
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_log_probabilities_are_those_of_the_model_and_name_the_alternatives(client: Any) -> None:
    options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 6, "logprobs": True}

    whole = client.chat.completions.create(**options, top_logprobs=3).choices[0]
    chunks = list(client.chat.completions.create(**options, top_logprobs=3, stream=True))

    tokens = whole.logprobs.content
    assert len(tokens) == 6
    assert all(token.logprob == token.top_logprobs[0].logprob for token in tokens)  # greedy takes the likeliest
    assert [len(token.top_logprobs) for token in tokens] == [3] * 6
    streamed = [token for chunk in chunks if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
    assert [(token.token, token.logprob) for token in streamed] == [(token.token, token.logprob) for token in tokens]


def test_token_ids_come_back_when_they_are_asked_for(client: Any) -> None:
    answer = client.chat.completions.create(
        model="model", messages=USER, temperature=0, max_tokens=5, extra_body={"return_token_ids": True}
    )

    assert len(answer.prompt_token_ids) == 21
    assert len(answer.choices[0].token_ids) == 5


def test_cuts_and_penalties_are_honoured(client: Any) -> None:
    greedy = client.chat.completions.create(
        model="model", messages=USER, temperature=0, max_tokens=8, extra_body={"return_token_ids": True}
    )
    first = greedy.choices[0].token_ids[0]

    assert text_of(client, temperature=1.5, max_tokens=8, seed=1, extra_body={"top_k": 1}) == text_of(
        client, max_tokens=8
    )
    assert text_of(client, temperature=1.5, max_tokens=8, seed=1, extra_body={"min_p": 1.0}) == text_of(
        client, max_tokens=8
    )
    banned = client.chat.completions.create(
        model="model", messages=USER, temperature=0, max_tokens=8, logit_bias={str(first): -100},
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    assert first not in banned.choices[0].token_ids
    penalised = client.chat.completions.create(
        model="model", messages=USER, temperature=0, max_tokens=40, presence_penalty=2, frequency_penalty=2,
        extra_body={"return_token_ids": True, "repetition_penalty": 2},
    )  # fmt: skip
    assert len(set(penalised.choices[0].token_ids)) > len(set(greedy.choices[0].token_ids))


def test_metrics_count_requests_tokens_and_latency(server: Running, client: Any, target: Path) -> None:
    def value(name: str) -> float:
        page = http(server, "GET", "/metrics")[2].decode()
        return float(next(line for line in page.splitlines() if line.startswith(name)).split()[-1])

    release = find_release(target).id
    before = value('frontier_tokens_total{kind="completion"}')
    text_of(client, max_tokens=4)

    assert value('frontier_tokens_total{kind="completion"}') == before + 4
    assert value(f'frontier_requests_total{{status="200",release="{release}"}}') >= 1
    assert value("frontier_request_latency_seconds_count") >= 1
    assert value("frontier_requests_running") == 0


SPARE = 2
"""Connections a client's pool may hold open more or less; five rounds of a leak would be five."""


def test_long_prompts_clients_that_leave_and_slow_readers_leak_nothing(server: Running, client: Any) -> None:
    front = server.info["front_pid"]

    def descriptors() -> int:
        return len(list(Path(f"/proc/{front}/fd").iterdir()))

    def resident_mb() -> float:
        pages = int(Path(f"/proc/{front}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def abuse() -> None:
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

    abuse()
    text_of(client)
    before, memory = descriptors(), resident_mb()
    for _ in range(5):
        abuse()
    assert text_of(client)
    deadline = threading.Event()
    for _ in range(200):
        if descriptors() <= before + SPARE and b"frontier_requests_running 0" in http(server, "GET", "/metrics")[2]:
            break
        deadline.wait(0.05)
    assert descriptors() <= before + SPARE
    assert resident_mb() - memory < 20


def test_an_unknown_model_raises_not_found_in_the_client(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        text_of(client, model="gpt")

    assert caught.value.code == "model_not_found"


def test_a_prompt_longer_than_the_context_is_a_400_streamed_or_not(client: Any) -> None:
    long = [{"role": "user", "content": "x" * CONTEXT_TOKENS}]

    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="model", messages=long, stream=stream)
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"", 400),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400),
        ("POST", "/v1/chat/completions", b"x" * (9 << 20), 413),
        ("GET", "/v1/chat/completions", b"", 405),
        ("POST", "/v1/embeddings", b"{}", 404),
        ("GET", "/", b"", 404),
    ],
    ids=["torn", "empty", "binary", "too long", "wrong method", "no such route", "root"],
)
def test_bad_input_gets_a_4xx_in_the_openai_error_form(
    server: Running, method: str, path: str, body: bytes, status: int
) -> None:  # fmt: skip
    got, _, raw = http(server, method, path, body)

    assert got == status
    assert set(json.loads(raw)["error"]) == {"message", "type", "param", "code"}


def http(server: Running, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", server.info["port"], timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def open_endless(client: Any) -> Any:
    """A stream that would take minutes to end, its first text already here."""
    stream = client.chat.completions.create(
        model="model", messages=USER, temperature=0, max_tokens=CONTEXT_TOKENS - 100, stream=True
    )
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    return stream


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


def test_the_request_log_tells_counts_and_outcome_but_no_text(server: Running, client: Any, target: Path) -> None:
    text_of(client, messages=[{"role": "user", "content": "a secret question"}], max_tokens=4)

    entry = server.logged()[-1]

    assert {key: entry[key] for key in ("release", "status", "stream", "completion_tokens", "finish_reason")} == {
        "release": find_release(target).id, "status": 200, "stream": False, "completion_tokens": 4,
        "finish_reason": "length",
    }  # fmt: skip
    assert 0 < entry["first_token_s"] <= entry["latency_s"] < DEADLINE_S
    assert "secret" not in server.log.read_text()


def test_the_front_holds_no_torch(server: Running) -> None:
    assert "libtorch" not in Path(f"/proc/{server.info['front_pid']}/maps").read_text()
    assert "libtorch" in Path(f"/proc/{server.info['worker_pid']}/maps").read_text()


def test_ask_gives_the_greedy_answer_over_http(server: Running, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nothing listens there; loopback must not go through it

    assert ask(server.url, "hi", max_tokens=24) == text_of(client)
    assert ask(f"{server.url}/v1/", "hi", max_tokens=24) == text_of(client)
    with pytest.raises(ServiceHttpError) as caught:
        ask(server.url, "x" * CONTEXT_TOKENS)
    assert (caught.value.status, "context ends at" in caught.value.hint) == (400, True)


def test_ask_says_when_nobody_answers_and_what_is_no_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: a connection is refused
        with pytest.raises(ServiceUnavailable):
            ask(f"http://127.0.0.1:{unused.getsockname()[1]}", "hi")
        with pytest.raises(ServiceUnavailable, match="not ready after 0 s"):
            wait_until_ready(f"http://127.0.0.1:{unused.getsockname()[1]}", timeout_s=0)
    with pytest.raises(UsageError, match="is no http address"):
        ask("file:///etc/hostname", "hi")


# The last two of the shared server: one kills its worker, the other the server itself.
def test_a_killed_worker_breaks_the_stream_gives_503_and_comes_back_with_the_same_release(
    server: Running, client: Any, target: Path
) -> None:
    expected = text_of(client)
    first = find_release(target).id
    stream = open_endless(client)

    os.kill(worker_of(server), signal.SIGKILL)

    with pytest.raises(openai.APIError, match="being loaded"):
        list(stream)
    with pytest.raises(openai.InternalServerError) as caught:
        text_of(client)
    assert (caught.value.status_code, caught.value.code) == (503, "model_not_ready")
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert http(server, "GET", "/readyz")[0] == 503
    assert http(server, "GET", "/healthz")[0] == 200
    wait_until_ready(server.url, timeout_s=DEADLINE_S)
    assert text_of(client) == expected
    assert http(server, "GET", "/healthz")[1]["x-frontier-release"] == first
    assert "ended with status -9" in server.stderr.read_text()


def worker_of(server: Running) -> int:
    front = server.info["front_pid"]
    (child,) = Path(f"/proc/{front}/task/{front}/children").read_text().split()
    return int(child)


def test_a_worker_does_not_outlive_a_front_that_is_killed(server: Running) -> None:
    worker = worker_of(server)

    server.process.kill()

    wait_for_end(worker)


def test_sigterm_finishes_the_running_answer_takes_no_new_one_and_exits_0(home: Path, target: Path) -> None:
    options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 300}
    with running(target, home / "sigterm") as server, server.client() as client:
        stream = client.chat.completions.create(**options, stream=True)
        chunks = [next(stream)]

        server.process.send_signal(signal.SIGTERM)
        chunks += list(stream)

        assert chunks[-1].choices[0].finish_reason == "length"
        assert server.process.wait(DEADLINE_S) == 0
        wait_for_end(server.info["worker_pid"])
        with pytest.raises(openai.APIConnectionError):
            text_of(client)
    assert server.logged()[-1]["completion_tokens"] == 300
    assert server.stderr.read_text() == ""


@pytest.mark.slow
def test_a_second_signal_ends_a_long_answer_at_once(home: Path, target: Path) -> None:
    with running(target, home / "twice", grace_s=600) as server, server.client() as client:
        stream = open_endless(client)
        server.process.send_signal(signal.SIGINT)
        while True:  # the first signal closes the door ...
            try:
                socket.create_connection(("127.0.0.1", server.info["port"])).close()
            except ConnectionError:  # refused; reset when it had stood in the queue of the door
                break

        server.process.send_signal(signal.SIGINT)  # ... the second ends what is left

        assert server.process.wait(DEADLINE_S) == 0
        wait_for_end(server.info["worker_pid"])
        stream.close()


@pytest.mark.slow
def test_a_release_that_cant_be_loaded_is_an_error_in_the_workers_words(tmp_path: Path, model: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, tmp_path / "holed")
    weights = load_file(tmp_path / "holed" / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "holed" / "model.safetensors", metadata={"format": "pt"})
    deploy(tmp_path / "holed", tmp_path / "target")

    with pytest.raises(DataError, match=r"lack 1 tensors of the model, e.g. model\.layers\.1\.mlp\.up_proj\.weight"):
        serve(tmp_path / "target", options=ServeOptions(port=0), on_ready=lambda _: None)


def test_a_damaged_release_a_missing_one_and_a_taken_port_are_refused_before_loading(
    tmp_path: Path, target: Path
) -> None:  # fmt: skip
    shutil.copytree(target, tmp_path / "target", symlinks=True)
    weights = tmp_path / "target" / "current" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(data)

    with pytest.raises(DataError, match=r"model\.safetensors: other content of the same size"):
        serve(tmp_path / "target", options=ServeOptions(port=0), on_ready=lambda _: None)
    with pytest.raises(UsageError, match="no release 'ffff'"):
        serve(target, release="ffff", options=ServeOptions(port=0), on_ready=lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UsageError, match="in use"):
        serve(target, options=ServeOptions(port=other.getsockname()[1]), on_ready=lambda _: None)


def test_importing_serve_deploy_and_ask_imports_no_heavy_module() -> None:
    code = (
        "import sys, frontier_ops.serve, frontier_ops.deploy, frontier_ops.ask;"
        "print({'torch', 'transformers', 'starlette', 'uvicorn', 'typer', 'rich'} & set(sys.modules))"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.slow
def test_a_deployed_release_takes_over_under_load_and_a_wrong_one_never_does(home: Path, model: Path) -> None:
    """The same with 100 swaps, four clients and six kinds of bad release: benchmarks/serving.py."""
    target = home / "swap"
    second = make_model(home / "swap2", seed=2)
    first_release = deploy(model, target, shipment=prepare(model, probe=lambda at, how: probe_folder(at, profile=how)))
    with running(target, home / "swapping") as server, server.client() as client:
        old, new = text_of(client), greedy_by_transformers(second, "hi", 24)
        stop = threading.Event()

        def load(stream: bool) -> list[str]:
            said = []
            while not stop.is_set():
                options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 24}
                answer = client.chat.completions.create(**options, stream=stream)
                if stream:
                    said.append("".join(chunk.choices[0].delta.content or "" for chunk in answer))
                else:
                    said.append(answer.choices[0].message.content)
            return said

        with ThreadPoolExecutor(2) as pool:
            clients = [pool.submit(load, stream) for stream in (False, True)]
            try:
                release = deploy(second, target).release
                wait_for_release(server, release)
                assert text_of(client) == new
                # The first model's probe with the second's weights: what a stale or foreign file would be.
                spoilt = home / "spoilt"
                shutil.copytree(second, spoilt)
                (spoilt / "generation_config.json").unlink(missing_ok=True)
                (spoilt / "probe.json").write_text(json.dumps(find_release(target, first_release.release).probe))
                bad = deploy(spoilt, target).release
                wait_for_rejection(server, bad)
                assert text_of(client) == new
                rollback(target, first_release.release)
                wait_for_release(server, first_release.release)
            finally:
                stop.set()
            answers = [text for future in clients for text in future.result()]
        assert set(answers) <= {old, new}
        assert text_of(client) == old
        assert {entry["status"] for entry in server.logged()} == {200}
    assert "does not reproduce its golden probe: probe 1: token" in server.stderr.read_text()


def ready_state(server: Running) -> dict[str, Any]:
    return dict(json.loads(http(server, "GET", "/readyz")[2]))


def wait_for_release(server: Running, release: str) -> None:
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if ready_state(server)["release"] == release:
            return
        pause.wait(0.05)
    raise AssertionError(ready_state(server))


def wait_for_rejection(server: Running, release: str) -> None:
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if release in ready_state(server)["rejected"]:
            return
        pause.wait(0.05)
    raise AssertionError(ready_state(server))
