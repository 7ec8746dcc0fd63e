"""DEEP rules of the content gate: leaks, contradictions, contamination, near-duplicates, answers and plans re-judged.

What each looks for is in leakage.py, contradictions.py, contamination.py, near_duplicates.py and execution_gate.py;
here they are rules that see a file record by record. Contamination, near-duplicates and plans answer after the last
line, so that a whole file is compared and plans run side by side.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from frontier_core.errors import EnvironmentMissing, UsageError
from frontier_core.jsonl import dumps, loads, read_rows
from frontier_core.profiles import undress
from frontier_core.records import Record, metadata_of
from validators.base import Check, Finding, GateSettings, Place
from validators.contradictions import contradictions
from validators.execution_gate import ANSWER_SPECS
from validators.leakage import leaks
from validators.texts import answer_of

BATCH = 256
NEAR_THRESHOLD = 0.8
NEAR_WORDS = 2


class Leaks(Check):
    """Answers that stand in their own prompt."""

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self._found: Counter[str] = Counter()

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives how the answer stands in the prompt, if it does."""
        for finding in leaks(record):
            if finding.code == "answer_overlap" and _is_generated(record):
                continue  # its steps quote what they were given, and its verifier judges them
            self._found[finding.code] += 1
            yield finding

    def facts(self) -> Record:
        """Gives how many records leak, by code."""
        return {"found": dict(sorted(self._found.items()))}


class Contradictions(Check):
    """Turns that ask for what the enforced system prompt forbids."""

    def see(self, record: Record, at: Place) -> Iterable[Finding]:
        """Gives the turns that do."""
        return contradictions(record, self.settings.profile)


class Answers(Check):
    """Answers judged again by their skill's verifier, from the prompt alone."""

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self._judged: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()

    def see(self, record: Record, at: Place) -> Iterator[Finding]:
        """Gives what the verifier finds, if the record's skill has one."""
        skill = str(metadata_of(record).get("skill"))
        answer = answer_of(record)
        if answer is None or at.spec not in ANSWER_SPECS or skill not in _verified_skills():
            return
        verdict = _verifier(skill)(record, undress(answer[1]).strip())
        self._judged[skill] += 1
        self._wrong[skill] += not verdict.ok
        yield from verdict.findings

    def facts(self) -> Record:
        """Gives how many answers were judged and refused, by skill."""
        return {"judged": dict(sorted(self._judged.items())), "refused": dict(sorted((+self._wrong).items()))}


class Plans(Check):
    """Plans run again in a sandbox, each in its fixture, and held against the end state their record demands.

    A plan whose record demands none is judged by `synth verify`, not here. Without a sandbox on this machine plans are
    left alone and the report says so.
    """

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self._lines: list[int] = []
        self._kept = _scratch(self)
        self._codes: Counter[str] = Counter()
        self._skipped = ""

    def see(self, record: Record, at: Place) -> Iterable[Finding]:
        """Keeps a plan for later."""
        if at.spec == "plan_v1" and record.get("expect"):
            self._lines.append(at.line)
            self._kept.write(dumps(record) + b"\n")
        return ()

    def finish(self) -> Iterator[tuple[int, Finding]]:
        """Gives what the runs show."""
        if not self._lines:
            return
        import os

        from validators.execution_gate import judge_stream
        from validators.sandbox.backend import open_sandbox

        self._kept.seek(0)
        records = (loads(line) for line in self._kept)
        try:
            judged = judge_stream(records, sandbox_factory=open_sandbox, workers=os.cpu_count() or 2)
            for line, (_, verdict) in zip(self._lines, judged, strict=True):
                self._codes[verdict.code] += 1
                yield from ((line, finding) for finding in verdict.findings)
        except EnvironmentMissing as error:
            self._skipped = error.message
            message = f"{len(self._lines)} plans were not run again: {error.message}"
            yield 0, Finding(code="plans_not_run", message=message, severity="warning", remedy=error.hint)

    def facts(self) -> Record:
        """Gives the verdicts by code, and why plans were not run."""
        skipped: Record = {"not_run": self._skipped} if self._skipped else {}
        return {"plans": len(self._lines), "verdicts": dict(sorted(self._codes.items())), **skipped}


class _Batched(Check):
    """A rule that takes texts by the batch."""

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self.lines: list[int] = []
        self._records: list[Record] = []

    def see(self, record: Record, at: Place) -> Iterable[Finding]:
        """Takes one record."""
        self.lines.append(at.line)
        self._records.append(record)
        if len(self._records) >= BATCH:
            self.flush()
        return ()

    def flush(self) -> None:
        """Hands what has gathered on."""
        if self._records:
            self.take(self._records)
            self._records = []

    def take(self, records: list[Record]) -> None:
        """Takes a batch of records, numbered on from those before."""
        raise NotImplementedError


