"""What people see (stderr) apart from what programs read (stdout).

While a command runs, fd 1 points at stderr and data goes to the saved descriptor, so that a library's print can't
corrupt a pipe. Also: the options every command shares (-q, -v, -vv, --color), signals, progress.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EIO
from types import FrameType
from typing import Any, BinaryIO

from frontier_core.errors import UsageError

COLORS = ("auto", "always", "never")
PROGRESS_EVERY_S = 60.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_state: dict[str, Any] = {"verbosity": 1, "color": "auto", "stdout": None}


class Terminated(BaseException):
    """SIGTERM, or SIGHUP, arrived: unwinds like KeyboardInterrupt, so that temp files go and checkpoints stay."""


def take_global_options(arguments: list[str]) -> list[str]:
    """Takes -q, -v, -vv and --color out of a command's arguments and gives the rest.

    Raises:
        UsageError: --color with something else than auto, always or never.
    """
    _state.update(verbosity=1, color="auto")
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*rest, word, *words]
        if word in ("-q", "--quiet"):
            _state["verbosity"] = 0
        elif word in ("-v", "--verbose"):
            _state["verbosity"] = 1.5
        elif word == "-vv":
            _state["verbosity"] = 2
        elif word == "--color" or word.startswith("--color="):
            value = word.partition("=")[2] or next(words, "")
            if value not in COLORS:
                raise UsageError(f"--color: {value!r} is none of {', '.join(COLORS)}")
            _state["color"] = value
        else:
            rest.append(word)
    return rest


def verbosity() -> float:
    """Gives 0 for -q, 1 by default, 1.5 for -v, 2 for -vv."""
    return float(_state["verbosity"])


def has_color() -> bool:
    """Says whether stderr gets colour: --color, then NO_COLOR and TERM, then whether it is a terminal."""
    if _state["color"] != "auto":
        return bool(_state["color"] == "always")
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and sys.stderr.isatty()


def visible(text: str) -> str:
    """Gives a text that does nothing to a terminal: control characters but newline and tab become \\xNN.

    Messages quote what plans, models and files say, which can hold escape sequences.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def note(message: str) -> None:
    """Says something on stderr, unless -q."""
    if verbosity() >= 1:
        _complain(f"{visible(message)}\n")


def error(message: str, hint: str = "") -> None:
    """Says on stderr what went wrong, in one line, and what to do next in another."""
    label = "\x1b[31merror:\x1b[0m" if has_color() else "error:"
    _complain(f"{label} {visible(' '.join(message.split()))}\n")
    if hint:
        _complain(f"hint: {visible(hint)}\n")


def _complain(text: str) -> None:
    """Writes to stderr; a terminal that is gone is no reason to fail, nobody reads there any more."""
    try:
        sys.stderr.write(text)
    except OSError as problem:
        if problem.errno != EIO:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def trace() -> None:
    """Prints the trace of the error in hand, with -vv; the exit code stays what it is."""
    if verbosity() > 1:
        import traceback

        traceback.print_exc()


def data_stream() -> BinaryIO:
    """Gives the stream records and --json go to: the real standard output."""
    if _state["stdout"] is None:
        return sys.stdout.buffer
    stream: BinaryIO = _state["stdout"]
    return stream


def emit(text: str) -> None:
    """Writes an answer (a table, --json) to the real standard output."""
    stream = data_stream()
    stream.write(text.encode("utf-8", "replace") + b"\n")
    stream.flush()


def ready(path: str, what: str) -> Callable[[str], None]:
    """Gives a callback that says where a server listens, and writes it to a file when one is named."""

    def say(url: str) -> None:
        note(f"{what} on {url}")
        if path:
            from pathlib import Path

            from frontier_core.atomic import write_bytes

            write_bytes(Path(path), f"{url}\n".encode())

    return say


def unready(path: str) -> None:
    """Removes what `ready` wrote."""
    if path:
        with suppress(FileNotFoundError):
            os.unlink(path)


def input_source(source: str) -> str:
    """Gives the source back; says so when it is a terminal, because waiting for typing looks like hanging."""
    if source == "-" and sys.stdin is not None and sys.stdin.isatty():
        note("reading records from the terminal; end with Ctrl-D")
    return source


@contextmanager
def owning_stdout() -> Iterator[None]:
    """Keeps standard output for data while a command runs, and lets SIGTERM and SIGHUP unwind like Ctrl-C."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    # Not closed by a `with`: after a broken pipe even closing would raise.
    _state["stdout"] = stream = os.fdopen(saved, "wb", buffering=1 << 16)
    before = {sig: signal.signal(sig, _unwind) for sig in _ends()}
    try:
        yield
        stream.flush()
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)
        _state["stdout"] = None
        sys.stdout.flush()
        os.dup2(saved, 1)
        try:
            stream.close()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise


def _ends() -> list[signal.Signals]:
    """Gives the signals that end a command; under nohup the terminal's going away (SIGHUP) is none."""
    is_immune = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *(() if is_immune else (signal.SIGHUP,))]


def _unwind(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one stops at once
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def confirm(question: str) -> bool:
    """Asks on the terminal; raises UsageError where there is none to ask."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(f"{question} nobody is here to answer", hint="--force goes on without asking")
    sys.stderr.write(f"{visible(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class Progress:
    """A bar on a terminal, a line a minute elsewhere, nothing with -q.

    Args:
        what: the verb on the line, e.g. "verify".
        total: how many there will be; None when nobody knows.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what = what
        self.total = total
        self.count = 0
        self._said_at = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        if verbosity() >= 1 and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task(what, total=total, detail="")

    def set_total(self, total: int | None) -> None:
        """Says how many there will be, once that is known; None when nobody knows."""
        if total != self.total:
            self.total = total
            if self._bar is not None:
                self._bar.update(self._task, total=total)

    def update(self, count: int, detail: str = "") -> None:
        """Shows that `count` are done, with a few words on the side."""
        self.count = count
        if self._bar is not None:
            self._bar.update(self._task, completed=count, detail=detail)
        elif time.monotonic() - self._said_at > PROGRESS_EVERY_S:
            self._said_at = time.monotonic()
            of = f" of {self.total}" if self.total else ""
            note(f"{self.what}: {count}{of} {detail}".rstrip())

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Any:
    """Gives rich's bar with our columns: what, bar, share, time left, and the words on the side, cut where it ends."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    words = TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    columns = (TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), TimeRemainingColumn(), words)
    return Progress(*columns, console=Console(stderr=True, no_color=not has_color()), transient=True)
