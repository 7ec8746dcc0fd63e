"""Asks a server one question, with nothing but the standard library: the last step of the loop, and a smoke test."""

from __future__ import annotations

import time
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from frontier_core.errors import (
    ServiceAuthError,
    ServiceDecodeError,
    ServiceHttpError,
    ServiceUnavailable,
    UsageError,
)
from frontier_core.jsonl import dumps, loads

POLL_S = 0.1
BODY_LIMIT_BYTES = 1 << 24
KEY_ENV = "INFERENCE_API_KEY"
"""The variable that holds the key of the server, at both ends unless --key-env names another."""


def ask(url: str, question: str, *, timeout_s: float = 60.0, max_tokens: int | None = None, api_key: str = "") -> str:
    """Gives the answer of the first model a server lists to one question, greedy (temperature 0).

    Args:
        url: the server, with or without `/v1`.
        question: the user turn.
        timeout_s: for each of the two calls.
        max_tokens: longest answer; None leaves it to the server.
        api_key: what the server wants to see; "" shows none.
    Raises:
        UsageError: the URL is not http(s).
        ServiceUnavailable: no answer in time. ServiceAuthError: 401 or 403. ServiceHttpError: another refusal.
        ServiceDecodeError: the answer is not the promised JSON.
    """
    base = _base(url)
    model = first_model(url, timeout_s=timeout_s, api_key=api_key)
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    answer = _call(f"{base}/v1/chat/completions", dumps(body), timeout_s, api_key)
    try:
        text = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ServiceDecodeError(f"{base}: the answer holds no choices[0].message.content") from error
    if not isinstance(text, str):
        raise ServiceDecodeError(f"{base}: the answer's content is no text")
    return text


def first_model(url: str, *, timeout_s: float = 60.0, api_key: str = "") -> str:
    """Gives the name of the first model a server lists; raises as `ask`."""
    base = _base(url)
    listed = _call(f"{base}/v1/models", None, timeout_s, api_key)
    try:
        return str(listed["data"][0]["id"])
    except (KeyError, IndexError, TypeError) as error:
        raise ServiceDecodeError(f"{base}/v1/models: lists no model") from error


def wait_until_ready(url: str, *, timeout_s: float = 60.0) -> None:
    """Returns when the server's /readyz says 200. Raises ServiceUnavailable when it does not in `timeout_s`."""
    base = _base(url)
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        try:
            _call(f"{base}/readyz", None, max(left_s, POLL_S))
            return
        except (ServiceUnavailable, ServiceHttpError) as error:
            if left_s <= 0:
                raise ServiceUnavailable(f"{base}: not ready after {timeout_s:g} s") from error
        time.sleep(POLL_S)


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no http address", hint="e.g. http://127.0.0.1:8765")
    return url.rstrip("/").removesuffix("/v1")


def _call(url: str, body: bytes | None, timeout_s: float, api_key: str = "") -> Any:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
    request = Request(url, data=body, headers=headers)
    try:
        with _opener(url).open(request, timeout=timeout_s) as response:
            raw = response.read(BODY_LIMIT_BYTES)
    except HTTPError as error:
        with error:
            text = error.read(4096).decode(errors="replace")
        if error.code in (401, 403):
            hint = (
                f"the key was not the right one; {KEY_ENV} or --key-env" if api_key else f"set {KEY_ENV}, or --key-env"
            )
            raise ServiceAuthError(f"{url}: refused (HTTP {error.code})", hint=hint) from error
        raise ServiceHttpError(url, status=error.code, body=text, hint=_reason(text)) from error
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ServiceUnavailable(f"{url}: {reason}", hint="is it running? frontier serve") from error
    try:
        return loads(raw)
    except ValueError as error:
        raise ServiceDecodeError(f"{url}: the answer is not JSON") from error


def _opener(url: str) -> OpenerDirector:
    """A proxy from the environment is for the world outside, never for this machine."""
    host = urlsplit(url).hostname or ""
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost"
    return build_opener(ProxyHandler({})) if is_local else build_opener()


def _reason(text: str) -> str:
    try:
        return str(loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
