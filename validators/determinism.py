"""Whether two runs of a plan, each in a fresh sandbox, ended the same: what may differ is masked first.

Clocks, process ids, random names and hex digests differ between honest runs, and so do the bytes of archives, which
hold a clock. Everything else that differs shows a plan whose verdict is luck. Running twice is execution_gate.py.
LIMIT: a bare number that is a process id or a random draw can't be told from a result; it counts as a difference.
"""

from __future__ import annotations

import re
from typing import Any

from validators.base import Finding
from validators.sandbox.contract import Outcome

Json = dict[str, Any]

_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_MASKS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"), "<date>"),
    (re.compile(rf"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:{_MONTHS}) +\d+\b(?:,? \d{{4}}\b)?"), "<date>"),
    (re.compile(r"\b\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?\b"), "<time>"),
    (re.compile(r"\b\d+m\d+(?:[.,]\d+)?s\b|\b\d+[.,]\d+ ?(?:s|ms|secs?|seconds|elapsed|[kMG]i?B/s)(?!\w)"), "<span>"),
    (re.compile(r"\b1[6-9]\d{8}(?:\.\d+|\d{3}|\d{9})?\b"), "<time>"),
    (re.compile(r"(?i)(\bpid[ =:]+|\bprocess |^\[\d+\]\s+)\d+", re.MULTILINE), r"\1<pid>"),
    (re.compile(r"^(bash: line \d+:\s+)\d+ ", re.MULTILINE), r"\1<pid> "),
    (re.compile(r"\btmp\.[A-Za-z0-9]{6,}|/tmp/[\w.-]+|\btmp[a-z0-9_]{8}\b"), "<tmp>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<hex>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b"), "<hex>"),
)  # fmt: skip
_HOLDS_A_CLOCK = re.compile(
    r"(?i)\.(?:gz|tgz|tar|tbz2?|bz2|xz|txz|zst|zip|7z|jar|war|whl|rpm|deb|cpio|ar|a|pyc|pdf|db|sqlite3?)$"
    r"|(?:^|/)\.git/(?:index|logs/|objects/pack/)"
)
_RANDOM_NAME = re.compile(r"\btmp\.[A-Za-z0-9]{6,}\b")
SHOWN = 80


def masked(text: str) -> str:
    """Gives the text with clocks, durations, process ids, temporary names and hex ids replaced by their kind."""
    for pattern, kind in _MASKS:
        text = pattern.sub(kind, text)
    return text


def difference(first: Outcome, second: Outcome) -> str:
    """Says in words where two runs part, "" where they agree."""
    if (first.status, first.exit_code) != (second.status, second.exit_code):
        return f"ended {first.status} ({first.exit_code}), then {second.status} ({second.exit_code})"
    if first.stdout.get("sha256") != second.stdout.get("sha256"):
        texts = [masked(outcome.stdout.get("text") or "").splitlines() for outcome in (first, second)]
        for number, (left, right) in enumerate(zip(*texts, strict=False), 1):
            if left != right:
                return f"line {number} of stdout is {left[:SHOWN]!r}, then {right[:SHOWN]!r}"
        if len(texts[0]) != len(texts[1]):
            return f"stdout has {len(texts[0])} lines, then {len(texts[1])}"
    before, after = _paths(first), _paths(second)
    for path in sorted(before.keys() | after.keys()):
        if path not in before or path not in after:
            return f"{path} changed in one run only"
        if before[path] != after[path]:
            parts = [name for name in before[path] if before[path][name] != after[path].get(name)]
            return f"{path} ended with another {' and '.join(parts)}"
    return ""


def finding(first: Outcome, second: Outcome) -> list[Finding]:
    """Gives the finding `nondeterministic` when two runs of a plan part, nothing when they agree."""
    words = difference(first, second)
    if not words:
        return []
    remedy = "sort what has no order; leave clocks, random draws and process ids out of results"
    return [Finding(code="nondeterministic", message=f"two runs differ: {words}", pointer="/output", remedy=remedy)]


def _paths(outcome: Outcome) -> dict[str, Json]:
    """Gives of every changed path what two runs must have in common; folders have no content."""
    common = {}
    for change in outcome.changes:
        path = change["path"]
        kept = {name: change.get(name) for name in ("change", "kind", "mode", "target")}
        if not _HOLDS_A_CLOCK.search(path):
            kept["content"] = change.get("sha256")
        common[_RANDOM_NAME.sub("<tmp>", path)] = kept
    return common
