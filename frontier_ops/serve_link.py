"""The front's side of the model process: starts it, queues requests, passes events on, starts it again when it dies.

One request is with the worker at a time; the others wait in order, and beyond `max_waiting` they are refused at once.
The worker's turn ends when its last event has arrived, not when a slow client has read it. Does not know HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from itertools import count
from math import ceil
from pathlib import Path

from frontier_core.errors import DataError, FrontierError, ServiceError
from frontier_core.jsonl import dumps, loads
from frontier_core.records import Record
from frontier_ops.serve_nursery import Nursery, WorkerProcess

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits before starting a dead worker again; an answered request sets it back to the first."""


class WorkerDown(Exception):
    """The worker died or is not ready; `retry_after_s` is when to ask again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the model is being loaded")
        self.retry_after_s = retry_after_s


class QueueFull(Exception):
    """More requests are waiting than may wait."""


class Inbox:
    """The events of one request as they arrive; `is_whole` is set with the last one, whoever has read them."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Record | None] = asyncio.Queue()
        self.is_whole = asyncio.Event()

    def put(self, event: Record | None) -> None:
        """Takes an event; None says that the worker died."""
        self.events.put_nowait(event)
        if event is None or event["event"] in ("done", "error"):
            self.is_whole.set()


class WorkerLink:
    """A model process under supervision.

    Args:
        folder: the release to load; already verified.
        max_waiting: requests that may wait while another is answered.
        on_note: gets a remark when the worker dies and when it is back.
        profile: the answer profile whose logit penalties hold.
        nursery: where its process comes from; None makes one for this release alone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_waiting: int,
        on_note: Callable[[str], None],
        profile: str = "plain",
        nursery: Nursery | None = None,
    ) -> None:
        self.folder = folder
        self.profile = profile
        self.on_death: Callable[[str], None] = lambda _: None
        """Called with the reason when a worker that was ready dies; the fleet decides what that means."""
        self.max_waiting = max_waiting
        self.ready: Record | None = None
        self.num_restarts = 0
        self._on_note = on_note
        self._nursery = nursery or Nursery()
        self._owns_nursery = nursery is None
        self._process: WorkerProcess | None = None
        self._pending: dict[int, Inbox] = {}
        self._ids = count(1)
        self._turn = asyncio.Lock()
        self._num_waiting = 0
        self._num_failures = 0
        self._retry_at = 0.0
        self._stderr: deque[str] = deque(maxlen=20)
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> Record:
        """Starts the worker and gives its ready event: load_s, context_tokens, num_parameters, device.

        Raises:
            DataError: the release can't be loaded; the message is the worker's own.
            ServiceError: the worker died without a word.
        """
        loaded: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.create_task(self._supervise(loaded))
        return await loaded

    async def close(self) -> None:
        """Ends the worker: its stdin closes, and if it does not go by itself it is killed."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        self._break_off()
        process, self._process, self.ready = self._process, None, None
        if process is not None:
            await process.close()
        if self._owns_nursery:
            await self._nursery.close()

    async def generate(self, request: Record) -> AsyncGenerator[Record, None]:
        """Yields the worker's events for one request, the last being `done` or `error`; closing early cancels it.

        Raises:
            QueueFull: too many are waiting already.
            WorkerDown: the worker is not ready, or died before the answer was complete.
        """
        if self.ready is None:
            raise self._down()
        if self._num_waiting > self.max_waiting:
            raise QueueFull
        self._num_waiting += 1
        turn = _Turn(self)
        try:
            await turn.take()
            async for event in self._converse(request, turn):
                yield event
        finally:
            turn.end()

    async def _converse(self, request: Record, turn: _Turn) -> AsyncGenerator[Record, None]:
        if self.ready is None:  # it died while this one waited
            raise self._down()
        identity = next(self._ids)
        inbox = Inbox()
        self._pending[identity] = inbox
        ending = asyncio.create_task(turn.end_with(inbox))
        is_open = True
        try:
            self._tell({"op": "generate", "id": identity, **request})
            while is_open:
                event = await inbox.events.get()
                if event is None:
                    is_open = False
                    raise self._down()
                is_open = event["event"] not in ("done", "error")
                if not is_open:
                    self._num_failures = 0
                yield event
        finally:
            ending.cancel()
            self._pending.pop(identity, None)
            if is_open and not inbox.is_whole.is_set():
                self._tell({"op": "cancel", "id": identity})

    def _tell(self, command: Record) -> None:
        if self._process is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(dumps(command) + b"\n")

    def _down(self) -> WorkerDown:
        return WorkerDown(max(1, ceil(self._retry_at - time.monotonic())))

    async def _supervise(self, loaded: asyncio.Future[Record]) -> None:
        while True:
            failure = await self._run_once(loaded)
            self._break_off()
            if not loaded.done():
                loaded.set_exception(failure)
                return
            wait_s = BACKOFF_S[min(self._num_failures, len(BACKOFF_S) - 1)]
            self._num_failures += 1
            self.on_death(failure.message)
            self._retry_at = time.monotonic() + wait_s
            self._on_note(f"{failure.message}; starting again in {wait_s:g} s")
            await asyncio.sleep(wait_s)
            self.num_restarts += 1

    def _break_off(self) -> None:
        for inbox in self._pending.values():
            inbox.put(None)

    async def _run_once(self, loaded: asyncio.Future[Record]) -> FrontierError:
        """Runs one worker until it ends and says how it ended."""
        self._stderr.clear()
        try:
            process = await self._nursery.spawn(self.folder, self.profile)
        except ServiceError as error:
            return error
        self._process = process
        drain = asyncio.create_task(self._keep_stderr(process.errors))
        said = ""
        try:
            async for line in process.out:
                event: Record = loads(line)
                if event["event"] == "failed":
                    said = event["message"]
                elif event["event"] == "ready":
                    self.ready = event
                    if loaded.done():
                        self._on_note("the model is loaded again")
                    else:
                        loaded.set_result(event)
                elif event["id"] in self._pending:
                    self._pending[event["id"]].put(event)
            status = await process.wait()
            await drain
            await process.close()
        finally:
            self.ready = None
            drain.cancel()
        if said:
            return DataError(said, code="load")
        last = f": {self._stderr[-1]}" if self._stderr else ""
        return ServiceError(f"the model worker ended with status {status}{last}")

    async def _keep_stderr(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self._stderr.append(line.decode(errors="replace").rstrip())


class _Turn:
    """One request's place in the line before the worker; given up once, by whatever happens first."""

    def __init__(self, link: WorkerLink) -> None:
        self._link = link
        self._has_lock = False
        self._is_over = False

    async def take(self) -> None:
        """Waits for the worker."""
        await self._link._turn.acquire()
        self._has_lock = True

    async def end_with(self, inbox: Inbox) -> None:
        """Ends the turn when the worker's last event has come."""
        await inbox.is_whole.wait()
        self.end()

    def end(self) -> None:
        """Lets the next one go."""
        if self._is_over:
            return
        self._is_over = True
        self._link._num_waiting -= 1
        if self._has_lock:
            self._link._turn.release()
