"""What OpenAI's own client gets from a server: answers, streams, refusals, and what the server tells of them."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
openai = pytest.importorskip("openai")

from model_server import CONTEXT_TOKENS, DEADLINE_S, USER, Running, greedy_by_transformers, http, text_of  # noqa: E402

from frontier_core.errors import ServiceHttpError, ServiceUnavailable, UsageError  # noqa: E402
from frontier_ops.ask import ask, wait_until_ready  # noqa: E402
from frontier_ops.releases import find_release  # noqa: E402

pytestmark = pytest.mark.torch


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
