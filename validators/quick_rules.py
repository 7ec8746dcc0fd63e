"""QUICK rules of the content gate: order of turns, empty text, the answer profile, notes, ids."""

from __future__ import annotations

from collections.abc import Iterator

from frontier_core.profiles import violation
from frontier_core.records import Message, Record, metadata_of
from validators.base import Check, Finding, Place
from validators.texts import turns_of

MAX_NOTES_CHARS = 200


class Conversation(Check):
    """Turns in an order that can be learnt from, with text in them, assistant turns in the run's profile."""

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives what is wrong with the turns and the notes of one record."""
        messages = turns_of(record)
        if messages:
            yield from turn_order(messages)
            yield from _call_ids(messages)
        for place, turn in enumerate(messages):
            content = turn.get("content")
            if not isinstance(content, str):
                continue
            pointer = f"/messages/{place}/content"
            if not content.strip():
                yield Finding(code="empty_turn", message=f"the {turn.get('role')} turn is empty", pointer=pointer)
            elif turn.get("role") == "assistant":
                broken = violation(content, self.settings.profile)
                if broken:
                    remedy = "synth format dresses answers; or --profile plain"
                    yield Finding(code=broken[0], message=broken[1], pointer=pointer, remedy=remedy)
        notes = metadata_of(record).get("notes")
        if isinstance(notes, str) and len(notes) > MAX_NOTES_CHARS:
            message = f"notes have {len(notes)} characters, {MAX_NOTES_CHARS} are the limit"
            yield Finding(code="long_notes", message=message, pointer="/metadata/notes", severity="warning")


def turn_order(messages: list[Message]) -> Iterator[Finding]:
    """Yields what is wrong with the order of turns."""
    roles = [message.get("role") for message in messages]
    for place, role in enumerate(roles):
        if role == "system" and place > 0:
            message = "a system turn stands after the first turn"
            yield Finding(code="turn_order", message=message, pointer=f"/messages/{place}/role")
    talk = [role for role in roles if role != "system"]
    if talk and talk[0] != "user":
        yield Finding(code="turn_order", message="the first turn is not the user's", pointer="/messages/0/role")
    if talk and talk[-1] not in ("assistant", "tool"):
        message = f"the last turn is the {talk[-1]}'s, so nothing is learnt from it"
        yield Finding(code="turn_order", message=message, pointer=f"/messages/{len(roles) - 1}/role")


def _call_ids(messages: list[Message]) -> Iterator[Finding]:
    """Yields tool results that answer no call, and calls that share an id."""
    called: set[str] = set()
    for place, turn in enumerate(messages):
        for number, call in enumerate(turn.get("tool_calls") or ()):
            if call["id"] in called:
                message = f"the call id {call['id']!r} is used twice"
                pointer = f"/messages/{place}/tool_calls/{number}/id"
                yield Finding(code="repeated_id", message=message, pointer=pointer, remedy="give each call its own id")
            called.add(call["id"])
        if turn.get("role") == "tool" and turn.get("tool_call_id") not in called:
            message = f"the result answers no earlier call: {turn.get('tool_call_id')!r}"
            pointer = f"/messages/{place}/tool_call_id"
            yield Finding(
                code="unknown_id", message=message, pointer=pointer, remedy="use the id of the call it answers"
            )
