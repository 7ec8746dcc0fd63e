"""How fast a provider may be asked: rate control that learns, and a breaker for outages. Pure: time comes from outside.

Nothing is known at first: the number in flight doubles per round trip up to the limit (slow start). The first refusal
(HTTP 429) tells the provider's rate: what it accepted lately. From then on requests start evenly at 0.9 of that, faster
each second (doubling until the second refusal, gently after), and one refusal cuts once, however many were on their
way; refusals so few that they can't be about the rate cut nothing. A refusal is the row's affair (it waits as long as
Retry-After says) until even the first request after a cut is refused: then everyone waits.
Known limits (--rpm, --tpm) hold from the start.
"""

from __future__ import annotations

from collections import deque
from math import inf

FIRST_WINDOW = 16
"""Requests in flight at the start."""
CUT = 0.9
"""Share of the measured rate to go on with after a refusal."""
CLIMB = 0.02
"""Growth of the rate in the first second after a cut, as a share of it."""
HURRY_S = 20.0
"""Seconds without a refusal after which the rate has doubled, because the limit seems to have moved."""
MEASURE_S = 1.0
"""Accepted requests are counted over this long."""
STRAY = 0.02
"""Refusals, as a share of what is accepted meanwhile, that are no sign of being too fast: going slower won't help."""
FIRST_RATE = 1.0
"""Requests a second to begin with when the first refusal came before the first answer."""
MIN_RATE = 0.1
"""Requests a second below which no cut goes."""
BURST_S = 0.02
"""An idle pace may catch up this much at once."""
TOKEN_BURST_S = 5.0


class Pace:
    """When the next request may start.

    Args:
        concurrency: most requests in flight.
        per_minute: requests a minute, 0 for no known limit.
        tokens_per_minute: tokens a minute, in and out, 0 for no known limit.
        now: the time, in seconds on any clock that only grows.
    """

    def __init__(
        self, concurrency: int, *, per_minute: float = 0.0, tokens_per_minute: float = 0.0, now: float = 0.0
    ) -> None:
        self.concurrency = concurrency
        self.window = float(min(concurrency, FIRST_WINDOW))
        self.rate = inf
        self.num_cuts = 0
        self._cap = per_minute / 60 if per_minute else inf
        self._token_rate = tokens_per_minute / 60 if tokens_per_minute else inf
        self._tokens = self._token_rate * TOKEN_BURST_S
        self._tokens_at = now
        self._began_at = now
        self._next_at = now
        self._rate_at = now
        self._is_seeking = False
        self._cut_at = -inf
        self._is_cut_fresh = False
        self._first_refusal: float | None = None
        self._pause_until = now
        self._accepted: deque[float] = deque()
        self._refused: deque[float] = deque()

    def wait_s(self, now: float, in_flight: int, tokens: int) -> float:
        """Gives how long the next request must wait: 0 to go, inf when only a reply can make room."""
        if self._first_refusal is not None:
            left_s = self._cut_at + MEASURE_S - now
            if in_flight and left_s > 0:
                return left_s  # what is on its way shows how much is accepted; one slow answer holds up nobody
            self._begin_pacing(now)
        if in_flight >= min(self.window, self.concurrency):
            return inf
        wait = max(0.0, self._pause_until - now)
        if self._current_rate(now) < inf:
            wait = max(wait, self._next_at - now)
        if self._token_rate < inf:
            self._refill(now)
            wanted = min(tokens, self._token_rate * TOKEN_BURST_S)
            wait = max(wait, (wanted - self._tokens) / self._token_rate)
        return wait

    def sent(self, now: float, tokens: int) -> None:
        """Notes that a request of about that many tokens starts."""
        rate = self._current_rate(now)
        if rate < inf:
            self._next_at = max(self._next_at, now - BURST_S) + 1 / rate
        self._tokens -= tokens

    def accepted(self, now: float, sent_at: float, tokens_over: int = 0) -> None:
        """Notes an answer, with how many tokens more than thought it took."""
        self.window = min(self.window + 1, self.concurrency)
        self._tokens -= tokens_over
        self._accepted.append(now)
        while self._accepted[0] < now - MEASURE_S:
            self._accepted.popleft()
        if sent_at >= self._cut_at:
            self._is_cut_fresh = False

    def refused(self, now: float, sent_at: float, retry_after_s: float) -> None:
        """Notes a refusal for being too fast (HTTP 429)."""
        if sent_at < self._cut_at:
            return  # it was on its way when the rate was cut
        if self._is_stray(now):
            return
        self._cut_at = now
        if self.rate == inf:
            self._first_refusal = retry_after_s
            return
        if self._is_cut_fresh:
            self._pause_until = max(self._pause_until, now + retry_after_s)
        before = self._current_rate(now)
        self._is_seeking = False
        self._cut_to(max(min(CUT * self._measured(now), 0.95 * before), before / 4), now)

    def _is_stray(self, now: float) -> bool:
        """Notes a refusal; says whether it is one of so few that it tells nothing about the rate."""
        self._refused.append(now)
        while self._refused[0] < now - MEASURE_S:
            self._refused.popleft()
        recent = sum(at >= now - MEASURE_S for at in self._accepted)
        return not self._is_cut_fresh and len(self._refused) <= STRAY * recent

    def _begin_pacing(self, now: float) -> None:
        measured = CUT * self._measured(now)
        self._is_seeking = True  # so short a look may be far too low
        self._cut_to(measured or FIRST_RATE, now)
        if not measured:
            self._pause_until = self._next_at = now + (self._first_refusal or 0.0)
        self._cut_at = now
        self._first_refusal = None

    def _measured(self, now: float) -> float:
        while self._accepted and self._accepted[0] < now - MEASURE_S:
            self._accepted.popleft()
        return len(self._accepted) / min(MEASURE_S, max(now - self._began_at, 0.05))

    def _cut_to(self, rate: float, now: float) -> None:
        self.rate = max(rate, MIN_RATE)
        self._rate_at = now
        self._next_at = max(self._next_at, now + 1 / self.rate)
        self._is_cut_fresh = True
        self.num_cuts += 1

    def _current_rate(self, now: float) -> float:
        """The learned rate has grown since the cut; a pause is no growth."""
        if self.rate == inf:
            return self._cap
        grown_s = max(0.0, now - max(self._rate_at, self._pause_until))
        growth = 2 ** min(grown_s, 60) if self._is_seeking else 1 + CLIMB * grown_s + (grown_s / HURRY_S) ** 3
        return float(min(self._cap, self.rate * growth))

    def _refill(self, now: float) -> None:
        full = self._token_rate * TOKEN_BURST_S
        self._tokens = min(full, self._tokens + (now - self._tokens_at) * self._token_rate)
        self._tokens_at = now


