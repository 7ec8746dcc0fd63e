"""The front's side of serve_fork.py: asks for model processes, and learns when they end.

One process imports the libraries once; each worker is a fork of it. It is started with the first worker, and again
when it should be gone; the workers it leaves behind go on. Knows processes, no models and no requests.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO

from frontier_core.errors import ServiceError
from frontier_core.jsonl import dumps, loads
from frontier_core.records import Record
from frontier_ops.serve_fork import MESSAGE_BYTES

# -P keeps the working folder off the path: a user's own `trainer.py` must not shadow ours.
_START = """
import sys
sys.path.insert(0, sys.argv[1])
from frontier_ops.serve_fork import main
sys.exit(main(int(sys.argv[2])))
"""
_ROOT = Path(__file__).resolve().parent.parent
_LINE_LIMIT_BYTES = 1 << 24
CLOSE_WAIT_S = 5.0
LOST = 70
"""The status of a worker whose end nobody could see: the process that would have seen it went first."""


class WorkerProcess:
    """A running model process: its `pid`, its `stdin`, what it writes to `out` and to `errors`."""

    def __init__(self, pid: int, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self.out = asyncio.StreamReader(limit=_LINE_LIMIT_BYTES)
        self.errors = asyncio.StreamReader()
        self.stdin: asyncio.WriteTransport
        self._ended = ended
        self._transports: list[asyncio.BaseTransport] = []

    async def connect(self, stdin: IO[bytes], out: IO[bytes], errors: IO[bytes]) -> WorkerProcess:
        """Takes our ends of its three pipes."""
        loop = asyncio.get_running_loop()
        self.stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, stdin)
        self._transports = [self.stdin]
        for reader, pipe in ((self.out, out), (self.errors, errors)):
            transport, _ = await loop.connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), pipe)
            self._transports.append(transport)
        return self

    async def wait(self) -> int:
        """Gives its exit status when it has ended: minus the signal that killed it, as in subprocess."""
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        """Ends it: its stdin ends, and if it does not go by itself it is killed."""
        self.stdin.close()
        try:
            is_lost = await asyncio.wait_for(self.wait(), CLOSE_WAIT_S) == LOST
        except TimeoutError:
            is_lost = True
        if is_lost:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await self.wait()
        for transport in self._transports:
            transport.close()


class Nursery:
    """Where model processes come from; nothing runs before the first is asked for."""

    def __init__(self) -> None:
        self._home: _Home | None = None
        self._starting = asyncio.Lock()

    async def spawn(self, folder: Path, profile: str) -> WorkerProcess:
        """Starts a worker that loads a release.

        Raises:
            ServiceError: the libraries can't be imported; with the last line that was said of it.
        """
        async with self._starting:
            if self._home is None or self._home.is_gone:
                if self._home is not None:
                    await self._home.close()
                self._home = await _Home.open()
        return await self._home.fork(folder, profile)

    async def close(self) -> None:
        """Ends the process that workers are forked from; workers are closed by those who asked for them."""
        if self._home is not None:
            await self._home.close()
            self._home = None


class _Home:
    """One such process."""

    def __init__(self, process: Process, control: socket.socket) -> None:
        self.is_gone = False
        self._process = process
        self._control = control
        self._keys = count(1)
        self._started: dict[int, asyncio.Future[int]] = {}
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._said: deque[str] = deque(maxlen=20)
        self._errors = asyncio.create_task(self._keep_errors())
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls) -> _Home:
        """Starts the process; it imports while requests to it wait."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-c", _START, str(_ROOT), str(theirs.fileno()),
                stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, pass_fds=(theirs.fileno(),),
                # Ctrl-C reaches the whole terminal group; workers must live to finish what is being answered.
                start_new_session=True,
            )  # fmt: skip
        return cls(process, ours)

    async def fork(self, folder: Path, profile: str) -> WorkerProcess:
        """Gives a new worker; raises ServiceError when the process ends first."""
        key = next(self._keys)
        loop = asyncio.get_running_loop()
        started: asyncio.Future[int] = loop.create_future()
        ended: asyncio.Future[int] = loop.create_future()
        self._started[key], self._ended[key] = started, ended
        asked = dumps({"key": key, "folder": str(folder), "profile": profile})
        theirs, ours = [], []
        for is_input in (True, False, False):
            read, write = os.pipe()
            theirs.append(read if is_input else write)
            ours.append(os.fdopen(write if is_input else read, "wb" if is_input else "rb", 0))
        try:
            with suppress(OSError):  # a process that is gone is heard of by `_listen`
                socket.send_fds(self._control, [asked], theirs)
            for descriptor in theirs:
                os.close(descriptor)
            pid = await started
        except BaseException:
            for pipe in ours:
                pipe.close()
            raise
        finally:
            self._started.pop(key, None)
        return await WorkerProcess(pid, ended).connect(*ours)

    async def close(self) -> None:
        """Ends it."""
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening
        self._control.close()
        self.is_gone = True
        try:
            await asyncio.wait_for(self._process.wait(), CLOSE_WAIT_S)
        except TimeoutError:
            self._process.kill()  # it is importing still
            await self._process.wait()
        await self._errors
        self._lose(ServiceError("the server is closing"))

    async def _listen(self) -> None:
        """Takes what it says until it ends."""
        loop = asyncio.get_running_loop()
        with suppress(ConnectionResetError):
            while message := await loop.sock_recv(self._control, MESSAGE_BYTES):
                told: Record = loads(message)
                waiting = self._started.get(told["key"]) if "pid" in told else self._ended.pop(told["key"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(int(told["pid"] if "pid" in told else told["status"]))
        self.is_gone = True
        status = await self._process.wait()
        await self._errors
        last = f": {self._said[-1]}" if self._said else ""
        self._lose(ServiceError(f"the model worker ended with status {status}{last}"))

    def _lose(self, failure: ServiceError) -> None:
        for started in self._started.values():
            if not started.done():
                started.set_exception(failure)
        for ended in self._ended.values():
            ended.set_result(LOST)
        self._ended.clear()

    async def _keep_errors(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._said.append(line.decode(errors="replace").rstrip())
