"""What the skill verifiers share: reading the turns of a record, and judging a short answer strictly but fairly.

Forgiven: white space around the answer and one full stop behind it. Not forgiven: prose, other digits than ASCII's,
thousands separators, leading zeros. Answers are compared as text in canonical form, so numbers of any size are exact.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from frontier_core.records import Record
from validators.base import ACCEPTED, Verdict, reject

INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_SHOWN = 60


class PromptError(ValueError):
    """The prompt poses no problem this skill knows; verifiers turn it into an `unparsable_prompt` verdict.

    Args:
        message: what is wrong with it.
        code: the verdict's code.
    """

    def __init__(self, message: str, code: str = "unparsable_prompt") -> None:
        super().__init__(message)
        self.code = code


class Turn(NamedTuple):
    """One turn and where it stands among the record's messages, from 0."""

    place: int
    role: str
    content: str

    @property
    def pointer(self) -> str:
        """JSON pointer to the turn's text."""
        return f"/messages/{self.place}/content"


class Dialogue(NamedTuple):
    """The turns an answer follows (no system turns), and where that answer stands or would stand."""

    turns: tuple[Turn, ...]
    answer_pointer: str


def read_dialogue(record: Record) -> Dialogue:
    """Gives the turns before the last assistant turn; a record that ends in a user turn awaits its answer there.

    Raises:
        PromptError: there are no turns, a turn is malformed, or user and assistant don't alternate.
    """
    messages = record.get("messages")
    if not isinstance(messages, list) or not messages:
        raise PromptError("the record has no messages")
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise PromptError(f"message {index} has no role and text")
        if role != "system":
            turns.append(Turn(index, role, content))
    if any(turn.role != ("user", "assistant")[place % 2] for place, turn in enumerate(turns)):
        raise PromptError("user and assistant turns don't alternate, user first")
    has_answer = bool(turns) and turns[-1].role == "assistant"
    place = turns[-1].place if has_answer else len(messages)
    before = tuple(turns[:-1] if has_answer else turns)
    if not before:
        raise PromptError("the record asks nothing")
    return Dialogue(before, f"/messages/{place}/content")


def only_question(dialogue: Dialogue) -> str:
    """Gives the one user turn of a question-and-answer record, or raises PromptError when there are more."""
    if len(dialogue.turns) != 1:
        raise PromptError("more than one question in the record")
    return dialogue.turns[0].content


def refuse_prompt(error: PromptError, pointer: str = "/messages") -> Verdict:
    """Gives the verdict of a record whose prompt can't be judged."""
    return reject(error.code, str(error), pointer=pointer, remedy="mend or drop the record; the answer was not judged")


def tidy(answer: str) -> str:
    """Gives the answer without the white space around it and one full stop behind it."""
    return answer.strip().removesuffix(".")


def shown(text: str) -> str:
    """Gives a text for a message: quoted, on one line, cut after 60 characters."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def judge_integer(expected: str, answer: str, pointer: str) -> Verdict:
    """Judges a whole number: `not_a_number` or `wrong_answer` when it is not `expected` (canonical decimal text)."""
    got = tidy(answer)
    if INTEGER.fullmatch(got) is None:
        return reject("not_a_number", f"expected a whole number, got {shown(answer)}", pointer=pointer)
    return judge_text(expected, got, pointer)


def judge_text(expected: str, got: str, pointer: str) -> Verdict:
    """Judges an answer of the right form: `wrong_answer` unless it is exactly `expected`."""
    if got == expected:
        return ACCEPTED
    seen = got if len(got) <= _SHOWN else got[:_SHOWN] + "..."
    return reject("wrong_answer", f"expected {expected}, got {seen}", pointer=pointer)