class NearDuplicateRecords(_Batched):
    """Records that repeat another with small changes; the first of each group stays.

    Records of a skill with a verifier come from a generator, which words many problems alike: those only get a warning.
    """

    def __init__(self, settings: GateSettings) -> None:
        from validators.near_duplicates import NearDuplicates

        super().__init__(settings)
        self._seen = NearDuplicates(NEAR_THRESHOLD, length=NEAR_WORDS)
        self._made: set[int] = set()
        self._sizes: list[int] = []

    def take(self, records: list[Record]) -> None:
        """Adds the texts of a batch."""
        from validators.contamination import undressed_text

        first = len(self._seen)
        self._made.update(first + n for n, record in enumerate(records) if _is_generated(record))
        self._seen.add([undressed_text(record) for record in records])

    def finish(self) -> Iterator[tuple[int, Finding]]:
        """Gives a finding for each record but the first of each group."""
        self.flush()
        pairs = self._seen.pairs()
        from validators.near_duplicates import grouped, twins_of

        self._sizes = sorted((len(group) for group in grouped(pairs[0])), reverse=True)
        for number, twin in twins_of(*pairs).items():
            message = f"near-duplicate of line {self.lines[twin.number]} (similarity {twin.similarity:.2f})"
            yield self.lines[number], Finding(
                code="near_duplicate", message=message, remedy="keep one of them",
                severity="warning" if number in self._made else "error",
            )  # fmt: skip

    def facts(self) -> Record:
        """Gives how many groups there are, the largest ones, and how many pairs were compared."""
        bands = self._seen.bands
        return {
            "threshold": NEAR_THRESHOLD, "ngram_words": NEAR_WORDS, "bands": bands.bands, "rows": bands.rows,
            "recall_at_threshold": round(bands.recall(NEAR_THRESHOLD), 4), "compared_pairs": self._seen.num_compared,
            "groups": len(self._sizes), "near_duplicates": sum(self._sizes) - len(self._sizes),
            "largest_groups": self._sizes[:10],
        }  # fmt: skip


class Contamination(_Batched):
    """Records that hold what the files of `--against` ask."""

    def __init__(self, settings: GateSettings) -> None:
        from validators.contamination import HeldOut

        super().__init__(settings)
        held = HeldOut()
        for path in settings.against:
            for row in read_rows(path):
                if row.problem is not None:
                    raise UsageError(
                        f"--against: {row.problem.message}", hint="mend the evaluation file; all of it is compared"
                    )
                held.add(row.record, str(path), row.number)
        self._num_held = held.num_records
        self._held = held.build() if settings.against else None
        self._found: Counter[str] = Counter()
        self._items: set[Any] = set()

    def see(self, record: Record, at: Place) -> Iterable[Finding]:
        """Takes one record, if there is something to compare it with."""
        return () if self._held is None else super().see(record, at)

    def take(self, records: list[Record]) -> None:
        """Compares a batch."""
        from validators.contamination import question_of, undressed_text

        assert self._held is not None
        self._held.see([undressed_text(record) for record in records], [question_of(record) for record in records])

    def finish(self) -> Iterator[tuple[int, Finding]]:
        """Gives an error for each record that holds a held-out one, naming the strongest overlap."""
        self.flush()
        for found in self._held.overlaps() if self._held is not None else ():
            self._found[found.how] += 1
            self._items.add((found.item.path, found.item.line))
            where = f"{found.item.path}:{found.item.line}"
            said = {
                "whole": f"asks what {where} asks",
                "ngram": f"{found.share:.0%} of the {found.item.part} of {where} stands in it",
                "near_duplicate": f"near-duplicate of {where} (similarity {found.share:.2f})",
            }
            yield (
                self.lines[found.number],
                Finding(
                    code="contamination",
                    message=said[found.how],
                    remedy="drop it, or take the problem out of the evaluation",
                ),
            )

    def facts(self) -> Record:
        """Gives how many held-out records were compared, and how many of them were found and how."""
        return {
            "held_out": self._num_held, "held_out_found": len(self._items), "found": dict(sorted(self._found.items())),
        }  # fmt: skip


def _is_generated(record: Record) -> bool:
    if "expect" in record or "fixture" in record:
        return True
    return str(metadata_of(record).get("skill")) in _verified_skills()


@cache
def _verified_skills() -> frozenset[str]:
    from validators.skills.table import VERIFIERS

    return frozenset(VERIFIERS.names())


def _verifier(skill: str) -> Any:
    from validators.skills.table import VERIFIERS

    return VERIFIERS.get(skill)


def _scratch(owner: object) -> Any:
    """Gives a temporary file that is closed when its owner is forgotten."""
    file = tempfile.TemporaryFile(prefix="frontier-plans-")  # noqa: SIM115
    weakref.finalize(owner, file.close)
    return file
