"""Layer 2, the content gate: what a record says, at three depths.

    QUICK     profile rules of assistant turns, order of turns, empty text, notes
    STANDARD  + exact duplicates, length outliers, degenerate repetition, encoding damage, secrets, references to
              files outside, answer JSON, balance over tags
    DEEP      + answers leaked into the prompt, prompts against the enforced system prompt, and every skill's verifier

Records that hold a plan are re-run by `synth verify`, not here. Near-duplicates, contamination against an evaluation
file and token statistics with a run's tokenizer are not covered yet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from math import sqrt
from typing import Literal, get_args

from frontier_core.errors import ConfigError
from frontier_core.jsonl import dumps, loads
from frontier_core.nearest import did_you_mean
from frontier_core.profiles import ProfileName, undress, violation
from frontier_core.records import Message, Record, metadata_of, tag_of
from validators.base import Finding

VALIDATOR_NAME = "data_validator"
VALIDATOR_VERSION = "1.0.0"

LevelName = Literal["quick", "standard", "deep"]
LEVELS: tuple[LevelName, ...] = get_args(LevelName)

MAX_NOTES_CHARS = 200
REPEATS = 8
"""The same line or word this often in a row is degenerate output, not language."""
MIN_LEAK_CHARS = 16
"""Shorter answers occur in prompts by right (a number, a letter)."""

_REPEATED_WORD = rf"(?:^|\s)(\S{{1,40}})(?:\s+\1){{{REPEATS - 1},}}(?=\s|$)"
# Patterns stay text: `re` compiles each at its first use, which a start-up of one line never reaches.
_MOJIBAKE = ("\N{REPLACEMENT CHARACTER}", "Ã©", "â€™", "â€œ", "Ã¼", "ðŸ")
_SECRETS = (
    ("-----BEGIN", r"-----BEGIN [A-Z ]*PRIVATE KEY-----", "a private key"),
    ("AKIA", r"\bAKIA[0-9A-Z]{16}\b", "an AWS access key"),
    ("gh", r"\bgh[pousr]_[A-Za-z0-9]{36}\b", "a GitHub token"),
    ("sk-", r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}\b", "an API key"),
)
_OUTSIDE = r"file://\S+|(?<![\w~.])/(?:Users|home|mnt|media)/[\w.-]+/\S*|\b[A-Za-z]:\\Users\\\S+"
_WANTS_THINK = r"(?i)\b(use|write|wrap|put|start with|emit)\b[^.\n]{0,40}</?think>"
_JSON_SKILLS = ("syllo",)


def level_named(name: str) -> LevelName:
    """Gives the level of that name, or raises ConfigError naming the nearest."""
    for level in LEVELS:
        if name.lower() == level:
            return level
    raise ConfigError(f"unknown level {name!r}", hint=did_you_mean(name, LEVELS))


class ContentGate:
    """Judges one record after another; duplicates and balance are judged over all it has seen.

    LIMIT: remembers 16 bytes a record for exact duplicates (1.6 GB of sets at 10 million records).
    """

    def __init__(self, level: LevelName, profile: ProfileName) -> None:
        self.level = level
        self.profile = profile
        self.tags: Counter[str] = Counter()
        self.lengths = Lengths()
        self._seen: dict[bytes, int] = {}

    def check(self, record: Record, spec: str, line: int) -> list[Finding]:
        """Gives what is wrong with one record that passed the schema gate.

        Args:
            record: the record.
            spec: the spec it passed.
            line: its line number, for duplicates to point at.
        """
        findings = list(self._quick(record))
        if self.level != "quick":
            findings += self._standard(record, spec, line)
        if self.level == "deep":
            findings += self._deep(record, spec)
        self.tags[tag_of(metadata_of(record))] += 1
        return findings

    def whole_file(self) -> list[Finding]:
        """Gives the warnings that only the whole file allows; call it after the last record."""
        if self.level == "quick" or not self.tags:
            return []
        total, largest = self.tags.total(), self.tags.most_common(1)[0]
        findings = []
        if len(self.tags) > 1 and largest[1] > 0.8 * total and total >= 20:
            message = f"{largest[1]} of {total} records are {largest[0]}"
            findings.append(Finding(code="imbalance", message=message, severity="warning", remedy="frontier reweight"))
        return findings

    def _quick(self, record: Record) -> Iterator[Finding]:
        messages = _messages(record)
        if messages:
            yield from _turn_order(messages)
        for place, turn in enumerate(messages):
            content = turn.get("content")
            if not isinstance(content, str):
                continue
            pointer = f"/messages/{place}/content"
            if not content.strip():
                yield Finding(code="empty_turn", message=f"the {turn.get('role')} turn is empty", pointer=pointer)
            elif turn.get("role") == "assistant":
                broken = violation(content, self.profile)
                if broken:
                    remedy = "synth format dresses answers; or --profile plain"
                    yield Finding(code=broken[0], message=broken[1], pointer=pointer, remedy=remedy)
        notes = metadata_of(record).get("notes")
        if isinstance(notes, str) and len(notes) > MAX_NOTES_CHARS:
            message = f"notes have {len(notes)} characters, {MAX_NOTES_CHARS} are the limit"
            yield Finding(code="long_notes", message=message, pointer="/metadata/notes", severity="warning")

    def _standard(self, record: Record, spec: str, line: int) -> Iterator[Finding]:
        body = {key: value for key, value in record.items() if key != "metadata"}
        digest = blake2b(dumps(body), digest_size=12).digest()
        first = self._seen.setdefault(digest, line)
        if first != line:
            yield Finding(code="duplicate", message=f"same content as line {first}", remedy="keep one of them")
        for pointer, text in _texts(record):
            yield from _text_findings(text, pointer, may_name_paths=spec == "plan_v1" or "EXECUTING_PLAN" in text)
        answer = _answer(record)
        if answer is not None:
            yield from self.lengths.judge(len(answer[1]), answer[0])
            if metadata_of(record).get("skill") in _JSON_SKILLS:
                yield from _json_answer(undress(answer[1]), answer[0])

    def _deep(self, record: Record, spec: str) -> Iterator[Finding]:
        answer = _answer(record)
        prompts = [m["content"] for m in _messages(record) if m.get("role") == "user" and isinstance(m["content"], str)]
        for prompt in prompts:
            if self.profile != "plain" and re.search(_WANTS_THINK, prompt):
                message = "the user turn asks for <think> blocks, which the enforced system prompt forbids"
                yield Finding(code="contradicts_system", message=message, pointer="/messages")
        if answer is None:
            return
        bare = undress(answer[1]).strip()
        if len(bare) >= MIN_LEAK_CHARS and any(bare in prompt for prompt in prompts):
            yield Finding(
                code="answer_leak", message="the answer stands in the prompt word for word", pointer=answer[0]
            )
        yield from _verified(record, spec, bare)


class Lengths:
    """Running mean and spread of answer lengths in characters (Welford, 1962), to point at outliers."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def judge(self, length: int, pointer: str) -> Iterator[Finding]:
        """Yields a warning when `length` is beyond 8 standard deviations of at least 100 answers; then counts it."""
        spread = sqrt(self._squares / self.count) if self.count else 0.0
        if self.count >= 100 and length > self.mean + 8 * spread and length > 4 * self.mean:
            message = f"the answer has {length} characters, the mean is {self.mean:.0f}"
            yield Finding(code="length_outlier", message=message, pointer=pointer, severity="warning")
        self.count += 1
        delta = length - self.mean
        self.mean += delta / self.count
        self._squares += delta * (length - self.mean)


