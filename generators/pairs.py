"""Preference pairs and sparring records out of verified records and the candidates that failed at the same problem.

A pair is made only where both answer the very same prompt, so that it teaches the difference and nothing else. The
failed side is read from a rejects file (`synth verify --rejects`) or any file of records, or is told (`add_answer`):
asking a model for its wrong answers is `frontier synth spar`.
LIMIT: the failed candidates are held in memory, keyed by prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from frontier_core.errors import DataError
from frontier_core.jsonl import dumps, loads
from frontier_core.profiles import ProfileName, dress, undress
from frontier_core.records import Message, Record, metadata_of
from generators import formats

PairForm = Literal["preference", "sparring"]
UNJUDGED = frozenset({"sandbox_error"})
"""Codes of rejected lines that say nothing about the candidate."""

ASK_RIGHT = "Is this answer correct?"
ASK_FIX = "This answer is incorrect. Give the right answer."
SAY_WRONG = "It is incorrect."
SAY_RIGHT = "It is correct."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A prompt with an answer: the turns before it, its bare text, and why it failed ("" for a verified one).

    `key` is equal for equal problems; one instruction in two worlds is two problems.
    """

    prompt: list[Message]
    answer: str
    metadata: Record
    key: bytes
    code: str = ""


def answered(record: Record, *, code: str = "") -> Answered:
    """Reads a record as a prompt and its last answer.

    Raises:
        DataError: it does not end in an assistant's text.
    """
    *prompt, last = formats.convert(record, "chat", profile=None)["messages"]
    if last.get("role") != "assistant" or not isinstance(last.get("content"), str) or not prompt:
        raise DataError("does not end in an answer to a prompt", pointer="/messages", code="no_answer")
    key = blake2b(dumps([prompt, record.get("fixture")]), digest_size=16).digest()
    return Answered(prompt=prompt, answer=undress(last["content"]), metadata=metadata_of(record), key=key, code=code)


class Failures:
    """Failed candidates by prompt; wrong answers to one prompt in the order read, each text once."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, list[Answered]] = {}

    def add(self, line: Record) -> None:
        """Takes a line of a rejects file, or a record that is wrong by itself; one never judged is passed over."""
        code = str(line.get("code", "failed"))
        if code in UNJUDGED:
            return
        record = loads(line["raw"]) if isinstance(line.get("raw"), str) else line
        if not isinstance(record, dict):
            raise DataError("the rejected line is no record", pointer="/raw", code="not_an_object")
        failed = answered(record, code=code)
        others = self._by_key.setdefault(failed.key, [])
        if all(other.answer != failed.answer for other in others):
            others.append(failed)

    def add_answer(self, right: Answered, answer: str, *, code: str) -> None:
        """Takes a wrong answer to the very problem that `right` answers."""
        failed = Answered(
            prompt=right.prompt, answer=undress(answer), metadata=right.metadata, key=right.key, code=code
        )
        self._by_key.setdefault(right.key, []).append(failed)

    def of(self, right: Answered) -> list[Answered]:
        """Gives the failed answers to the same prompt; never one that reads like the right one."""
        return [failed for failed in self._by_key.get(right.key, []) if failed.answer != right.answer]


def preferences(
    records: Iterable[Answered], failures: Failures, *, profile: ProfileName, most: int = 1
) -> Iterator[Record]:
    """Yields preference_v1 records: a verified answer above a failed one, at most `most` per verified record."""
    for right in records:
        for wrong in failures.of(right)[:most]:
            yield {
                "prompt": right.prompt,
                "chosen": [_turn(right.answer, profile)],
                "rejected": [_turn(wrong.answer, profile)],
                "metadata": {**right.metadata, "rejected_because": wrong.code},
            }


def sparring(
    records: Iterable[Answered], failures: Failures, *, profile: ProfileName, most: int = 1
) -> Iterator[Record]:
    """Yields three sparring_v1 records a mistake: it is incorrect, the right answer, and a fresh pair that is correct.

    The fresh pair is the verified record before this one, so that "correct" is not learned from the same prompt only.
    """

    def record(kind: str, prompt: list[Message], answer: str, metadata: Record) -> Record:
        return {"type": f"sparring_{kind}", "messages": [*prompt, _turn(answer, profile)], "metadata": metadata}

    before: Answered | None = None
    for right in records:
        for wrong in failures.of(right)[:most]:
            about = {**right.metadata, "rejected_because": wrong.code}
            fresh = before or right
            yield record("identify_incorrect", _asked(wrong, ASK_RIGHT), SAY_WRONG, about)
            yield record("correction", _asked(wrong, ASK_FIX), right.answer, about)
            yield record("confirm_correct", _asked(fresh, ASK_RIGHT), SAY_RIGHT, fresh.metadata)
        before = right


def _turn(answer: str, profile: ProfileName) -> Message:
    return {"role": "assistant", "content": dress(answer, profile)}


def _asked(shown: Answered, question: str) -> list[Message]:
    """The prompt's turns, with the shown answer and the question in the last user turn."""
    *context, last = shown.prompt
    text = f"{last['content']}\n\nProposed answer:\n{shown.answer}\n\n{question}"
    return [*context, {"role": "user", "content": text}]
