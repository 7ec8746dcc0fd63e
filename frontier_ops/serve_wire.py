"""Writing OpenAI's answers: whole ones, streamed pieces, usage, log-probabilities, for conversations and for texts.

Both kinds share one interface, `Envelope`, so that the server streams them by the same code. Reading is serve_api.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from frontier_core.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every object of one answer has in common. `kind` is "chat" or "text"."""

    id: str
    created: int
    model: str
    fingerprint: str
    kind: str = "chat"

    def completion(
        self,
        text: str,
        finish_reason: str,
        usage: Record,
        *,
        tokens: Sequence[Record] | None = None,
        ids: tuple[list[int], list[int]] | None = None,
    ) -> Record:
        """Gives the whole answer of a request without streaming.

        Args:
            text: the answer.
            finish_reason: why it ended.
            usage: from `usage_of`.
            tokens: log-probabilities per token, when they were asked for.
            ids: token ids of prompt and answer, when they were asked for.
        """
        choice: Record = {"index": 0}
        if self.kind == "chat":
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        choice |= {"logprobs": self._logprobs(tokens), "finish_reason": finish_reason}
        whole: Record = {**self._head(is_chunk=False), "choices": [choice], "usage": usage}
        if ids is not None:
            whole["prompt_token_ids"], choice["token_ids"] = ids
        return whole

    def opening(self, *, include_usage: bool = False) -> Record | None:
        """Gives the first chunk of a streamed conversation, which names the role; texts have none."""
        return self._chunk({"role": "assistant", "content": ""}, None, include_usage) if self.kind == "chat" else None

    def piece(
        self,
        text: str,
        *,
        include_usage: bool = False,
        tokens: Sequence[Record] | None = None,
        ids: Sequence[int] | None = None,
    ) -> Record:
        """Gives one streamed piece of text; with `include_usage` it carries the null that announces a usage chunk."""
        chunk = self._chunk({"content": text}, None, include_usage)
        if tokens is not None:
            chunk["choices"][0]["logprobs"] = self._logprobs(tokens)
        if ids is not None:
            chunk["choices"][0]["token_ids"] = list(ids)
        return chunk

    def closing(self, finish_reason: str, *, include_usage: bool = False) -> Record:
        """Gives the chunk that says why the answer ended."""
        return self._chunk({}, finish_reason, include_usage)

    def usage_chunk(self, usage: Record) -> Record:
        """Gives the last chunk of a stream that asked for usage: no choices."""
        return {**self._head(is_chunk=True), "choices": [], "usage": usage}

    def _chunk(self, delta: Record, finish_reason: str | None, include_usage: bool) -> Record:
        said: Record = {"delta": delta} if self.kind == "chat" else {"text": delta.get("content", "")}
        choice: Record = {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}
        extra: Record = {"usage": None} if include_usage else {}
        return {**self._head(is_chunk=True), "choices": [choice], **extra}

    def _head(self, *, is_chunk: bool) -> Record:
        names = {"chat": "chat.completion.chunk" if is_chunk else "chat.completion", "text": "text_completion"}
        return {
            "id": self.id,
            "object": names[self.kind],
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _logprobs(self, tokens: Sequence[Record] | None) -> Record | None:
        if tokens is None:
            return None
        if self.kind == "chat":
            return {"content": [_chat_token(token) for token in tokens], "refusal": None}
        offsets, place = [], 0
        for token in tokens:
            offsets.append(place)
            place += len(token["token"])
        return {
            "tokens": [token["token"] for token in tokens],
            "token_logprobs": [token["logprob"] for token in tokens],
            "top_logprobs": [{top["token"]: top["logprob"] for top in token["top"]} for token in tokens],
            "text_offset": offsets,
        }


def _chat_token(token: Record) -> Record:
    return {**_named(token), "top_logprobs": [_named(top) for top in token["top"]]}


def _named(token: Record) -> Record:
    return {"token": token["token"], "logprob": token["logprob"], "bytes": list(str(token["token"]).encode())}


def usage_of(prompt_tokens: int, completion_tokens: int) -> Record:
    """Gives the usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def read_tokens(choice: Any) -> list[Record]:
    """Gives the token records of a choice another server sent; [] where it sent none. The inverse of `_logprobs`."""
    logprobs = choice.get("logprobs") or {}
    if "content" in logprobs:
        return [
            {
                "token": entry["token"],
                "logprob": entry["logprob"],
                "top": [{"token": top["token"], "logprob": top["logprob"]} for top in entry.get("top_logprobs") or ()],
            }
            for entry in logprobs["content"] or ()
        ]
    tops = logprobs.get("top_logprobs") or [{}] * len(logprobs.get("tokens") or ())
    return [
        {
            "token": token,
            "logprob": logprob,
            "top": [{"token": name, "logprob": value} for name, value in (top or {}).items()],
        }
        for token, logprob, top in zip(
            logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), tops, strict=False
        )
    ]
