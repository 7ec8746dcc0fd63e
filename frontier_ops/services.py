"""One way to call a service over HTTP: typed errors, retries that can't do harm, and a budget for them.

A try is repeated only when that is safe: the request never left (no connection), or it may be repeated (GET, HEAD, PUT,
DELETE, OPTIONS, or a POST with an idempotency key) and the service did not answer, answered 429, 502, 503, 504 or 500,
or broke off. Waits grow exponentially with full jitter; Retry-After is obeyed. A budget shared by all calls of a client
keeps retries from doubling the load on a service that is down.
Source: AWS Architecture Blog, "Exponential Backoff And Jitter"; gRPC A6, retry throttling.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from frontier_core.errors import (
    ServiceAuthError,
    ServiceDecodeError,
    ServiceError,
    ServiceHttpError,
    ServiceUnavailable,
)
from frontier_ops.hosts import Service, find_service

if TYPE_CHECKING:
    import httpx

REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
TRANSIENT = frozenset({429, 500, 502, 503, 504})
BASE_WAIT_S, MAX_WAIT_S = 0.1, 10.0
BUDGET, REFUND = 10.0, 0.1
MAX_BODY_SHOWN = 500


class RetryBudget:
    """Tokens that retries cost: each takes one, each success gives a tenth back; below half nothing is retried."""

    def __init__(self, tokens: float = BUDGET) -> None:
        self._most = self._left = tokens
        self._lock = Lock()

    def take(self) -> bool:
        """Says whether one more retry is affordable, and pays for it."""
        with self._lock:
            self._left = max(0.0, self._left - 1)
            return self._left >= self._most / 2

    def refund(self) -> None:
        """A request went well."""
        with self._lock:
            self._left = min(self._most, self._left + REFUND)


class ServiceClient:
    """Calls one service. Safe to share between threads; close it, or use it as a context manager.

    Args:
        service: where it is, its time-out per try, its retries and its key.
        sleep: waits, in seconds; for tests.
        jitter: draws a wait between two bounds; for tests.
    """

    def __init__(
        self,
        service: Service,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        import httpx

        self.service = service
        self._sleep = sleep
        self._jitter = jitter
        self._budget = RetryBudget()
        headers = {"Authorization": f"Bearer {service.api_key}"} if service.api_key else {}
        self._http = httpx.Client(base_url=service.url, timeout=service.timeout_s, headers=headers)

    def __enter__(self) -> ServiceClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def get_json(self, path: str, **params: Any) -> Any:
        """Gets a path and gives the JSON it answers with. Raises as `request` does."""
        return self._decoded(self.request("GET", path, params=params or None))

    def post_json(self, path: str, *, json: Any, idempotency_key: str = "") -> Any:
        """Posts JSON and gives the JSON answer; an idempotency key lets it be repeated. Raises as `request` does."""
        return self._decoded(self.request("POST", path, json=json, idempotency_key=idempotency_key))

    def request(
        self, method: str, path: str, *, json: Any = None, params: Any = None, idempotency_key: str = ""
    ) -> httpx.Response:
        """Makes one request, with the retries that are safe.

        Raises:
            ServiceUnavailable: no answer, or only transient ones until the retries or their budget were used up.
            ServiceAuthError: 401 or 403.
            ServiceHttpError: another 4xx or 5xx that is not worth repeating.
        """
        import httpx

        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        may_repeat = method.upper() in REPEATABLE or bool(idempotency_key)
        number = 0
        while True:
            wait_s = 0.0
            failure: ServiceError
            try:
                answer = self._http.request(method, path, json=json, params=params, headers=headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure, is_safe = self._unavailable(method, path, str(error) or "no connection"), True
                cause: Exception | None = error
            except httpx.HTTPError as error:
                failure, is_safe = self._unavailable(method, path, str(error) or type(error).__name__), may_repeat
                cause = error
            else:
                if answer.status_code < 400:
                    self._budget.refund()
                    return answer
                failure, cause = self._failure(method, path, answer), None
                if answer.status_code not in TRANSIENT or not may_repeat:
                    raise failure
                is_safe, wait_s = True, retry_after_s(answer.headers.get("Retry-After", ""))
            number += 1
            if not is_safe or number > self.service.max_retries or wait_s > MAX_WAIT_S or not self._budget.take():
                raise self._given_up(failure, number) from cause
            self._sleep(max(wait_s, self._jitter(0.0, min(MAX_WAIT_S, BASE_WAIT_S * 2**number))))

    def _unavailable(self, method: str, path: str, reason: str) -> ServiceUnavailable:
        asked = f"{self.service.name}: {method} {self.service.url}{path}"
        return ServiceUnavailable(
            f"{asked}: {reason}", hint=f"is it running? {self.service.name.upper()}_URL sets where"
        )

    def _failure(self, method: str, path: str, answer: httpx.Response) -> ServiceError:
        asked = f"{self.service.name}: {method} {self.service.url}{path}"
        body = answer.text[:MAX_BODY_SHOWN]
        if answer.status_code in (401, 403):
            hint = f"set {self.service.name.upper()}_API_KEY"
            return ServiceAuthError(f"{asked}: HTTP {answer.status_code}", hint=hint)
        return ServiceHttpError(asked, status=answer.status_code, body=body, hint=body.partition("\n")[0])

    def _given_up(self, failure: ServiceError, tries: int) -> ServiceError:
        """A transient answer that stayed is no answer: the service is down for us."""
        if isinstance(failure, ServiceHttpError):
            message = f"{failure.message} after {tries} {'try' if tries == 1 else 'tries'}"
            return ServiceUnavailable(message, hint=failure.hint)
        return failure

    def _decoded(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            kind = answer.headers.get("Content-Type", "no content type")
            raise ServiceDecodeError(f"{self.service.name}: {answer.url}: answered {kind}, not JSON") from error


def retry_after_s(text: str) -> float:
    """Gives the seconds a Retry-After header asks for, a number or a date; 0.0 when it is neither.

    Source: RFC 9110, section 10.2.3.
    """
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def get_service_client(name: str, *, hosts: Path | None = None) -> ServiceClient:
    """Gives a client for a service named in config/hosts.json or the environment, or raises ConfigError."""
    return ServiceClient(find_service(name, path=hosts))
