"""The OpenAI chat completion wire format: reading a request strictly, writing answers, chunks and errors.

A parameter that would change the answer and is not implemented is refused, never ignored: a caller who asked for JSON
mode must not get prose with status 200. Pure functions; the server is serve_app.py. Tool calls, logprobs and several
choices are not covered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from frontier_core.jsonl import loads
from frontier_core.nearest import did_you_mean
from frontier_core.records import Message, Record

ROLES = ("system", "user", "assistant")
MAX_STOPS = 4
SEED_RANGE = (-(2**63), 2**64 - 1)

KNOWN = (
    "model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "n", "stream",
    "stream_options", "seed",
)  # fmt: skip

WITHOUT_EFFECT = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "parallel_tool_calls",
)  # fmt: skip
"""Parameters that say nothing about the answer's text; taken and passed over."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
}
"""Parameters that are not implemented, with the values that ask for nothing; null asks for nothing too."""


class ApiError(Exception):
    """A refusal in the OpenAI form: {"error": {message, type, param, code}} with an HTTP status."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> Record:
        """Gives the JSON body."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A checked request. `max_tokens` is None when the client sets no limit, `seed` None when any will do."""

    messages: list[Message]
    max_tokens: int | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None
    stream: bool
    include_usage: bool


def parse_request(raw: bytes, model_names: Collection[str]) -> ChatRequest:
    """Reads the body of POST /v1/chat/completions.

    Args:
        raw: the bytes as they came.
        model_names: names the served model answers to.
    Raises:
        ApiError: 400 with `param` naming what is wrong, 404 for another model.
    """
    try:
        body = loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "the body is not valid JSON", code="invalid_json") from error
    if not isinstance(body, dict):
        raise ApiError(400, "the body is not a JSON object", code="invalid_json")
    body = {key: value for key, value in body.items() if value is not None}
    _refuse_unsupported(body)
    _check_model(body.get("model"), model_names)
    stream = _boolean(body, "stream")
    options = body.get("stream_options", {})
    if not isinstance(options, dict) or (options and not stream):
        raise ApiError(400, "stream_options is an object and needs stream: true", param="stream_options")
    for key in options:
        if key not in ("include_usage", "include_obfuscation"):
            raise ApiError(400, f"unknown stream option {key!r}", param=f"stream_options.{key}")
    limit = _whole(body, "max_completion_tokens", 1, 2**31)
    return ChatRequest(
        messages=_messages(body.get("messages")),
        max_tokens=_whole(body, "max_tokens", 1, 2**31) if limit is None else limit,
        temperature=_number(body, "temperature", 2.0),
        top_p=_number(body, "top_p", 1.0),
        stop=_stops(body.get("stop", [])),
        seed=_whole(body, "seed", *SEED_RANGE),
        stream=stream,
        include_usage=_boolean(options, "include_usage"),
    )


def _refuse_unsupported(body: Mapping[str, Any]) -> None:
    for key, value in body.items():
        if key in NEUTRAL:
            if not any(type(value) in (type(neutral), float) and value == neutral for neutral in NEUTRAL[key]):
                raise ApiError(
                    400, f"{key} is not supported by this server", param=key, code="unsupported_parameter"
                )  # fmt: skip
        elif key not in KNOWN and key not in WITHOUT_EFFECT:
            hint = did_you_mean(key, KNOWN)
            message = f"unknown parameter {key!r}" + (f" ({hint})" if hint else "")
            raise ApiError(400, message, param=key, code="unknown_parameter")


def _check_model(name: Any, model_names: Collection[str]) -> None:
    if not isinstance(name, str) or not name:
        raise ApiError(400, "model is missing: give a model's name", param="model", code="missing_model")
    if name not in model_names:
        known = ", ".join(sorted(model_names))
        raise ApiError(404, f"no model {name!r} here; known: {known}", param="model", code="model_not_found")


def _messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ApiError(400, "messages is missing or empty: a list of {role, content}", param="messages")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(value)]


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise ApiError(400, f"{where} is not an object", param=where)
    role = message.get("role")
    if role not in ROLES:
        raise ApiError(400, f"{where}.role is {role!r}; known: {', '.join(ROLES)}", param=f"{where}.role")
    for key, value in message.items():
        if key not in ("role", "content", "name", "refusal", "annotations", "audio") and value not in (None, []):
            raise ApiError(
                400, f"{where}.{key} is not supported by this server", param=f"{where}.{key}",
                code="unsupported_parameter",
            )  # fmt: skip
    return {"role": role, "content": _content(message.get("content"), f"{where}.content")}


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise ApiError(400, f"{where} is neither text nor a list of text parts", param=where)
    texts: list[str] = []
    for index, part in enumerate(value):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise ApiError(400, f"{where}[{index}] is no text part; only text is supported", param=f"{where}[{index}]")
        texts.append(text)
    return "".join(texts)


def _number(body: Mapping[str, Any], key: str, highest: float) -> float:
    """Reads a number in [0, highest]; absent is 1, as OpenAI defines for both temperature and top_p."""
    value = body.get(key, 1.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= highest:
        raise ApiError(400, f"{key} must be a number from 0 to {highest:g}", param=key, code="invalid_value")
    return float(value)


def _whole(body: Mapping[str, Any], key: str, lowest: int, highest: int) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ApiError(400, f"{key} must be a whole number from {lowest} to {highest}", param=key, code="invalid_value")
    return value


def _boolean(body: Mapping[str, Any], key: str) -> bool:
    value = body.get(key, False)
    if not isinstance(value, bool):
        raise ApiError(400, f"{key} must be true or false", param=key, code="invalid_value")
    return value


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(s, str) and s for s in stops):
        message = f"stop must be a non-empty string or a list of up to {MAX_STOPS} such"
        raise ApiError(400, message, param="stop", code="invalid_value")
    return tuple(stops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every object of one answer has in common."""

    id: str
    created: int
    model: str
    fingerprint: str

    def completion(self, text: str, finish_reason: str, usage: Record) -> Record:
        """Gives the whole answer of a request without streaming."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage}

    def chunk(self, delta: Record, finish_reason: str | None = None, *, include_usage: bool = False) -> Record:
        """Gives one streamed piece; with `include_usage` it carries the null that announces a usage chunk."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        extra: Record = {"usage": None} if include_usage else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **extra}

    def usage_chunk(self, usage: Record) -> Record:
        """Gives the last chunk of a stream that asked for usage: no choices."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}

    def _head(self, kind: str) -> Record:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def usage_of(prompt_tokens: int, completion_tokens: int) -> Record:
    """Gives the usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
