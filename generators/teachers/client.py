"""Asks a teacher over HTTP: journal first, then the network, with retries; one request's failure is its own.

What may happen to a request, and what is done: HTTP 429 waits (Retry-After, else backoff) and never gives up by itself;
no connection, no answer in time, HTTP 5xx and broken JSON are tried again `retries` times with backoff and full jitter;
another 4xx fails the request at once; 401, 403 and a used-up quota end the run. Retries are not paid for twice: only
replies are journaled and booked.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, NamedTuple

import orjson

from frontier_core.errors import FrontierError, ServiceAuthError, ServiceDecodeError, ServiceHttpError
from generators.teachers.gate import Gate, Size
from generators.teachers.http1 import Poster, proxy_for
from generators.teachers.journal import Journal
from generators.teachers.ledger import Estimator
from generators.teachers.wire import Reply, Wire, error_text

BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
MAX_RETRY_AFTER_S = 600.0
HOPELESS_AFTER = 10
"""Refused requests (4xx) in a row, before anything was ever answered, that end the run: the fault is not a row's."""


_SCHEMA_WORDS = re.compile(r"response_format|json_?schema|output_config|structured.?output", re.IGNORECASE)


class Request(NamedTuple):
    """A request ready to go: its bytes, the key of its reply, its uncorrected count of input tokens."""

    raw: bytes
    key: str
    guess_in: float


class Unanswered(Exception):
    """A request got no reply, and asking on is no use; the run goes on without it.

    Args:
        code: a stable machine name for the rejects.
        message: why, in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class SchemaRefused(Unanswered):
    """The service knows no structured output: the request may be asked again without its schema."""


class _Busy(Exception):
    """HTTP 429. `retry_after_s` is None when the service did not say."""

    def __init__(self, retry_after_s: float | None) -> None:
        self.retry_after_s = retry_after_s


class _Failed(Exception):
    """The service failed; another try may work."""

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


class Client:
    """Gives replies to requests; use as an async context manager.

    Args:
        wire: the provider's format.
        key: the credential, "" for none; it is sent and nothing else.
        journal: where replies are kept.
        gate: the door all requests go through.
        estimator: says how large a request is, and learns.
        timeout_s: for one try, from the first byte out to the last byte in.
        retries: further tries after a failure.
        on_sleep: called when a request begins to wait outside the gate, so that another can take its place.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        key: str,
        journal: Journal,
        gate: Gate,
        estimator: Estimator,
        timeout_s: float,
        retries: int,
        on_sleep: Callable[[], None],
    ) -> None:
        self.num_sleeping = 0
        self._wire = wire
        self._key = key
        self._journal = journal
        self._gate = gate
        self._estimator = estimator
        self._retries = retries
        self._on_sleep = on_sleep
        self._num_hopeless = 0
        self._has_answered = False
        self._jitter = random.Random()  # spreads retries; decides no data
        self._poster = Poster(
            wire.url,
            {"content-type": "application/json", **wire.headers(key)},
            timeout_s=timeout_s,
            proxy=proxy_for(wire.url),
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._poster.close()

    async def ask(self, request: Request) -> Reply:
        """Gives the reply to a request, from the journal when it was asked before.

        Raises:
            Unanswered: this request failed for good.
            BudgetReached: it is not affordable.
            FrontierError: the run is over (no service, wrong key, ...).
        """
        found = self._journal.find(request.key)
        if found is not None:
            self._gate.ledger.num_cached += 1
            return found
        num_tries = num_refusals = 0
        while True:
            size = self._estimator.tokens(request.guess_in)
            sent_at = await self._gate.enter(size, again=num_tries + num_refusals > 0)
            try:
                reply = await self._try(request, sent_at, size)
            except _Busy as busy:
                num_refusals += 1
                wait_s = busy.retry_after_s
                if wait_s is None:
                    wait_s = self._backoff(num_refusals)
            except _Failed as failure:
                num_tries += 1
                if num_tries > self._retries:
                    message = f"{failure} (tried {num_tries} times)"
                    raise Unanswered(failure.code, message) from failure
                wait_s = max(self._backoff(num_tries), failure.retry_after_s or 0.0)
            else:
                self._keep(request.key, reply)
                self._estimator.learn(request.guess_in, reply)
                return reply
            finally:
                self._gate.leave(size)
            await self._sleep(wait_s)

    def _keep(self, key: str, reply: Reply) -> None:
        """Files a reply before its place goes to another request: a kill loses no more than is in flight."""
        try:
            self._journal.add(key, reply)
            self._journal.flush()
        except FrontierError as error:
            self._gate.stop(error)
            raise

    async def _try(self, request: Request, sent_at: float, size: Size) -> Reply:
        """Sends once and notes at the gate how it went."""
        gate = self._gate
        try:
            reply = await self._post(request.raw)
        except _Busy as busy:
            gate.refused(sent_at, busy.retry_after_s or 0.0)
            gate.ledger.count_failure("429")
            raise
        except _Failed as failure:
            gate.failed(sent_at, str(failure))
            gate.ledger.count_failure(failure.code)
            raise
        except SchemaRefused as refusal:
            gate.accepted(sent_at, size, 0)
            gate.ledger.count_failure(refusal.code)
            raise
        except Unanswered as refusal:
            gate.accepted(sent_at, size, 0)
            gate.ledger.count_failure(refusal.code)
            self._num_hopeless += 1
            if not self._has_answered and self._num_hopeless >= HOPELESS_AFTER:
                hint = "check the model's name and --param; --no-structured leaves the schema out"
                message = f"the teacher refuses every request: {refusal.message}"
                gate.stop(ServiceHttpError(message, status=int(refusal.code.removeprefix("http_")), hint=hint))
            raise
        except FrontierError as error:
            gate.stop(error)
            raise
        self._has_answered = True
        gate.accepted(sent_at, size, reply.tokens_in + reply.tokens_out)
        gate.ledger.pay(reply)
        return reply

    async def _post(self, raw: bytes) -> Reply:
        try:
            status, headers, body = await self._poster.post(raw)
        except TimeoutError as error:
            raise _Failed("timeout", "no answer in time") from error
        except OSError as error:
            raise _Failed("connection", str(error) or type(error).__name__) from error
        if status != 200:
            refusal = _refusal(status, body.replace(self._key.encode(), b"***") if self._key else body, headers)
            if isinstance(refusal, Unanswered) and _is_about_schema(raw, refusal.message):
                refusal = SchemaRefused(refusal.code, refusal.message)
            raise refusal
        try:
            return self._wire.reply(orjson.loads(body))
        except (ValueError, ServiceDecodeError) as error:
            raise _Failed("bad_response", f"the response is broken: {error}") from error

    def _backoff(self, num_tries: int) -> float:
        """Full jitter. Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog (2015)."""
        return self._jitter.uniform(0.0, min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(num_tries, 16)))

    async def _sleep(self, seconds: float) -> None:
        """Waits outside the gate, or until the run ends."""
        self.num_sleeping += 1
        self._on_sleep()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gate.ended.wait(), seconds)
        finally:
            self.num_sleeping -= 1


