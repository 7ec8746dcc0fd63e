"""Problems to be answered by the model in training: a prompt, and the record by which a verifier judges the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from frontier_core.errors import DataError
from frontier_core.jsonl import Row
from frontier_core.profiles import ProfileName, dress
from frontier_core.records import Message, Record, metadata_of, tag_of
from frontier_core.schemas import guess_spec
from trainer.sources import rows_of
from validators.answers import needs_sandbox
from validators.skills.table import VERIFIERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A prompt, its record for the verifier, its tag, and its place for messages."""

    prompt: list[Message]
    record: Record
    tag: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What a run answers: problems in file order, the digest of their lines, and remarks on the files."""

    problems: list[Problem]
    sha: str
    notes: list[str]


def read_problems(files: Iterable[str | Path], profile: ProfileName) -> Problems:
    """Reads records whose answers can be judged: plans with their fixture, chats of a skill that has a verifier.

    Args:
        files: JSONL files; "-" is a pipe. The records' own answers are left out.
        profile: put on earlier assistant turns.
    Raises:
        DataError: a row that can't be read or answered or judged; names file:line and pointer.
    """
    found: list[Problem] = []
    notes: list[str] = []
    digest = blake2b(digest_size=16)
    known = set(VERIFIERS.names())
    for file in files:
        for row in rows_of(file, notes=notes):
            if row.problem is not None:
                raise row.problem
            found.append(_problem(row, profile, known))
            digest.update(row.raw + b"\n")
    return Problems(problems=found, sha=digest.hexdigest(), notes=notes)


def _problem(row: Row, profile: ProfileName, known: set[str]) -> Problem:
    record, spec = row.record, guess_spec(row.record)
    metadata = metadata_of(record)
    if spec == "plan_v1":
        if not isinstance(record.get("instruction"), str) or not record["instruction"]:
            raise _bad(row, "/instruction", "must be a text that is not empty", "instruction")
        prompt: list[Message] = [{"role": "user", "content": record["instruction"]}]
    elif spec in ("chat_sft_v1", "syllo_v1"):
        prompt = _turns(row, record["messages"], profile)
    else:
        raise _bad(row, "", f"a record of shape {spec or 'unknown'} poses no problem that can be judged", "spec")
    if not needs_sandbox(record) and metadata.get("skill") not in known:
        message = f"no verifier judges the skill {metadata.get('skill')!r}"
        raise _bad(row, "/metadata/skill", message, "no_verifier", "method grpo needs answers that can be judged")
    return Problem(prompt=prompt, record=record, tag=tag_of(metadata), place=f"{row.path}:{row.number}")


def _turns(row: Row, turns: object, profile: ProfileName) -> list[Message]:
    """The turns before the last answer, earlier answers with the profile on."""
    if not isinstance(turns, list) or not all(
        isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in turns
    ):
        raise _bad(row, "/messages", "must be an array of turns with role and content", "messages")
    if turns and turns[-1]["role"] == "assistant":
        turns = turns[:-1]
    if not turns or turns[-1]["role"] != "user":
        raise _bad(row, "/messages", "no user turn to answer", "no_user")
    dressed = (dress(turn["content"], profile) if turn["role"] == "assistant" else turn["content"] for turn in turns)
    return [{"role": turn["role"], "content": text} for turn, text in zip(turns, dressed, strict=True)]


def _bad(row: Row, pointer: str, message: str, code: str, hint: str = "") -> DataError:
    return DataError(message, path=row.path, line=row.number, pointer=pointer, hint=hint, code=code)