class Breaker:
    """Stops asking a service that fails, tries it now and then with one request, and gives up in the end.

    Args:
        open_after: failures in a row that open it.
        cool_s: first pause; each failed probe doubles it, up to `max_cool_s`.
        max_probes: failed probes after which the service counts as gone.
    Source: Nygard, "Release It!" (2007), circuit breaker.
    """

    def __init__(
        self, *, open_after: int = 10, cool_s: float = 1.0, max_cool_s: float = 30.0, max_probes: int = 6
    ) -> None:
        self.open_after = open_after
        self.max_probes = max_probes
        self.num_failures = 0
        self.num_probes = 0
        self._cool_s = cool_s
        self._max_cool_s = max_cool_s
        self._opened_at = -inf
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """True while at most one request may go."""
        return self.num_failures >= self.open_after

    @property
    def is_dead(self) -> bool:
        """True when every probe failed."""
        return self.num_probes >= self.max_probes

    def wait_s(self, now: float) -> float:
        """Gives how long the next request must wait: 0 to go, inf while a probe is out."""
        if not self.is_open:
            return 0.0
        if self._is_probing:
            return inf
        cool = min(self._cool_s * 2.0**self.num_probes, self._max_cool_s)
        return max(0.0, self._opened_at + cool - now)

    def sent(self) -> None:
        """Notes that a request starts; while open it is the probe."""
        self._is_probing = self.is_open

    def succeeded(self) -> None:
        """Notes that the service answered: closed again."""
        self.num_failures = self.num_probes = 0
        self._is_probing = False

    def failed(self, now: float, sent_at: float) -> None:
        """Notes a failure: no connection, no answer in time, HTTP 5xx."""
        if self.is_open and sent_at < self._opened_at:
            return  # it was on its way when the breaker opened
        if self.is_open:
            self.num_probes += 1
        self.num_failures += 1
        self._is_probing = False
        if self.is_open:
            self._opened_at = now
