"""frontier synth review."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frontier_cli import console

if TYPE_CHECKING:
    from frontier_core.records import Record
    from frontier_ops.review import Item, Journal

EXAMPLES = """\
frontier synth review taught.jsonl -o reviewed.jsonl
frontier synth review taught.jsonl --export sheet.csv"""

KEYS = "[a]ccept  [e]dit  [r]eject  [s]kip  [b]ack  [q]uit"


def command(
    source: Annotated[str, typer.Argument(metavar="FILE", help="records to review")],
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="write what was accepted here when the review ends")
    ] = "",
    reviewer: Annotated[str, typer.Option("--reviewer", metavar="NAME", help="who decides [$USER]")] = "",
    everything: Annotated[bool, typer.Option("--all", help="review every record, not only those that ask")] = False,
    export: Annotated[
        str, typer.Option("--export", metavar="SHEET", help="write a sheet (.jsonl or .csv) to review elsewhere")
    ] = "",
    take: Annotated[
        str, typer.Option("--import", metavar="SHEET", help="take the decisions of a filled-in sheet")
    ] = "",
) -> int:
    """Accept, edit or reject records by hand; decisions are kept as they are made.

    Records whose template asks for a review are shown one after the other. FILE.review.jsonl holds the decisions, so a
    review goes on where it was left. Exit 1 while records still wait.
    """
    from frontier_ops import review
    from frontier_ops.stage_files import Target

    journal = review.Journal(review.journal_of(source))
    who = reviewer or _user_name()
    if export:
        console.note(f"wrote {review.export(source, export, journal, everything=everything)} records to {export}")
        return 0
    if take:
        taken = review.import_decisions(take, source, journal, reviewer=who, everything=everything)
        console.note(f"took {taken} new decisions")
    else:
        _ask(list(review.items(source, everything=everything)), journal, who)
    waiting = [item for item in review.items(source, everything=everything) if journal[item.key] is None]
    if output:
        result = review.apply(source, Target(output=output), journal, everything=everything)
        console.note(f"wrote {result.num_out} records, rejected {result.num_rejected}")
    if waiting:
        console.note(f"{len(waiting)} records still wait; frontier synth review {shlex.quote(source)} goes on")
    return 1 if waiting else 0


def _user_name() -> str:
    """Gives the person's name on this machine; "" where it has none."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _ask(items: list[Item], journal: Journal, reviewer: str) -> None:
    """Shows each undecided record and does what the key says, until all are decided or the person stops."""
    from frontier_core.errors import UsageError

    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError("a review needs a terminal", hint="--export SHEET, fill it in, --import SHEET")
    if not reviewer:
        raise UsageError("who decides? set a reviewer", hint="--reviewer NAME")
    with _terminal(keys=True):
        _decide(items, journal, reviewer)


def _decide(items: list[Item], journal: Journal, reviewer: str) -> None:
    from frontier_core.errors import FrontierError

    place, shown = 0, -1
    while place < len(items):
        item = items[place]
        if journal[item.key] is not None and shown != place:
            place += 1
            continue
        _show(item, place, len(items))
        shown = -1
        key = _key()
        try:
            if key in "a\r\n":
                journal.add(item, "accept", reviewer=reviewer)
            elif key == "r":
                journal.add(item, "reject", reviewer=reviewer, reason=_line("reason: "))
            elif key == "e":
                journal.add(item, "edit", reviewer=reviewer, record=_edited(item.record))
            elif key == "b" and place > 0:
                place = shown = place - 1
                if journal[items[place].key] is not None:
                    journal.forget(items[place])
                continue
            elif key in "q\x04":
                return
            elif key != "s":
                console.note(KEYS)
                continue
        except FrontierError as problem:
            console.error(problem.message, problem.hint)
            continue
        place += 1


def _show(item: Item, place: int, total: int) -> None:
    from frontier_core.records import metadata_of
    from frontier_ops.review import prompt_and_answer

    metadata = metadata_of(item.record)
    about = " ".join(f"{name}={metadata[name]}" for name in ("skill", "level", "source") if name in metadata)
    prompt, answer = prompt_and_answer(item.record)
    console.note(f"\n-- {place + 1} of {total}, line {item.line}  {about}\n{prompt}\n\n{answer}\n\n{KEYS}")


@contextmanager
def _terminal(*, keys: bool) -> Iterator[None]:
    """Sets the terminal to give single keys, or whole lines; what was typed ahead is kept."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    after = termios.tcgetattr(0)
    if keys:
        tty.setcbreak(0, termios.TCSADRAIN)
    else:
        after[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(0, termios.TCSADRAIN, after)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _key() -> str:
    """Reads one key; the end of input is q."""
    return os.read(0, 1).decode("ascii", "replace").lower() or "q"


def _line(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    with _terminal(keys=False):
        return os.read(0, 4096).decode("utf-8", "replace").strip()


def _edited(record: Record) -> Record:
    """Opens the record in the person's editor.

    Raises:
        UsageError: the editor failed or what it left is no JSON object.
    """
    import json

    from frontier_core.errors import UsageError
    from frontier_core.jsonl import loads

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record.json"
        file.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        try:
            with _terminal(keys=False):
                code = subprocess.call([*shlex.split(editor), str(file)])
        except OSError as error:
            raise UsageError(f"{editor}: {error.strerror}", hint="set EDITOR") from error
        if code != 0:
            raise UsageError(f"{editor} ended with {code}; nothing was changed")
        try:
            edited = loads(file.read_bytes())
        except ValueError as error:
            raise UsageError(f"what was left is no JSON: {error}") from error
    if not isinstance(edited, dict):
        raise UsageError("what was left is no JSON object")
    return edited
