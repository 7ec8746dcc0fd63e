"""Looks for forbidden patterns in a process of its own, because a search can take forever.

While Python's regular expressions search, no signal is heard and no time limit kept.

The process is started at the first search and serves all that follow. It sets an alarm before each search, and the
system ends it when that goes off: nobody need watch it, and none is left behind when this process dies.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from frontier_core.errors import FrontierError

DEADLINE_S = 2.0
"""Seconds all patterns together may take over one answer."""

_WORKER = """
import json, re, signal, sys
signal.signal(signal.SIGALRM, signal.SIG_DFL)
patterns = None
for line in sys.stdin.buffer:
    task = json.loads(line)
    if patterns is None:
        patterns = [re.compile(text, flags) for text, flags in task]
        continue
    signal.setitimer(signal.ITIMER_REAL, task["deadline_s"])
    for pattern in patterns:
        found = next(filter(None, map(pattern.search, task["texts"])), None)
        print(json.dumps(found and found[0][:80]), flush=True)
        if found:
            break
    signal.setitimer(signal.ITIMER_REAL, 0)
"""


class PatternTimeout(Exception):
    """A pattern was not done in time; `pattern` is its text."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"the forbidden pattern {pattern!r} took more than {DEADLINE_S:g} s")
        self.pattern = pattern


class Forbidden:
    """Searches texts for patterns, all of one answer within DEADLINE_S."""

    def __init__(self, patterns: Sequence[re.Pattern[str]]) -> None:
        self._patterns = patterns
        self._worker: _Worker | None = None

    def find(self, texts: Iterable[str]) -> str | None:
        """Gives what the first pattern that fits found, at most 80 characters; None when none fits.

        Raises:
            PatternTimeout: a pattern was not done in time; names it.
        """
        if not self._patterns:
            return None
        worker, self._worker = self._worker or _Worker(self._patterns), None
        try:
            worker.send({"texts": list(texts), "deadline_s": DEADLINE_S})
            for pattern in self._patterns:
                found = worker.found(pattern.pattern)
                if found is not None:
                    break
        except BaseException:  # also an interruption: what it would still say belongs to no later answer
            worker.end()
            raise
        self._worker = worker
        return found


class _Worker:
    """The process; it ends with this object at the latest."""

    def __init__(self, patterns: Sequence[re.Pattern[str]]) -> None:
        # A session of its own: Ctrl-C at the terminal is not its business.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WORKER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.end = weakref.finalize(self, _stop, self._process)
        self.send([(each.pattern, each.flags) for each in patterns])

    def send(self, value: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(value).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def found(self, pattern: str) -> str | None:
        """Gives the answer for the next pattern, which is this one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PatternTimeout(pattern) if self._process.wait() == -signal.SIGALRM else self._died()
        found: str | None = json.loads(line)
        return found

    def _died(self) -> FrontierError:
        return FrontierError(f"the search for forbidden patterns died (status {self._process.wait()})")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):  # something was still to be written: nobody wants it
            pipe.close()
