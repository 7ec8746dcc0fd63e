"""Another server as the backend: vLLM, SGLang, llama-server, anything that speaks the OpenAI protocol over HTTP.

Requests are passed on as streams and come back as the same events the embedded worker sends. A release is put into
such a server under a name of its own where it can be: an adapter under `name@id` (vLLM), weights from disk (SGLang);
elsewhere the server is expected to hold the release already. Whatever it says of itself, the golden probe decides
(serve_fleet.py). Profile penalties need the embedded worker; here only what the protocol carries is honoured.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from frontier_core.errors import DataError, ServiceAuthError, ServiceDecodeError, ServiceHttpError, ServiceUnavailable
from frontier_core.jsonl import dumps, loads
from frontier_core.records import Record
from frontier_ops.releases import Release
from frontier_ops.serve_link import WorkerDown
from frontier_ops.serve_wire import read_tokens

if TYPE_CHECKING:
    import httpx

KINDS = ("openai", "vllm", "sglang", "llama")
CONNECT_S, READ_S, LOAD_S = 5.0, 600.0, 900.0
_PASSED_ON = (
    "max_tokens", "temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "repetition_penalty",
    "logit_bias", "top_k", "min_p",
)  # fmt: skip
_NEUTRAL: Record = {
    "max_tokens": None, "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0, "logit_bias": {},
    "top_k": 0, "min_p": 0.0,
}  # fmt: skip
_KEEPS_TOKEN_IDS = ("openai", "vllm")
"""Servers that are asked for token ids: vLLM and our own tell them, others refuse or pass over the key."""


class RemoteBackend:
    """One release behind another server.

    Args:
        release: what it should be serving.
        url: the server, with or without `/v1`.
        kind: one of KINDS: how weights get into it.
        api_key: what it wants to see.
        on_note: gets remarks for people.
    """

    def __init__(
        self, release: Release, url: str, *, kind: str = "openai", api_key: str = "", on_note: Callable[[str], None]
    ) -> None:
        import httpx

        self.ready: Record | None = None
        self.on_death: Callable[[str], None] = lambda _: None
        self.num_restarts = 0
        self._release = release
        self._kind = kind
        self._on_note = on_note
        self._model = ""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/").removesuffix("/v1"),
            headers=headers,
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
        )

    @property
    def pid(self) -> int | None:
        """None: the model process is not ours."""
        return None

    async def start(self) -> Record:
        """Puts the release into the server, where its kind can, and finds the name it goes by there.

        Raises:
            ServiceError: no answer, or a refusal.
            DataError: the server holds no model that could be this release.
        """
        if self._kind == "vllm" and self._release.is_adapter:
            body = {"lora_name": self._release.model_id, "lora_path": str(self._release.path.resolve())}
            await self._post("/v1/load_lora_adapter", body)
        elif self._kind == "sglang":
            await self._post("/update_weights_from_disk", {"model_path": str(self._release.path.resolve())})
        listed = await self._call("GET", "/v1/models", None)
        try:
            names = [str(model["id"]) for model in listed["data"]]
            facts = next((model for model in listed["data"] if isinstance(model, dict)), {})
        except (KeyError, TypeError) as error:
            raise ServiceDecodeError(f"{self._http.base_url}: lists no models") from error
        wanted = (self._release.model_id, self._release.name)
        self._model = next((name for name in wanted if name in names), names[0] if len(names) == 1 else "")
        if not self._model:
            raise DataError(
                f"{self._http.base_url}: serves {', '.join(names) or 'nothing'}, none of it {self._release.model_id}",
                code="backend", hint="start it with --served-model-name " + self._release.name,
            )  # fmt: skip
        self.ready = {"event": "ready", "device": self._kind, "backend": str(self._http.base_url)}
        if "max_model_len" in facts:
            self.ready["context_tokens"] = facts["max_model_len"]
        return self.ready

    async def close(self) -> None:
        """Takes an adapter out again and closes the connections."""
        if self._kind == "vllm" and self._release.is_adapter and self.ready is not None:
            with suppress(ServiceUnavailable, ServiceHttpError):
                await self._post("/v1/unload_lora_adapter", {"lora_name": self._release.model_id})
        self.ready = None
        await self._http.aclose()

    async def generate(self, request: Record) -> AsyncGenerator[Record, None]:
        """Yields the events of one request; closing early ends the connection, which frees the server.

        Raises:
            WorkerDown: the server does not answer, or broke off.
        """
        import httpx

        if self.ready is None:
            raise WorkerDown(1)
        path, body = self._body(request)
        try:
            async with self._http.stream("POST", path, json=body) as answer:
                if answer.status_code >= 400:
                    yield _refusal(answer.status_code, await answer.aread())
                    return
                yield {"event": "text", "text": "", "first": True}
                async for event in _events(answer, request):
                    yield event
        except httpx.HTTPError as error:
            self.on_death(f"the backend broke off: {error or type(error).__name__}")
            raise WorkerDown(1) from error

    def _body(self, request: Record) -> tuple[str, Record]:
        body: Record = {"model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        body |= {key: request[key] for key in _PASSED_ON if key in request and request[key] != _NEUTRAL.get(key, ...)}
        body["seed"] = request["seed"] % 2**31
        if request["stop"]:
            body["stop"] = request["stop"]
        if request.get("return_token_ids") and self._kind in _KEEPS_TOKEN_IDS:
            body["return_token_ids"] = True
        top = request.get("top_logprobs")
        if request.get("prompt") is not None:
            return "/v1/completions", body | {"prompt": request["prompt"]} | ({} if top is None else {"logprobs": top})
        asked = {} if top is None else {"logprobs": True, "top_logprobs": top}
        return "/v1/chat/completions", body | {"messages": request["messages"]} | asked

    async def _post(self, path: str, body: Record) -> Any:
        return await self._call("POST", path, body, timeout_s=LOAD_S)

    async def _call(self, method: str, path: str, body: Record | None, timeout_s: float = CONNECT_S * 4) -> Any:
        import httpx

        where = f"{self._http.base_url}{path}"
        content = dumps(body) if body is not None else None
        try:
            answer = await self._http.request(
                method, path, content=content, headers={"content-type": "application/json"}, timeout=timeout_s
            )
        except httpx.HTTPError as error:
            raise ServiceUnavailable(f"{where}: {error or type(error).__name__}", hint="is it running?") from error
        if answer.status_code in (401, 403):
            raise ServiceAuthError(f"{where}: HTTP {answer.status_code}", hint="--backend-key-env names its key")
        if answer.status_code >= 400:
            raise ServiceHttpError(where, status=answer.status_code, body=answer.text[:500])
        with suppress(ValueError):
            return answer.json()
        return answer.text


async def _events(answer: httpx.Response, request: Record) -> AsyncGenerator[Record, None]:
    """Turns a server's chunks into the worker's events; an end without [DONE] is no end."""
    from httpx import RemoteProtocolError

    finish_reason, prompt_ids, is_done, num_tokens = "stop", None, False, 0
    usage: Record = {}
    async for line in answer.aiter_lines():
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if data == "[DONE]":
            is_done = True
            break
        if not data:
            continue
        chunk = loads(data)
        if "error" in chunk:
            raise RemoteProtocolError(str(chunk["error"])[:200])
        usage = chunk.get("usage") or usage
        prompt_ids = chunk.get("prompt_token_ids") or prompt_ids
        for choice in chunk.get("choices") or ():
            text = (choice.get("delta") or {}).get("content") if "delta" in choice else choice.get("text")
            finish_reason = choice.get("finish_reason") or finish_reason
            event: Record = {"event": "text", "text": text or ""}
            if tokens := read_tokens(choice):
                event["tokens"] = tokens
            if ids := choice.get("token_ids"):
                event["ids"] = ids
            if len(event) > 2 or text:
                num_tokens += 1
                yield event
    if not is_done:
        raise RemoteProtocolError("the stream ended without [DONE]")
    done: Record = {
        "event": "done",
        "finish_reason": finish_reason,
        "prompt_tokens": int(usage.get("prompt_tokens", 0)),
        "completion_tokens": int(usage.get("completion_tokens", num_tokens)),
    }
    if request.get("return_token_ids") and prompt_ids:
        done["prompt_ids"] = prompt_ids
    yield done


def _refusal(status: int, raw: bytes) -> Record:
    try:
        message = str(loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the backend answered HTTP {status}"
    code = "backend_refused" if status < 500 else "generation_failed"
    return {"event": "error", "code": code, "message": message}
