"""How judging commands end: the summary, and exit 1 when more lines were rejected than allowed."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frontier_cli import console
from frontier_core.errors import UsageError
from frontier_ops.stage_files import StageResult

if TYPE_CHECKING:
    from validators.judged import Judged

MAX_COMPLAINTS = 20
MIN_REASONS_CHARS = 24


class Complaints:
    """Says the first rejected lines one by one and the rest as a number, unless -q."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: str | Judged) -> None:
        """Takes one rejected line's place and reason, or the line, whose words are made only when they are said."""
        self.count += 1
        if self.count <= MAX_COMPLAINTS:
            console.note(text if isinstance(text, str) else text.complaint())
        elif self.count == MAX_COMPLAINTS + 1:
            console.note("... (further rejected lines are in the rejects file)")


def allowed_rejects(text: str, num_in: int) -> int:
    """Gives the number of rejects that `--max-rejects` allows: "5", or "10%" of the lines read."""
    share = text.endswith("%")
    try:
        value = float(text.removesuffix("%")) if share else int(text)
    except ValueError as error:
        raise UsageError(f"--max-rejects: {text!r} is neither a count nor a percentage") from error
    if value < 0:
        raise UsageError("--max-rejects: can't be negative")
    return int(value * num_in / 100) if share else int(value)


def finish(verb: str, result: StageResult, max_rejects: str, *, kept_in: str = "", more: str = "") -> int:
    """Says how a judging stage went and gives its exit code.

    Args:
        verb: what was done to accepted lines, "verified".
        result: the stage's counts.
        max_rejects: the option's text.
        kept_in: the rejects file, "" when rejects were only counted.
        more: further words for the summary line.
    """
    reasons = ", ".join(f"{count} {code}" for code, count in result.tally.rejects.most_common())
    accepted = result.num_in - result.num_rejected - sum(result.unverified.values())
    told = f"{'up to date: ' if result.report.get('up_to_date') else ''}{verb} {accepted} of {result.num_in}"
    told += f", rejected {result.num_rejected} ({reasons})" if result.num_rejected else ""
    told += f"; {more}" if more else ""
    console.note(told + (f"; rejects in {kept_in}" if kept_in and (result.num_rejected or result.unverified) else ""))
    for reason, count in result.unverified.items():
        console.note(f"not judged: {count} ({reason.removeprefix('not judged: ')})")
    if result.num_rejected > allowed_rejects(max_rejects, result.num_in):
        if not kept_in:
            console.note("hint: --rejects FILE keeps the rejected lines and the reasons")
        return 1
    return 0


def refuse_mixed_output(as_json: bool, output: str) -> None:
    """Stops before a summary and records would both go to standard output."""
    if as_json and output == "-":
        raise UsageError("--json: standard output carries the records", hint="write the records to a file with -o FILE")


@contextmanager
def resumable(journal: Path | None) -> Iterator[None]:
    """Says how to go on when a run is interrupted that keeps its verdicts in a journal."""
    try:
        yield
    except (KeyboardInterrupt, console.Terminated):
        if words := kept_words(journal):
            console.note(f"hint: the same command goes on where this one stopped{words}")
        raise


def kept_words(journal: Path | None) -> str:
    """Says where verdicts are kept, "" when they are not."""
    return f"; verdicts so far are in {journal}" if journal is not None and journal.exists() else ""


class VerifyProgress:
    """Shows how far `synth verify` is: lines done, plans a second, and how many have which verdict."""

    def __init__(self, progress: console.Progress) -> None:
        self._progress = progress
        self._began = time.monotonic()

    def __call__(self, count: int, codes: Mapping[str, int]) -> None:
        """Takes the number of lines done and the counts of their verdicts."""
        rate = count / max(time.monotonic() - self._began, 1e-3)
        counts = ", ".join(f"{number} {code}" for code, number in sorted(codes.items(), key=lambda item: -item[1]))
        self._progress.update(count, f"{rate:.1f} lines/s: {counts}")


def work_words(report: Mapping[str, Any]) -> str:
    """Gives the work behind a verification: rate, CPU time of the plans, backend, verdicts taken over."""
    words = []
    if report["num_run"]:
        words += [f"{report['plans_per_s']:.1f} plans/s", f"{report['plan_cpu_s']:.1f} CPU s in plans"]
    if backend := report["sandbox"].get("backend"):
        words.append(f"{backend} x {report['workers']}")
    if report["num_remembered"]:
        words.append(f"{report['num_remembered']} verdict{'s' * (report['num_remembered'] > 1)} taken over")
    return ", ".join(words)


def summary_table(report: Mapping[str, Any], width: int = 0) -> list[str]:
    """Gives the counts per domain or skill with every reason: a table, or sentences where the terminal is narrow.

    Args:
        report: `StageResult.report` of a verification.
        width: columns; 0 asks the terminal.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    groups: Mapping[str, Any] = report["groups"]
    heads = ("lines", "accepted", "rejected", "not judged")
    left = max(map(len, ["domain", *groups]))
    head = f"{'domain':{left}}  {'  '.join(heads)}  "
    if width < len(head) + MIN_REASONS_CHARS:
        return [line for name, group in groups.items() for line in _sentence(name, group, width)]
    lines = [f"{head}reasons"]
    for name, group in groups.items():
        counts = [group["accepted"], group["rejected"], group["not_judged"]]
        cells = "  ".join(f"{n:>{len(word)}}" for word, n in zip(heads, [sum(counts), *counts], strict=True))
        row = f"{name:{left}}  {cells}  "
        lines += textwrap.wrap(_reasons(group), width, initial_indent=row, subsequent_indent=" " * len(row)) or [row]
    return [line.rstrip() for line in lines]


def _sentence(name: str, group: Mapping[str, Any], width: int) -> list[str]:
    accepted, rejected, not_judged = group["accepted"], group["rejected"], group["not_judged"]
    words = [f"{name}: {accepted} of {accepted + rejected + not_judged} accepted"]
    words += [f"{rejected} rejected ({_reasons(group)})"] if rejected else []
    words += [f"{not_judged} not judged"] if not_judged else []
    return textwrap.wrap(", ".join(words), width, subsequent_indent="    ")


def _reasons(group: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {code}" for code, count in group["reasons"].items())