def _is_about_schema(raw: bytes, said: str) -> bool:
    """Says whether a request held a schema and was refused for it."""
    return any(key in raw for key in (b'"response_format":', b'"output_config":')) and bool(_SCHEMA_WORDS.search(said))


def _refusal(status: int, body: bytes, headers: Any) -> Exception:
    """Gives the exception for an answer that is no reply."""
    try:
        said = error_text(orjson.loads(body))
    except ValueError:
        said = ""
    said = " ".join((said or body[:200].decode(errors="replace")).split())[:300]
    after = retry_after_s(headers, time.time())
    if status == 429 and b"insufficient_quota" not in body:
        return _Busy(after)
    if status in (401, 403):
        return ServiceAuthError(f"the teacher refused the key (HTTP {status}): {said}", hint="see --key-env")
    if status in (402, 429):
        return ServiceHttpError(f"the teacher's quota is used up: {said}", status=status, hint="see your plan")
    if status >= 500 or status == 408:
        return _Failed(f"http_{status}", f"HTTP {status}: {said}", after)
    return Unanswered(f"http_{status}", f"HTTP {status}: {said}")


def retry_after_s(headers: Any, now: float) -> float | None:
    """Gives the seconds a response asks to wait, None when it does not say.

    Args:
        headers: Retry-After in seconds or as an HTTP date, or retry-after-ms; capped at ten minutes.
        now: the time as seconds since 1970.
    Source: RFC 9110, section 10.2.3.
    """
    seconds: float | None = None
    with suppress(TypeError, ValueError):
        seconds = float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else None
    text = headers.get("retry-after")
    if seconds is None and text is not None:
        try:
            seconds = float(text)
        except ValueError:
            with suppress(TypeError, ValueError):
                seconds = parsedate_to_datetime(text).timestamp() - now
    if seconds is None or seconds != seconds:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
