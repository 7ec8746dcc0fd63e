"""What the two chat APIs say on the wire: request checks, answers, streams and errors, as pure functions.

Written from the providers' API references and held against their own SDKs (tests/generators/test_teacher_fakes.py).
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b

PIECES = re.compile(r"[A-Za-z]{1,7}|\d{1,3}|[^\sA-Za-z\d]")


class Refused(Exception):
    """A request the API answers with 400."""


def num_tokens(text):
    """A plain tokenizer: pieces of words, numbers and signs."""
    return len(PIECES.findall(text))


def digest(body):
    return blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=8).hexdigest()


def example(schema, salt, want_chars=0):
    """An instance of a JSON Schema (the part teachers use), its texts told apart by `salt`."""
    kind = schema.get("type")
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {name: example(part, f"{salt} {name}", want_chars) for name, part in schema["properties"].items()}
    if kind == "array":
        return [example(schema["items"], f"{salt} {n}") for n in range(schema.get("minItems", 0))]
    if kind == "boolean":
        return True
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return f"text of {salt}" + " and more" * (want_chars // 36)


class OpenAI:
    path = "/v1/chat/completions"

    @staticmethod
    def key(headers):
        return headers.get("authorization", "").removeprefix("Bearer ")

    @staticmethod
    def check(body):
        if not isinstance(body.get("model"), str) or not isinstance(body.get("messages"), list) or not body["messages"]:
            raise Refused("you must provide a model and messages")
        for turn in body["messages"]:
            if turn.get("role") not in ("system", "user", "assistant", "tool", "developer"):
                raise Refused(f"invalid role {turn.get('role')!r}")
        form = body.get("response_format")
        if form is not None and form.get("type") == "json_schema" and "name" not in form["json_schema"]:
            raise Refused("missing required parameter: 'response_format.json_schema.name'")

    @staticmethod
    def texts(body):
        contents = [turn["content"] for turn in body["messages"]]
        parts = ((part["text"] for part in text) if isinstance(text, list) else [text] for text in contents)
        return ["".join(texts) for texts in parts]

    @staticmethod
    def schema(body):
        form = body.get("response_format") or {}
        return form["json_schema"]["schema"] if form.get("type") == "json_schema" else None

    @staticmethod
    def limit(body):
        return body.get("max_completion_tokens") or body.get("max_tokens")

    @staticmethod
    def answer(body, text, finish, num_in, num_out):
        return {
            "id": f"chatcmpl-{digest(body)}",
            "object": "chat.completion",
            "created": 1700000000,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish,
                    "logprobs": None,
                }
            ],
            "usage": {"prompt_tokens": num_in, "completion_tokens": num_out, "total_tokens": num_in + num_out},
        }

    @staticmethod
    def stream(body, text, finish, num_in, num_out):
        head = {"id": f"chatcmpl-{digest(body)}", "object": "chat.completion.chunk", "created": 1700000000}
        head["model"] = body["model"]
        deltas = [{"role": "assistant", "content": ""}] + [{"content": piece} for piece in re.findall(r".{1,8}", text)]
        for delta in deltas:
            yield "", {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield "", {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": num_in, "completion_tokens": num_out, "total_tokens": num_in + num_out}
            yield "", {**head, "choices": [], "usage": usage}
        yield "", "[DONE]"

    @staticmethod
    def error(status, message):
        kind = {401: "invalid_request_error", 429: "rate_limit_exceeded", 400: "invalid_request_error"}
        code = "insufficient_quota" if "quota" in message else kind.get(status, "server_error")
        return {"error": {"message": message, "type": kind.get(status, "server_error"), "param": None, "code": code}}


class Anthropic:
    path = "/v1/messages"

    @staticmethod
    def key(headers):
        # The documented header; the SDK of 2026 sends the key as a bearer token instead.
        return headers.get("x-api-key") or OpenAI.key(headers)

    @staticmethod
    def check(body):
        for name in ("model", "max_tokens", "messages"):
            if name not in body:
                raise Refused(f"{name}: Field required")
        for turn in body["messages"]:
            if turn.get("role") not in ("user", "assistant"):
                raise Refused(f"messages: Unexpected role {turn.get('role')!r}")
        form = (body.get("output_config") or {}).get("format")
        if form is not None and (form.get("type") != "json_schema" or "schema" not in form):
            raise Refused("output_config.format: Field required")

    @staticmethod
    def texts(body):
        system = body.get("system", "")
        return [system if isinstance(system, str) else "", *(turn["content"] for turn in body["messages"])]

    @staticmethod
    def schema(body):
        form = (body.get("output_config") or {}).get("format")
        return form["schema"] if form else None

    @staticmethod
    def limit(body):
        return body["max_tokens"]

    @staticmethod
    def answer(body, text, finish, num_in, num_out):
        return {
            "id": f"msg_{digest(body)}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": "max_tokens" if finish == "length" else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": num_in, "output_tokens": num_out},
        }

    @staticmethod
    def stream(body, text, finish, num_in, num_out):
        start = Anthropic.answer(body, "", finish, num_in, 1) | {"content": [], "stop_reason": None}
        yield "message_start", {"type": "message_start", "message": start}
        block = {"type": "text", "text": ""}
        yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
        for piece in re.findall(r".{1,8}", text):
            delta = {"type": "text_delta", "text": piece}
            yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": 0}
        end = {"stop_reason": "max_tokens" if finish == "length" else "end_turn", "stop_sequence": None}
        yield "message_delta", {"type": "message_delta", "delta": end, "usage": {"output_tokens": num_out}}
        yield "message_stop", {"type": "message_stop"}

    @staticmethod
    def error(status, message):
        kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "overloaded_error" if status == 529 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}


APIS = {api.path: api for api in (OpenAI, Anthropic)}
