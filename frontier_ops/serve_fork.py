"""The process that model processes are forked from: it imports torch and transformers once, and loads no model itself.

Most of the start of a worker is these imports (seconds of a core); a fork of a process that has them takes
milliseconds and shares their memory. Speaks to the front (serve_nursery.py) over one socket that keeps messages apart:

In:  {"key", "folder", "profile"} with three descriptors, the worker's stdin, stdout and stderr
Out: {"key", "pid"} when it runs, {"key", "status"} when it ended

Ends when the front is gone; the workers then end by themselves, since their stdin ends too.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from frontier_core.jsonl import dumps, loads
from frontier_core.records import Record

MESSAGE_BYTES = 1 << 16
LIBRARIES = (
    "torch",
    "transformers",
    "transformers.modeling_utils",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "trainer.chat_template",
    "trainer.runtime",
    "frontier_ops.serve_worker",
)
"""What every worker needs. Importing them must start nothing that would not survive a fork, such as a CUDA context."""


def main(control_fd: int) -> int:
    """Forks a worker for each request that comes; returns when the front is gone."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
        # Asks for devices without a CUDA context, which a fork would not survive.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }  # fmt: skip
    for name in LIBRARIES:
        import_module(name)
    gc.freeze()  # a worker's collector need not walk, and so copy, all that was imported
    with socket.socket(fileno=control_fd) as control:
        _Nest(control).run()
    return 0


class _Nest:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._keys: dict[int, int] = {}

    def run(self) -> None:
        """Takes requests and collects the dead, until the front is gone."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                for ready, _ in selector.select():
                    if ready.fileobj == woken:
                        os.read(woken, MESSAGE_BYTES)
                        self._collect()
                    elif not self._take((selector.fileno(), woken, wake)):
                        return

    def _take(self, ours: tuple[int, ...]) -> bool:
        """Forks one worker; False when the front is gone."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 3)
        except ConnectionResetError:
            return False
        if not message:
            return False
        asked: Record = loads(message)
        _import_architecture(Path(asked["folder"]))
        pid = os.fork()
        if pid == 0:
            _become(asked, descriptors, (*ours, self._control.fileno()))
        for descriptor in descriptors:
            os.close(descriptor)
        self._keys[pid] = asked["key"]
        self._tell({"key": asked["key"], "pid": pid})
        return True

    def _collect(self) -> None:
        while self._keys:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._tell({"key": self._keys.pop(pid), "status": os.waitstatus_to_exitcode(status)})

    def _tell(self, message: Record) -> None:
        with suppress(BrokenPipeError):  # the front is gone, which the next read says too
            self._control.send(dumps(message))


def _import_architecture(folder: Path) -> None:
    """Imports the module of the model's architecture, so that only the first worker waits for it.

    Whatever is wrong with the release, its own worker will say it.
    """
    with suppress(Exception):
        kind = loads((folder / "config.json").read_bytes())["model_type"]
        import_module(f"transformers.models.{kind}.modeling_{kind}")


def _become(asked: Record, descriptors: list[int], ours: tuple[int, ...]) -> NoReturn:
    """Turns this fork into the worker."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for target, source in enumerate(descriptors):
            os.dup2(source, target)
        for descriptor in (*descriptors, *ours):
            os.close(descriptor)
        from frontier_ops.serve_worker import main as work

        status = work(asked["folder"], asked["profile"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
