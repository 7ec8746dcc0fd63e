"""Turns that ask for what the enforced system prompt forbids: `<think>` blocks, or an answer without its prefix.

The trainer puts a system prompt before every record ("You no longer use `<think>` ..."); a record whose own system or
user turn asks for the opposite teaches to disobey one of the two. Source: training data contract, section 4.
A sentence that only mentions the tags, asks about them or forbids them is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from validators.base import Finding

_TAG = r"(?:</?think(?:ing)?>|\bthink(?:ing)? (?:tags?|blocks?)\b)"
_ASKS = re.compile(
    rf"(?i)\b(?:use|using|write|wrap|put|place|start|begin|open|emit|output|enclose|show|include|give|reason|think)\b"
    rf"[^.\n]{{0,60}}{_TAG}|\b(?:inside|within|between|in)\b[^.\n]{{0,20}}{_TAG}"
)
_NOT = re.compile(
    r"(?i)\b(?:no|not|never|without|don't|dont|avoid|stop|omit|skip|remove|strip|instead of|rather than)\b"
)
_ABOUT = re.compile(r"(?i)^\W*(?:what|why|how|when|who|where|which|does|do|is|are|did|explain|describe|define)\b")
_NO_EMOJI = re.compile(r"(?i)\b(?:no|without|avoid|never use|do not use|don't use|skip)\b[^.\n]{0,20}\bemojis?\b")
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?]+|\n|$)")


def contradictions(record: Record, profile: ProfileName) -> Iterator[Finding]:
    """Yields a finding for each turn that asks for what the profile's system prompt forbids."""
    if profile == "plain":
        return
    for pointer, text in _asking_texts(record):
        if "think" in text.lower() and any(_asks_think(sentence) for sentence in _SENTENCE.findall(text)):
            message = "asks for <think> blocks, which the enforced system prompt forbids"
            yield Finding(code="contradicts_system", message=message, pointer=pointer, remedy="reword the turn")
        elif profile == "emoji_think" and "emoji" in text.lower() and _NO_EMOJI.search(text):
            message = "forbids emoji, but every answer begins with four"
            yield Finding(
                code="contradicts_prefix", message=message, pointer=pointer, severity="warning",
                remedy="reword the turn, or take another profile",
            )  # fmt: skip


def _asks_think(sentence: str) -> bool:
    asked = _ASKS.search(sentence)
    if asked is None or _NOT.search(sentence[: asked.end()]):
        return False
    return not _ABOUT.match(sentence)


def _asking_texts(record: Record) -> Iterator[tuple[str, str]]:
    for key in ("prompt", "instruction"):
        if isinstance(record.get(key), str):
            yield f"/{key}", record[key]
    messages = record.get("messages")
    for place, turn in enumerate(messages if isinstance(messages, list) else []):
        if isinstance(turn, dict) and turn.get("role") in ("system", "user") and isinstance(turn.get("content"), str):
            yield f"/messages/{place}/content", turn["content"]
