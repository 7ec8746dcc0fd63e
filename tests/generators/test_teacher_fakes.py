"""The fake server is held against the providers' own SDKs: what they accept is the wire our client must speak."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from llm_server import serving

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

ASK = [{"role": "user", "content": "Say hi. @say hello there@"}]
SCHEMA = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}


@pytest.fixture(scope="module")
def server():
    with serving(key="k") as running:
        yield running


@pytest.fixture(scope="module")
def chat(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(server):
    with anthropic.Anthropic(base_url=server.url, api_key="k", max_retries=0) as client:
        yield client


def test_openai_sdk_reads_an_answer(chat):
    done = chat.chat.completions.create(model="m", messages=ASK)
    assert done.choices[0].message.content == " hello there"
    assert (done.choices[0].finish_reason, done.usage.completion_tokens) == ("stop", 2)
    assert done.usage.total_tokens == done.usage.prompt_tokens + 2


def test_openai_sdk_reads_a_stream(chat):
    events = list(
        chat.chat.completions.create(model="m", messages=ASK, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == " hello there"
    assert events[-1].usage.completion_tokens == 2


def test_openai_sdk_gets_an_instance_of_its_schema(chat):
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    done = chat.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "a word"}], response_format=form
    )
    assert done.choices[0].message.content.startswith('{"word": "text of ')


def test_anthropic_sdk_reads_an_answer(claude):
    done = claude.messages.create(model="m", max_tokens=50, messages=ASK)
    assert (done.content[0].text, done.stop_reason, done.usage.output_tokens) == (" hello there", "end_turn", 2)


def test_anthropic_sdk_reads_a_stream(claude):
    with claude.messages.stream(model="m", max_tokens=50, messages=ASK) as stream:
        assert "".join(stream.text_stream) == " hello there"
        assert stream.get_final_message().usage.output_tokens == 2


def test_anthropic_sdk_gets_an_instance_of_its_schema(claude):
    done = claude.messages.create(
        model="m",
        max_tokens=50,
        messages=[{"role": "user", "content": "a word"}],
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    assert done.content[0].text.startswith('{"word": "text of ')


@pytest.mark.parametrize(
    ("marker", "error"),
    [
        ("@429", "RateLimitError"),
        ("@500", "InternalServerError"),
        ("@400", "BadRequestError"),
        ("@404", "NotFoundError"),
    ],
)
def test_sdks_raise_the_errors_they_name(chat, claude, marker, error):
    turns = [{"role": "user", "content": f"{marker} {error}"}]
    with pytest.raises(getattr(openai, error)) as found:
        chat.chat.completions.create(model="m", messages=turns)
    if marker == "@429":
        assert found.value.response.headers["retry-after"] == "1"
    with pytest.raises(getattr(anthropic, error)):
        claude.messages.create(model="m", max_tokens=5, messages=turns)


def test_sdks_see_a_dropped_connection_and_a_wrong_key(server, chat, claude):
    turns = [{"role": "user", "content": "@drop"}]
    with pytest.raises(openai.APIConnectionError):
        chat.chat.completions.create(model="m", messages=turns)
    with pytest.raises(anthropic.APIConnectionError):
        claude.messages.create(model="m", max_tokens=5, messages=turns)
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="m", messages=ASK)
