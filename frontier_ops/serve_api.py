"""The OpenAI completion wire formats: reading a request strictly. Answers are written in serve_wire.py.

A parameter that would change the answer and is not implemented is refused, never ignored: a caller who asked for JSON
mode must not get prose with status 200. Pure functions; the server is serve_app.py. Tool calls and several choices are
not covered. `top_k`, `min_p`, `repetition_penalty` and `return_token_ids` are taken under the names vLLM gives them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from frontier_core.jsonl import loads
from frontier_core.nearest import did_you_mean
from frontier_core.records import Message, Record

ROLES = ("system", "user", "assistant")
MAX_STOPS = 4
SEED_RANGE = (-(2**63), 2**64 - 1)

MAX_TOP_LOGPROBS = {"chat": 20, "text": 5}
MAX_LOGIT_BIAS = 300

_SHARED = (
    "model", "max_tokens", "temperature", "top_p", "top_k", "min_p", "stop", "n", "stream", "stream_options", "seed",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "return_token_ids",
)  # fmt: skip
KNOWN = {
    "chat": (*_SHARED, "messages", "max_completion_tokens", "top_logprobs"),
    "text": (*_SHARED, "prompt"),
}
"""Parameters of each kind of request: POST /v1/chat/completions, POST /v1/completions."""

WITHOUT_EFFECT = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "parallel_tool_calls",
)  # fmt: skip
"""Parameters that say nothing about the answer's text; taken and passed over."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
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
class GenerationRequest:
    """A checked request.

    `max_tokens` is None when the client sets no limit, `seed` None when any will do; `prompt` is of a text completion:
    text or token ids, None in a conversation. `top_k` 0, `min_p` 0 and `repetition_penalty` 1 change nothing.
    `top_logprobs` is how many alternatives are told with each token, None when no log-probabilities are asked for.
    """

    messages: list[Message]
    max_tokens: int | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None
    stream: bool
    include_usage: bool
    prompt: str | tuple[int, ...] | None = None
    model: str = ""
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    return_token_ids: bool = False

    def job(self, seed: int) -> Record:
        """Gives the request as a worker reads it; `seed` is taken where the client gave none."""
        return {
            "messages": self.messages,
            "prompt": list(self.prompt) if isinstance(self.prompt, tuple) else self.prompt,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "repetition_penalty": self.repetition_penalty,
            "logit_bias": {str(token): bias for token, bias in self.logit_bias.items()},
            "stop": list(self.stop),
            "seed": seed if self.seed is None else self.seed,
            "top_logprobs": self.top_logprobs,
            "return_token_ids": self.return_token_ids,
        }


def parse_request(raw: bytes, model_names: Collection[str], kind: str = "chat") -> GenerationRequest:
    """Reads the body of POST /v1/chat/completions (kind "chat") or /v1/completions (kind "text").

    Args:
        raw: the bytes as they came.
        model_names: names the served model answers to.
        kind: which of the two.
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
    _refuse_unsupported(body, KNOWN[kind])
    _check_model(body.get("model"), model_names)
    stream = _boolean(body, "stream")
    options = body.get("stream_options", {})
    if not isinstance(options, dict) or (options and not stream):
        raise ApiError(400, "stream_options is an object and needs stream: true", param="stream_options")
    for key in options:
        if key not in ("include_usage", "include_obfuscation"):
            raise ApiError(400, f"unknown stream option {key!r}", param=f"stream_options.{key}")
    limit = _whole(body, "max_completion_tokens", 1, 2**31)
    return GenerationRequest(
        model=body["model"],
        messages=_messages(body.get("messages")) if kind == "chat" else [],
        prompt=None if kind == "chat" else _prompt(body.get("prompt")),
        max_tokens=_whole(body, "max_tokens", 1, 2**31) if limit is None else limit,
        temperature=_number(body, "temperature", 2.0),
        top_p=_number(body, "top_p", 1.0),
        top_k=max(0, _whole(body, "top_k", -1, 2**31) or 0),
        min_p=_number(body, "min_p", 1.0, absent=0.0),
        presence_penalty=_number(body, "presence_penalty", 2.0, lowest=-2.0, absent=0.0),
        frequency_penalty=_number(body, "frequency_penalty", 2.0, lowest=-2.0, absent=0.0),
        repetition_penalty=_number(body, "repetition_penalty", 10.0, lowest=0.01),
        logit_bias=_logit_bias(body.get("logit_bias", {})),
        top_logprobs=_top_logprobs(body, kind),
        return_token_ids=_boolean(body, "return_token_ids"),
        stop=_stops(body.get("stop", [])),
        seed=_whole(body, "seed", *SEED_RANGE),
        stream=stream,
        include_usage=_boolean(options, "include_usage"),
    )


def _refuse_unsupported(body: Mapping[str, Any], known: Collection[str]) -> None:
    for key, value in body.items():
        if key in NEUTRAL:
            if not any(type(value) in (type(neutral), float) and value == neutral for neutral in NEUTRAL[key]):
                raise ApiError(
                    400, f"{key} is not supported by this server", param=key, code="unsupported_parameter"
                )  # fmt: skip
        elif key not in known and key not in WITHOUT_EFFECT:
            hint = did_you_mean(key, known)
            message = f"unknown parameter {key!r}" + (f" ({hint})" if hint else "")
            raise ApiError(400, message, param=key, code="unknown_parameter")


def _check_model(name: Any, model_names: Collection[str]) -> None:
    if not isinstance(name, str) or not name:
        raise ApiError(400, "model is missing: give a model's name", param="model", code="missing_model")
    if name not in model_names:
        known = ", ".join(sorted(model_names))
        raise ApiError(404, f"no model {name!r} here; known: {known}", param="model", code="model_not_found")


def _prompt(value: Any) -> str | tuple[int, ...]:
    """One prompt, bare or in a list of one: text, or token ids."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (str, list)):
        value = value[0]
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(type(token) is int and token >= 0 for token in value):
        return tuple(value)
    raise ApiError(400, "prompt must be one text or one list of token ids", param="prompt", code="invalid_value")


def _logit_bias(value: Any) -> dict[int, float]:
    problem = ApiError(400, "logit_bias maps token ids to numbers from -100 to 100", param="logit_bias")
    if not isinstance(value, dict) or len(value) > MAX_LOGIT_BIAS:
        raise problem
    biases: dict[int, float] = {}
    for token, bias in value.items():
        is_number = isinstance(bias, (int, float)) and not isinstance(bias, bool)
        if not (str(token).isascii() and str(token).isdecimal() and is_number and -100 <= bias <= 100):
            raise problem
        biases[int(token)] = float(bias)
    return biases


def _top_logprobs(body: Mapping[str, Any], kind: str) -> int | None:
    highest = MAX_TOP_LOGPROBS[kind]
    if kind == "text":
        return _whole(body, "logprobs", 0, highest)
    number = _whole(body, "top_logprobs", 0, highest)
    if not _boolean(body, "logprobs"):
        if number:
            raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs", code="invalid_value")
        return None
    return number or 0


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


def _number(body: Mapping[str, Any], key: str, highest: float, *, lowest: float = 0.0, absent: float = 1.0) -> float:
    """Reads a number in [lowest, highest]; absent is 1, as OpenAI defines for both temperature and top_p."""
    value = body.get(key, absent)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
        raise ApiError(
            400, f"{key} must be a number from {lowest:g} to {highest:g}", param=key, code="invalid_value"
        )  # fmt: skip
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
