"""Two wire formats, as pure functions: OpenAI chat.completions (vLLM, Ollama, llama.cpp too) and Anthropic messages.

A wire turns turns into a request body and a response document into a Reply; it opens no connection (client.py does).
Held against the providers' own SDKs in tests. Streaming is not spoken: a whole answer costs a fraction of the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from frontier_core.errors import ServiceDecodeError, UsageError
from frontier_core.jsonl import loads
from frontier_core.nearest import did_you_mean
from frontier_core.records import Message

ANTHROPIC_VERSION = "2023-06-01"
OPENAI_HOST = "api.openai.com"
_FORM = "KIND:MODEL@URL, e.g. openai:qwen3@http://127.0.0.1:8000, anthropic:MODEL or local:FOLDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How an answer is drawn: longest answer in tokens, temperature and top_p (None: the model's own), further keys."""

    max_tokens: int = 1024
    temperature: float | None = None
    top_p: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Gives what was asked for, without what was left to the model."""
        asked = {"max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p, **self.extra}
        return {name: value for name, value in asked.items() if value is not None}


def sampling_of(
    extra: Sequence[str], *, max_tokens: int, temperature: float | None = None, top_p: float | None = None
) -> Sampling:
    """Gives the sampling of a command line; `extra` are texts KEY=VALUE, the value as JSON or else as text.

    Raises:
        UsageError: a text has no `=`, or names a key that has its own place.
    """
    keys: dict[str, Any] = {}
    for text in extra:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--param: {text!r} is not of the form KEY=VALUE", hint="e.g. --param seed=1")
        if key in ("model", "messages", "system", "stream", "n"):
            raise UsageError(f"--param: {key!r} is not for you to set", hint="one request gives one whole answer")
        try:
            keys[key] = loads(value)
        except ValueError:
            keys[key] = value
    return Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p, extra=keys)


class Reply(NamedTuple):  # a run makes one a request, and a frozen dataclass takes five times as long
    """One answer: its text, the provider's id and model name, why it ended, and what it cost in tokens.

    `finish` is `stop`, `length` (cut off at the limit), `refusal` or the provider's own word.
    """

    text: str
    response_id: str
    model: str
    finish: str
    tokens_in: int
    tokens_out: int


class Wire(Protocol):
    """One provider's format at one address.

    `url` is where requests go, `key_env` the environment variable that usually holds the key.
    """

    kind: str
    key_env: str
    url: str

    def headers(self, key: str) -> dict[str, str]:
        """Gives the headers that carry the key; none without one."""
        ...

    def body(
        self, model: str, messages: Sequence[Message], sampling: Sampling, schema: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Gives the request body; `schema` asks for an answer of that JSON Schema."""
        ...

    def reply(self, document: Any) -> Reply:
        """Reads a response document. Raises ServiceDecodeError when it is not the promised form."""
        ...

    def batch_line(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Gives one request of the provider's batch file."""
        ...

    def batch_result(self, document: dict[str, Any]) -> tuple[Any, str]:
        """Reads a line of a batch's results: (response document or None, what went wrong)."""
        ...


class OpenAIWire:
    """`POST /v1/chat/completions`. Source: OpenAI API reference, chat.completions and batch input format."""

    kind = "openai"
    key_env = "OPENAI_API_KEY"

    def __init__(self, base: str = "") -> None:
        base = base or f"https://{OPENAI_HOST}"
        self.url = f"{base if urlsplit(base).path else base + '/v1'}/chat/completions"
        # Newer models of the provider itself refuse `max_tokens`; other servers know no other name.
        self._limit = "max_completion_tokens" if urlsplit(base).hostname == OPENAI_HOST else "max_tokens"
        self._form: dict[str, Any] | None = None  # of the last schema: a run has one

    def headers(self, key: str) -> dict[str, str]:
        """Gives a bearer token."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def body(
        self, model: str, messages: Sequence[Message], sampling: Sampling, schema: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Gives the body; a schema goes in as response_format, strict when it keeps the rules of strict."""
        asked = sampling.to_record()
        body = {"model": model, "messages": list(messages), self._limit: asked.pop("max_tokens"), **asked}
        if schema is not None:
            if self._form is None or self._form["schema"] is not schema:
                self._form = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": self._form}
        return body

    def reply(self, document: Any) -> Reply:
        """Reads choices[0]; a refusal or a content filter is finish `refusal`."""
        try:
            choice, usage = document["choices"][0], document.get("usage") or {}
            message = choice["message"]
            refusal = message.get("refusal")
            finish = "refusal" if refusal else str(choice.get("finish_reason") or "stop")
            return Reply(
                text=_text(message.get("content") or refusal or ""),
                response_id=str(document.get("id", "")),
                model=str(document.get("model", "")),
                finish="refusal" if finish == "content_filter" else finish,
                tokens_in=int(usage.get("prompt_tokens") or 0),
                tokens_out=int(usage.get("completion_tokens") or 0),
            )
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise ServiceDecodeError("the answer holds no choices[0].message") from error

    def batch_line(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Gives a line of the JSONL file that is uploaded with purpose `batch`."""
        return {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}

    def batch_result(self, document: dict[str, Any]) -> tuple[Any, str]:
        """Reads a line of the output file or of the error file."""
        response = document.get("response") or {}
        body = response.get("body")
        if response.get("status_code") == 200 and isinstance(body, dict):
            return body, ""
        return None, error_text(document.get("error")) or error_text(body) or "no response"


class AnthropicWire:
    """`POST /v1/messages`. Source: Anthropic API reference, messages, structured outputs and message batches."""

    kind = "anthropic"
    key_env = "ANTHROPIC_API_KEY"

    def __init__(self, base: str = "") -> None:
        base = base or "https://api.anthropic.com"
        self.url = f"{base.removesuffix('/v1')}/v1/messages"

    def headers(self, key: str) -> dict[str, str]:
        """Gives the key and the version of the API."""
        version = {"anthropic-version": ANTHROPIC_VERSION}
        return {"x-api-key": key, **version} if key else version

    def body(
        self, model: str, messages: Sequence[Message], sampling: Sampling, schema: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Gives the body; system turns become `system`, a schema goes in as output_config."""
        turns = [turn for turn in messages if turn["role"] != "system"]
        system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
        body = {"model": model, "messages": turns, **({"system": system} if system else {}), **sampling.to_record()}
        if schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return body

    def reply(self, document: Any) -> Reply:
        """Reads the text blocks; thinking is left out, cached input counts as input."""
        try:
            usage = document.get("usage") or {}
            cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
            ends = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}
            stop = str(document.get("stop_reason") or "end_turn")
            return Reply(
                text="".join(block["text"] for block in document["content"] if block["type"] == "text"),
                response_id=str(document.get("id", "")),
                model=str(document.get("model", "")),
                finish=ends.get(stop, stop),
                tokens_in=int(usage.get("input_tokens") or 0) + sum(int(usage.get(name) or 0) for name in cached),
                tokens_out=int(usage.get("output_tokens") or 0),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ServiceDecodeError("the answer holds no content blocks") from error

    def batch_line(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Gives an entry of the `requests` list that is posted to /v1/messages/batches."""
        return {"custom_id": key, "params": body}

    def batch_result(self, document: dict[str, Any]) -> tuple[Any, str]:
        """Reads a line of the results file."""
        result = document.get("result") or {}
        if result.get("type") == "succeeded":
            return result.get("message"), ""
        return None, error_text(result.get("error")) or str(result.get("type", "no result"))


WIRES: dict[str, type[OpenAIWire] | type[AnthropicWire]] = {"openai": OpenAIWire, "anthropic": AnthropicWire}


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A model behind an endpoint; `folder` is where a local one lies, which has no endpoint before it is started."""

    wire: Wire
    model: str
    folder: str = ""

    @property
    def name(self) -> str:
        """How a sidecar names it: kind and model."""
        return f"{'local' if self.folder else self.wire.kind}:{self.model}"


def parse_teacher(text: str) -> Teacher:
    """Reads `openai:MODEL@URL` or `anthropic:MODEL@URL`; without `@URL` the provider's own address; or `local:FOLDER`.

    Raises:
        UsageError: the text has another form; says which.
    """
    kind, colon, rest = text.partition(":")
    model, at, base = rest.rpartition("@") if "@http" in rest else (rest, "", "")
    if not colon or not model:
        raise UsageError(f"--teacher: {text!r} is not of the form KIND:MODEL@URL", hint=_FORM)
    if kind == "local":
        return Teacher(wire=OpenAIWire("http://127.0.0.1"), model=rest, folder=rest)
    if kind not in WIRES:
        raise UsageError(f"--teacher: unknown kind {kind!r}", hint=did_you_mean(kind, (*WIRES, "local")))
    try:
        parts = urlsplit(base)
        is_address = not at or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        is_address = False  # a port that is none, brackets that don't close
    if not is_address:
        raise UsageError(f"--teacher: {base!r} is no http address", hint=_FORM)
    if parts.username or parts.password:
        raise UsageError("--teacher: an address must not hold a password", hint="keys come from the environment")
    return Teacher(wire=WIRES[kind](base.rstrip("/")), model=model)


def is_strict(schema: Any) -> bool:
    """Says whether a schema keeps the rules of strict structured output: closed objects, every property required."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(is_strict, schema.values()))


def error_text(document: Any) -> str:
    """Gives the message of an error document of either provider, "" when it holds none."""
    error = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(error, dict):
        return str(error.get("message") or error.get("code") or error_text(error.get("error")) or "")
    return error if isinstance(error, str) else ""


def _text(content: Any) -> str:
    """Some servers answer with content parts instead of a text."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)