def _messages(record: Record) -> list[Message]:
    messages = record.get("messages")
    return [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []


def _turn_order(messages: list[Message]) -> Iterator[Finding]:
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


def _texts(record: Record) -> Iterator[tuple[str, str]]:
    """Yields (pointer, text) of every text a model would read."""
    for place, message in enumerate(_messages(record)):
        if isinstance(message.get("content"), str):
            yield f"/messages/{place}/content", message["content"]
    for key in ("instruction", "text", "prompt", "chosen", "rejected", "response"):
        if isinstance(record.get(key), str):
            yield f"/{key}", record[key]


def _answer(record: Record) -> tuple[str, str] | None:
    """The last assistant turn as (pointer, text)."""
    messages = _messages(record)
    for place in range(len(messages) - 1, -1, -1):
        content = messages[place].get("content")
        if messages[place].get("role") == "assistant" and isinstance(content, str):
            return f"/messages/{place}/content", content
    return None


def _text_findings(text: str, pointer: str, *, may_name_paths: bool) -> Iterator[Finding]:
    for sign in _MOJIBAKE:
        if sign in text:
            message = f"damaged encoding: {sign!r}"
            yield Finding(code="encoding_damage", message=message, pointer=pointer, remedy="decode the source as UTF-8")
            break
    for literal, pattern, what in _SECRETS:
        if literal in text and re.search(pattern, text):
            yield Finding(
                code="secret", message=f"holds {what}", pointer=pointer, remedy="revoke it and drop the record"
            )
    if "/" in text or "\\" in text:
        outside = re.search(_OUTSIDE, text)
        if outside and not may_name_paths:
            message = f"refers to a file outside the record: {outside.group()[:60]}"
            yield Finding(
                code="outside_file", message=message, pointer=pointer, remedy="put the content into the prompt"
            )
    if len(text) > 40 and (re.search(_REPEATED_WORD, text) or _same_lines(text)):
        yield Finding(code="degenerate", message=f"the same piece {REPEATS} times in a row", pointer=pointer)


def _same_lines(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    run = 1
    for before, after in pairwise(lines):
        run = run + 1 if before == after else 1
        if run >= REPEATS:
            return True
    return False


def _json_answer(answer: str, pointer: str) -> Iterator[Finding]:
    try:
        value = loads(answer)
    except ValueError:
        yield Finding(code="answer_json", message="the answer is not valid JSON", pointer=pointer)
        return
    missing = [key for key in ("solutions", "inventory_check") if not isinstance(value, dict) or key not in value]
    if missing:
        yield Finding(code="answer_json", message=f"the answer lacks {', '.join(missing)}", pointer=pointer)


def _verified(record: Record, spec: str, answer: str) -> Iterator[Finding]:
    from validators.skills.table import VERIFIERS

    skill = metadata_of(record).get("skill")
    if spec in ("chat_sft_v1", "syllo_v1", "graph_v1", "trace_v1") and skill in VERIFIERS.names():
        yield from VERIFIERS.get(str(skill))(record, answer).findings
