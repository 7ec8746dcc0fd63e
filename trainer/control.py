"""Orders to a run that is under way: pause, resume, stop, skip; by signals and by files, obeyed between two steps.

Files in the run's control folder are orders: `.pause`, `.resume`, `.stop`, `.skip`; each is removed when it is obeyed.
`state.json` beside them says what the run does now. Signals say the same: SIGUSR1 pauses and resumes, SIGUSR2 skips,
SIGINT, SIGTERM and SIGHUP (the terminal is gone) stop, a second one at once. Several processes of one run obey what any
of them was told. No torch here; what a stop leaves behind is trainer/hf_trainer.py's business.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import orjson

from frontier_core.atomic import explain_os_error, write_bytes

Order = Literal["", "pause", "resume", "skip", "stop"]
ORDERS: tuple[Order, ...] = ("", "resume", "pause", "skip", "stop")
"""What a run can be told, the weaker first."""

STATE = "state.json"
POLL_S = 0.2
"""How often a paused run looks for its next order."""

Agree = Callable[[int], int]
"""Given this process's order as a number, gives the strongest any process of the run has."""


class Control:
    """What a run was told to do, asked once a step.

    Use as a context manager around training. Outside the main thread no signal handler can be set and none is.

    Args:
        folder: where order files are looked for and state.json is written; None: signals only.
        run_id: named in state.json.
        is_writer: False for all but the first of several processes: they only listen to signals.
    """

    def __init__(self, folder: Path | None = None, *, run_id: str = "run", is_writer: bool = True) -> None:
        self.folder = folder if is_writer else None
        self.run_id = run_id
        self.signal: int | None = None
        self.is_hasty = False
        self.is_skipped = False
        self.is_stopped = False
        self.paused_s = 0.0
        self._order: Order = ""
        self._is_paused = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Control:
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise explain_os_error(error, self.folder) from error
        if threading.current_thread() is threading.main_thread():
            is_immune = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
            for number in (signal.SIGINT, signal.SIGTERM, *(() if is_immune else (signal.SIGHUP,))):
                self._old[number] = signal.signal(number, self._note_stop)
            self._old[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._note_pause)
            self._old[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, self._note_skip)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old.clear()

    def raise_again(self) -> None:
        """Delivers the held-back SIGINT, SIGTERM or SIGHUP to whoever handled it before; call it after the block."""
        if self.signal is not None:
            signal.raise_signal(self.signal)

    def next_order(self, agree: Agree = lambda order: order) -> Order:
        """Gives what the run was told since the last call and forgets it; "" when nothing."""
        order = ORDERS[agree(ORDERS.index(self._taken()))]
        if order == "stop":
            self.is_stopped = True
        elif order == "skip":
            self.is_skipped = True
        return order

    def wait(self, step: int, total: int, agree: Agree = lambda order: order) -> Order:
        """Holds a paused run until it is told to go on; gives "resume", "skip" or "stop"."""
        began = time.monotonic()
        self._is_paused = True
        self.report("paused", step, total)
        order: Order = ""
        while order not in ("resume", "skip", "stop"):
            order = self.next_order(agree)
            if not order:
                time.sleep(POLL_S)
        self._is_paused = False
        self.paused_s += time.monotonic() - began
        if order == "resume":
            self.report("processing", step, total)
        return order

    def report(self, status: str, step: int, total: int, **more: Any) -> None:
        """Writes state.json: status, step, num_steps, run_id, pid, updated_at, and what else is given."""
        if self.folder is None:
            return
        state = {
            "status": status,
            "run_id": self.run_id,
            "step": step,
            "num_steps": total,
            "pid": os.getpid(),
            "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
            **more,
        }
        write_bytes(self.folder / STATE, orjson.dumps(state, option=orjson.OPT_INDENT_2) + b"\n")

    def _taken(self) -> Order:
        """The strongest order there is; files that said it are removed."""
        order, self._order = self._order, ""
        if self.folder is not None:
            for name in ORDERS[1:]:
                file = self.folder / f".{name}"
                if file.exists():
                    file.unlink(missing_ok=True)
                    order = max(order, name, key=ORDERS.index)
        if order == "resume" and not self._is_paused:
            return ""
        return order

    def _tell(self, order: Order) -> None:
        self._order = max(self._order, order, key=ORDERS.index)

    def _note_stop(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            self.is_hasty = True
            raise KeyboardInterrupt
        self.signal = number
        self._tell("stop")

    def _note_pause(self, _number: int, _frame: FrameType | None) -> None:
        self._tell("resume" if self._is_paused else "pause")

    def _note_skip(self, _number: int, _frame: FrameType | None) -> None:
        self._tell("skip")
