"""How judging commands end: the summary line, and exit 1 when more lines were rejected than allowed."""

from __future__ import annotations

from frontier_cli import console
from frontier_core.errors import UsageError
from frontier_ops.stage_files import StageResult

MAX_COMPLAINTS = 20


class Complaints:
    """Says the first rejected lines one by one and the rest as a number, unless -q."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: str) -> None:
        """Takes one rejected line's place and reason."""
        self.count += 1
        if self.count <= MAX_COMPLAINTS:
            console.note(text)
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


def finish(verb: str, result: StageResult, max_rejects: str, *, kept_in: str = "") -> int:
    """Says how a judging stage went and gives its exit code.

    Args:
        verb: what was done to accepted lines, "verified".
        result: the stage's counts.
        max_rejects: the option's text.
        kept_in: the rejects file, "" when rejects were only counted.
    """
    reasons = ", ".join(f"{count} {code}" for code, count in result.tally.rejects.most_common(5))
    accepted = result.num_in - result.num_rejected - sum(result.unverified.values())
    told = f"{verb} {accepted} of {result.num_in}"
    told += f", rejected {result.num_rejected} ({reasons})" if result.num_rejected else ""
    console.note(told + (f"; rejects in {kept_in}" if kept_in and (result.num_rejected or result.unverified) else ""))
    for reason, count in result.unverified.items():
        console.note(f"not judged: {count} ({reason})")
    if result.num_rejected > allowed_rejects(max_rejects, result.num_in):
        if not kept_in:
            console.note("hint: --rejects FILE keeps the rejected lines and the reasons")
        return 1
    return 0
