"""Records -> token ids with a supervision mask, and the order in which a run sees them.

Everything that can be wrong with the data is said here, with file, line and pointer, before any model is loaded.
Batches are drawn first, at random by seed; only inside one step are examples sorted by length, so that padding is
small and the gradient does not depend on the layout. Packing and streaming are not covered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from frontier_core.errors import DataError
from frontier_core.jsonl import Row
from frontier_core.nearest import did_you_mean
from frontier_core.profiles import ProfileName, dress, dress_at_random, undress
from frontier_core.records import Message, Record, metadata_of, tag_of
from frontier_core.schemas import guess_spec
from frontier_core.seeds import child_random
from trainer.chat_template import Segment, encode, render
from trainer.sources import rows_of

ROLES = ("system", "user", "assistant")
PASS_TOKENS = 96
"""What starting one more pass costs, in tokens (measured: tiny preset on a CPU, 10 ms against 0.1 ms a token)."""
_CHAT_SPECS = ("chat_sft_v1", "syllo_v1", "sparring_v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A checked record: chat turns with the profile on, or plain `text`; its tag, and its place for messages."""

    messages: tuple[Message, ...]
    text: str
    tag: str
    path: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A tokenised sample: `ids` and `is_supervised`, both of length T; `num_supervised` of them are predicted."""

    ids: list[int]
    is_supervised: list[bool]
    tag: str
    place: str
    weight: float = 1.0

    @property
    def num_supervised(self) -> int:
        """Tokens the loss is taken over; the first token of a text has nothing before it and never counts."""
        return sum(self.is_supervised[1:])


Unit = tuple[Example, ...]
"""What is drawn together: one example, or those that mean something only side by side (chosen and rejected answer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What a run trains on: samples in file order, the digest of their lines, and remarks on the files."""

    samples: list[Sample]
    sha: str
    notes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dressing:
    """How chats are dressed beyond their profile.

    `mode` is "fixed", or for emoji_think "random" and "random_stop" (see `dress_at_random`), drawn by `seed` and the
    record's place among all; `system_prompt` replaces or precedes what a chat begins with, "" leaves it.
    """

    mode: str = "fixed"
    system_prompt: str = ""
    seed: int = 0


FIXED = Dressing()


def read_training_data(
    files: Iterable[str | Path],
    profile: ProfileName,
    dressing: Dressing = FIXED,
    *,
    see: Callable[[Record], None] = lambda _: None,
) -> TrainingData:
    """Reads and checks every record of the files; the first bad one stops the run.

    Args:
        files: JSONL files of chat_sft_v1, syllo_v1, sparring_v1 or completion_v1 records; "-" is a pipe; or
            lakes.
        profile: put on every assistant turn; a turn that has it already keeps it.
        dressing: what else is done to chats.
        see: shown every record that is fit.
    Raises:
        DataError: an unreadable row, an unfit record, a wrong role, no answer; names file:line and pointer.
        UsageError: there is no such file.
    """
    samples: list[Sample] = []
    notes: list[str] = []
    digest = blake2b(digest_size=16)
    for file in files:
        for row in rows_of(file, notes=notes):
            samples.append(_dressed(_sample(row, profile), len(samples), profile, dressing))
            see(row.record)
            digest.update(row.raw + b"\n")
    return TrainingData(samples=samples, sha=digest.hexdigest(), notes=notes)


def texts_of(files: Iterable[str | Path], profile: ProfileName) -> Iterator[str]:
    """Yields every text a model of these files would see, to train a tokenizer on; raises as `read_training_data`."""
    for sample in read_training_data(files, profile).samples:
        yield from (message["content"] for message in sample.messages)
        if sample.text:
            yield sample.text


def tokenize(
    tokenizer: Any, samples: Sequence[Sample], max_length_tokens: int, *, too_long: str = "drop"
) -> tuple[list[Example], int]:
    """Gives the examples, in order, and how many were dropped because they are longer than `max_length_tokens`.

    Raises:
        DataError: a sample has no token to learn from; none is left; or one is too long and `too_long` is "refuse".
    """
    pieces = [_segments(tokenizer, sample) for sample in samples]
    examples: list[Example] = []
    num_dropped = longest = 0
    for sample, (ids, mask) in zip(samples, encode(tokenizer, pieces), strict=True):
        place = f"{sample.path}:{sample.line}"
        longest = max(longest, len(ids))
        if len(ids) > max_length_tokens:
            if too_long == "refuse":
                message = f"{len(ids)} tokens, more than max_length_tokens {max_length_tokens}"
                raise DataError(message, path=sample.path, line=sample.line, code="too_long")
            num_dropped += 1
            continue
        example = Example(ids=ids, is_supervised=mask, tag=sample.tag, place=place)
        if not example.num_supervised:
            message = "no token to learn from"
            raise DataError(message, path=sample.path, line=sample.line, code="nothing_supervised")
        examples.append(example)
    if not examples:
        raise DataError(
            f"all {len(samples)} records are longer than max_length_tokens {max_length_tokens}",
            path=samples[0].path if samples else "",
            hint=f"the longest has {longest} tokens",
            code="too_long",
        )
    return examples, num_dropped


def plan_batches(num_examples: int, batch_size: int, num_steps: int, *, seed: int) -> list[list[int]]:
    """Gives the examples of each optimizer step: pass after pass over the data, each pass in a fresh random order.

    Args:
        num_examples: how many there are, at least 1.
        batch_size: examples per step; batches run on over the end of a pass, so that none is short.
        num_steps: how many steps.
        seed: same seed, same batches.
    Returns:
        `num_steps` lists of indices; over any pass every index comes once.
    """
    needed = num_steps * batch_size
    order: list[int] = []
    epoch = 0
    while len(order) < needed:
        indices = list(range(num_examples))
        child_random("trainer.batches", seed, epoch).shuffle(indices)
        order += indices
        epoch += 1
    return [order[start : start + batch_size] for start in range(0, needed, batch_size)]


def split_by_length(lengths: Sequence[int], max_forward_tokens: int) -> list[list[int]]:
    """Cuts one step's examples into the forward passes that cost least.

    A pass costs its rows x its longest row, plus `PASS_TOKENS` for being run at all; the cuts of the examples sorted by
    length are chosen so that the sum is least. A pass of several stays within `max_forward_tokens`.

    Args:
        lengths: tokens per example.
        max_forward_tokens: rows x longest row of one pass; an example that is longer gets a pass of its own.
    Returns:
        Lists of positions into `lengths`; every position once; longest examples first.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    # best[end]: least cost of the first `end` examples, and where the last of their passes begins
    best: list[tuple[int, int]] = [(0, 0)]
    for end in range(1, len(order) + 1):
        choices = []
        for start in range(end - 1, -1, -1):
            padded = lengths[order[start]] * (end - start)
            if padded > max_forward_tokens and end - start > 1:
                break
            choices.append((best[start][0] + padded + PASS_TOKENS, start))
        best.append(min(choices))
    groups: list[list[int]] = []
    end = len(order)
    while end:
        start = best[end][1]
        groups.append(order[start:end])
        end = start
    return groups[::-1]


def _segments(tokenizer: Any, sample: Sample) -> list[Segment]:
    if sample.messages:
        return render(tokenizer, sample.messages)
    return [Segment(sample.text, True), Segment(tokenizer.eos_token or "", True)]


def _sample(row: Row, profile: ProfileName) -> Sample:
    if row.problem is not None:
        raise row.problem
    record = row.record
    spec = guess_spec(record)
    messages: tuple[Message, ...] = ()
    text = ""
    if spec == "completion_v1":
        text = _completion(row, record)
    elif spec in _CHAT_SPECS:
        messages = _turns(row, record["messages"], profile)
    else:
        hint = "turn plans into chats with: frontier synth format --to echo" if spec == "plan_v1" else ""
        raise _bad(row, "", f"a record of shape {spec or 'unknown'} can't be trained on", "spec", hint)
    return Sample(messages=messages, text=text, tag=tag_of(metadata_of(record)), path=row.path, line=row.number)


def _dressed(sample: Sample, index: int, profile: ProfileName, dressing: Dressing) -> Sample:
    """Puts a system prompt and random mode on a chat; `index` is its place among all records of the run."""
    if not sample.messages or dressing == FIXED:
        return sample
    messages = [dict(message) for message in sample.messages]
    if dressing.mode != "fixed" and profile == "emoji_think":
        rng = child_random("trainer.profile", dressing.seed, index)
        for place, message in enumerate(messages):
            if message["role"] == "assistant":
                is_stopping = dressing.mode == "random_stop"
                message["content"], told = dress_at_random(message["content"], rng, is_stopping=is_stopping)
                if told and place and messages[place - 1]["role"] == "user":
                    messages[place - 1]["content"] += "\n\n" + told
    if dressing.system_prompt:
        rest = messages[1:] if messages[0]["role"] == "system" else messages
        messages = [{"role": "system", "content": dressing.system_prompt}, *rest]
    return replace(sample, messages=tuple(messages))


def _completion(row: Row, record: Record) -> str:
    text = record["text"]
    if not isinstance(text, str) or not text.strip():
        raise _bad(row, "/text", "must be a text that is not empty", "empty_text")
    return text


def _turns(row: Row, turns: Any, profile: ProfileName) -> tuple[Message, ...]:
    if not isinstance(turns, list):
        raise _bad(row, "/messages", "must be an array of turns", "messages")
    messages: list[Message] = []
    for index, turn in enumerate(turns):
        pointer = f"/messages/{index}"
        if not isinstance(turn, dict):
            raise _bad(row, pointer, "must be an object with role and content", "messages")
        role, content = turn.get("role"), turn.get("content")
        if role not in ROLES:
            raise _bad(row, f"{pointer}/role", f"unknown role {role!r}", "role", did_you_mean(str(role), ROLES))
        if not isinstance(content, str):
            raise _bad(row, f"{pointer}/content", "must be a text", "content")
        if role == "assistant":
            if not undress(content).strip():
                raise _bad(row, f"{pointer}/content", "the assistant text is empty: nothing to learn", "empty_answer")
            content = dress(content, profile)
        messages.append({"role": role, "content": content})
    if not any(message["role"] == "assistant" for message in messages):
        raise _bad(row, "/messages", "no assistant turn: nothing to learn", "no_assistant")
    return tuple(messages)


def _bad(row: Row, pointer: str, message: str, code: str, hint: str = "") -> DataError:
    return DataError(message, path=row.path, line=row.number, pointer=pointer, hint=hint, code=code)
