"""Where the text of a record stands, whatever its spec: turns, answers, everything a model would read."""

from __future__ import annotations

from collections.abc import Iterator

from frontier_core.records import Message, Record


def turns_of(record: Record) -> list[Message]:
    """Gives the chat turns of a record, none when it is no chat."""
    messages = record.get("messages")
    return [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []


def texts_of(record: Record) -> Iterator[tuple[str, str]]:
    """Yields (pointer, text) of every text a model would read."""
    for place, message in enumerate(turns_of(record)):
        if isinstance(message.get("content"), str):
            yield f"/messages/{place}/content", message["content"]
    for key in ("instruction", "text", "prompt", "chosen", "rejected", "response"):
        value = record.get(key)
        if isinstance(value, str):
            yield f"/{key}", value
        elif isinstance(value, list):
            for place, turn in enumerate(value):
                if isinstance(turn, dict) and isinstance(turn.get("content"), str):
                    yield f"/{key}/{place}/content", turn["content"]


def answer_of(record: Record) -> tuple[str, str] | None:
    """Gives the last assistant turn as (pointer, text), None when there is none."""
    messages = turns_of(record)
    for place in range(len(messages) - 1, -1, -1):
        content = messages[place].get("content")
        if messages[place].get("role") == "assistant" and isinstance(content, str):
            return f"/messages/{place}/content", content
    return None
