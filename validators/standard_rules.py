"""STANDARD rules of the content gate: duplicates, damage, secrets, foreign files, degenerate text, lengths, balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from math import sqrt

from frontier_core.jsonl import dumps, loads
from frontier_core.profiles import undress
from frontier_core.records import Record, metadata_of, tag_of
from validators.base import Check, Finding, GateSettings, Place
from validators.text_rules import text_findings
from validators.texts import answer_of, texts_of

_JSON_SKILLS = ("syllo",)
_TURN = {"role", "content"}


class Duplicates(Check):
    """Records whose content, metadata aside, is that of an earlier line, however its characters are spelt or spaced.

    LIMIT: remembers 12 bytes a record (about 1.6 GB of dict at 10 million records).
    """

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self.seen: dict[bytes, int] = {}

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives an error when the content stood before."""
        first = self.seen.setdefault(content_key(record), at.line)
        if first != at.line:
            yield Finding(code="duplicate", message=f"same content as line {first}", remedy="keep one of them")


def content_key(record: Record) -> bytes:
    """Gives what stands for a record's content; a plain chat's is that of its turns alone."""
    body = {key: value for key, value in record.items() if key != "metadata"}
    turns = body.get("messages")
    if len(body) == 1 and isinstance(turns, list) and all(isinstance(t, dict) and t.keys() == _TURN for t in turns):
        return turns_key(dumps([{"role": turn["role"], "content": turn["content"]} for turn in turns]))
    return turns_key(dumps(body))


def turns_key(encoded: bytes) -> bytes:
    """Gives what stands for some turns, encoded as JSON without spaces, each as its role and then its content."""
    return blake2b(encoded, digest_size=12).digest()


class Text(Check):
    """What must not stand in any text of a record; see text_rules.py."""

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives what is wrong with the texts of one record."""
        for pointer, text in texts_of(record):
            yield from text_findings(text, pointer, may_name_paths=at.spec == "plan_v1" or "EXECUTING_PLAN" in text)


class Lengths(Check):
    """Answers far longer than the rest; running mean and spread in characters."""

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives a warning for an answer beyond 8 standard deviations of at least 100 before it; then counts it."""
        answer = answer_of(record)
        if answer is None:
            return
        pointer, length = answer[0], len(answer[1])
        if self.unusual([length]):
            message = f"the answer has {length} characters, the mean is {self.mean:.0f}"
            yield Finding(code="length_outlier", message=message, pointer=pointer, severity="warning")
        self.take([length])

    def unusual(self, lengths: list[int]) -> list[int]:
        """Gives the places of lengths far beyond what was taken in so far."""
        if self.count < 100 or not lengths:
            return []
        bound = max(self.mean + 8 * sqrt(self._squares / self.count), 4 * self.mean)
        return [place for place, length in enumerate(lengths) if length > bound] if max(lengths) > bound else []

    def take(self, lengths: list[int]) -> None:
        """Counts lengths. Source: Chan, Golub and LeVeque (1979), the pairwise update."""
        if not lengths:
            return
        added, mean = len(lengths), sum(lengths) / len(lengths)
        squares = sum([length * length for length in lengths]) - added * mean * mean
        delta, total = mean - self.mean, self.count + added
        self._squares += max(0.0, squares) + delta * delta * self.count * added / total
        self.mean += delta * added / total
        self.count = total


class AnswerJson(Check):
    """Answers of scenarios that promise JSON of a known shape."""

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives an error when the answer is not the JSON its scenario promises."""
        if metadata_of(record).get("skill") not in _JSON_SKILLS:
            return
        answer = answer_of(record)
        if answer is not None:
            yield from _json_answer(undress(answer[1]), answer[0])


class Balance(Check):
    """Whether one tag fills the file."""

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self.tags: Counter[str] = Counter()

    def see(self, record: Record, at: Place) -> Iterable[Finding]:
        """Counts the record's tag."""
        self.tags[tag_of(metadata_of(record))] += 1
        return ()

    def finish(self) -> Iterator[tuple[int, Finding]]:
        """Gives a warning when over 80 % of at least 20 records have one tag of several."""
        if not self.tags:
            return
        total, largest = self.tags.total(), self.tags.most_common(1)[0]
        if len(self.tags) > 1 and largest[1] > 0.8 * total and total >= 20:
            message = f"{largest[1]} of {total} records are {largest[0]}"
            yield 0, Finding(code="imbalance", message=message, severity="warning", remedy="frontier reweight")


def _json_answer(answer: str, pointer: str) -> Iterator[Finding]:
    try:
        value = loads(answer)
    except ValueError:
        yield Finding(code="answer_json", message="the answer is not valid JSON", pointer=pointer)
        return
    missing = [key for key in ("solutions", "inventory_check") if not isinstance(value, dict) or key not in value]
    if missing:
        yield Finding(code="answer_json", message=f"the answer lacks {', '.join(missing)}", pointer=pointer)
