"""One door for all requests of a run: places in flight, pace, breaker and budget, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf

from frontier_core.errors import FrontierError, ServiceUnavailable
from generators.teachers.ledger import Ledger
from generators.teachers.pace import Breaker, Pace

Size = tuple[float, float]
"""Tokens to expect, in and out."""

PROBES_OF_A_STRANGER = 2
"""Failed probes after which a service that never answered in this run counts as not there: a wrong address, mostly."""


class BudgetReached(Exception):
    """The request would exceed the job's budget; it was not sent."""


class Gate:
    """Lets requests through when everything allows it.

    Args:
        pace: how fast.
        breaker: whether at all.
        ledger: whether it is affordable.
        stall_s: seconds of nothing but refusals after which the run ends.
    """

    def __init__(self, pace: Pace, breaker: Breaker, ledger: Ledger, *, stall_s: float) -> None:
        self.pace = pace
        self.breaker = breaker
        self.ledger = ledger
        self.in_flight = 0
        self.error: BaseException | None = None
        self.ended = asyncio.Event()
        self._stall_s = stall_s
        self._waiting: deque[tuple[asyncio.Future[float], Size]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._lively_at = self._loop.time()
        self._was_there = False

    async def enter(self, size: Size, *, again: bool) -> float:
        """Waits for a place and gives the time the request starts; `again` goes before those that never were.

        Raises:
            BudgetReached: it is not affordable.
            FrontierError: the run was stopped (`stop`).
        """
        if self.error is not None:
            raise self.error
        now = self._loop.time()
        if not self._waiting and self._wait_s(now, size) <= 0:
            return self._admit(now, size)
        future: asyncio.Future[float] = self._loop.create_future()
        if again:
            self._waiting.appendleft((future, size))
        else:
            self._waiting.append((future, size))
        self._pump()
        return await future

    def leave(self, size: Size) -> None:
        """Gives a place back; every `enter` that returned has one `leave`, after its outcome was noted."""
        self.in_flight -= 1
        self.ledger.release(*size)
        if self._waiting:
            self._pump()

    def accepted(self, sent_at: float, size: Size, tokens: int) -> None:
        """Notes an answer that took `tokens`."""
        now = self._lively_at = self._loop.time()
        self.pace.accepted(now, sent_at, tokens - int(sum(size)))
        self.breaker.succeeded()
        self._was_there = True

    def refused(self, sent_at: float, retry_after_s: float) -> None:
        """Notes HTTP 429; when there was nothing else for long, the run ends."""
        now = self._loop.time()
        self.pace.refused(now, sent_at, retry_after_s)
        self.breaker.succeeded()  # it lives: it can say no
        self._was_there = True
        if now - self._lively_at > self._stall_s:
            message = f"nothing but refusals (HTTP 429) for {self._stall_s:g} s"
            self.stop(ServiceUnavailable(message, hint="is the quota used up? the same command goes on later"))

    def failed(self, sent_at: float, reason: str) -> None:
        """Notes a failure of the service; when the breaker gives up, the run ends."""
        self.breaker.failed(self._loop.time(), sent_at)
        never_there = not self._was_there and self.breaker.num_probes >= PROBES_OF_A_STRANGER
        if self.breaker.is_dead or never_there:
            message = f"the teacher does not answer: {reason}"
            self.stop(
                ServiceUnavailable(message, hint="is it running? the same command goes on where this one stopped")
            )

    def stop(self, error: FrontierError) -> None:
        """Ends the run: whoever waits, and whoever comes, gets the error."""
        self.error = self.error or error
        self.ended.set()
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(self.error)
        if self._timer is not None:
            self._timer.cancel()

    def _wait_s(self, now: float, size: Size) -> float:
        wait = max(self.pace.wait_s(now, self.in_flight, int(size[0] + size[1])), self.breaker.wait_s(now))
        if not self.ledger.fits(*size):
            # What is on its way may turn out cheaper than what was set aside for it.
            return inf
        return wait

    def _admit(self, now: float, size: Size) -> float:
        self.in_flight += 1
        self.pace.sent(now, int(size[0] + size[1]))
        self.breaker.sent()
        self.ledger.reserve(*size)
        return now

    def _pump(self) -> None:
        """Lets in whoever may come, in their order, and sets the clock for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            future, size = self._waiting[0]
            if future.done():  # its task was cancelled
                self._waiting.popleft()
                continue
            now = self._loop.time()
            if self.in_flight == 0 and not self.ledger.fits(*size):
                self._waiting.popleft()
                future.set_exception(BudgetReached())
                continue
            wait = self._wait_s(now, size)
            if wait > 0:
                if wait < inf:
                    self._timer = self._loop.call_later(wait, self._pump)
                return
            self._waiting.popleft()
            future.set_result(self._admit(now, size))
