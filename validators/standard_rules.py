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


class Duplicates(Check):
    """Records whose content, metadata aside, is that of an earlier line.

    LIMIT: remembers 12 bytes a record (about 1.6 GB of dict at 10 million records).
    """

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self._seen: dict[bytes, int] = {}

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives an error when the content stood before."""
        body = {key: value for key, value in record.items() if key != "metadata"}
        digest = blake2b(dumps(body), digest_size=12).digest()
        first = self._seen.setdefault(digest, at.line)
        if first != at.line:
            yield Finding(code="duplicate", message=f"same content as line {first}", remedy="keep one of them")


class Text(Check):
    """What must not stand in any text of a record; see text_rules.py."""

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives what is wrong with the texts of one record."""
        for pointer, text in texts_of(record):
            yield from text_findings(text, pointer, may_name_paths=at.spec == "plan_v1" or "EXECUTING_PLAN" in text)


class Lengths(Check):
    """Answers far longer than the rest; running mean and spread in characters (Welford, 1962)."""

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
        spread = sqrt(self._squares / self.count) if self.count else 0.0
        if self.count >= 100 and length > self.mean + 8 * spread and length > 4 * self.mean:
            message = f"the answer has {length} characters, the mean is {self.mean:.0f}"
            yield Finding(code="length_outlier", message=message, pointer=pointer, severity="warning")
        self.count += 1
        delta = length - self.mean
        self.mean += delta / self.count
        self._squares += delta * (length - self.mean)


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
