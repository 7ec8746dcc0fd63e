"""Rate control in simulated time: a server's token bucket, a client's pace, no clock and no socket."""

import heapq
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.teachers.pace import FIRST_RATE, Breaker, Pace


def simulate(limit, burst, *, seconds=20.0, concurrency=64, latency=0.05, retry_after=1.0, stray=0, **known):
    """Gives (times of accepted, times of refused, most in flight); every `stray`-th request is refused anyhow."""
    pace, now, credit, credit_at = Pace(concurrency, **known), 0.0, float(burst), 0.0
    coming, in_flight, number, most, accepted, refused = [], 0, 0, 0, [], []
    while now < seconds:
        wait = pace.wait_s(now, in_flight, 100)
        if wait <= 0:
            pace.sent(now, 100)
            in_flight, number = in_flight + 1, number + 1
            most = max(most, in_flight)
            credit, credit_at = min(burst, credit + (now - credit_at) * limit), now
            is_good = credit >= 1 and not (stray and number % stray == 0)
            credit -= is_good
            heapq.heappush(coming, (now + (latency if is_good else 0.005), number, now, is_good))
            continue
        now = max(now, min(now + wait, coming[0][0] if coming else inf)) + 1e-6
        while coming and coming[0][0] <= now:
            at, _, sent_at, is_good = heapq.heappop(coming)
            in_flight -= 1
            (accepted if is_good else refused).append(at)
            if is_good:
                pace.accepted(at, sent_at)
            else:
                pace.refused(at, sent_at, retry_after)
    return accepted, refused, most


@pytest.mark.parametrize(("limit", "burst"), [(100, 10), (100, 100), (20, 5), (500, 50)])
def test_goodput_reaches_the_limit_in_five_seconds_with_few_refusals(limit, burst):
    accepted, refused, _ = simulate(limit, burst)
    assert sum(at >= 5 for at in accepted) >= 0.9 * 15 * limit
    assert len(refused) <= 0.1 * (len(accepted) + len(refused))


@pytest.mark.parametrize("limit", [200, 10**6])
def test_refusals_that_are_not_about_the_rate_do_not_slow_the_run(limit):
    accepted, _, _ = simulate(limit, limit / 10, stray=100)
    assert sum(at >= 5 for at in accepted) >= 0.9 * 15 * min(limit, 64 / 0.05)


def test_without_refusals_only_concurrency_limits():
    accepted, refused, most = simulate(10**6, 10**6, seconds=5)
    assert refused == []
    assert most == 64
    assert len(accepted) >= 0.95 * 5 * 64 / 0.05


def test_known_limits_hold_from_the_start():
    assert len(simulate(10**6, 10**6, seconds=6, per_minute=600)[0]) == pytest.approx(60, abs=2)
    by_tokens, _, _ = simulate(10**6, 10**6, seconds=60, tokens_per_minute=60_000)
    assert len(by_tokens) == pytest.approx(600 + 50, abs=5)


@settings(max_examples=25, deadline=None)
@given(limit=st.floats(5, 2000), burst=st.integers(1, 60), latency=st.floats(0.01, 2.0), retry_after=st.floats(0, 5))
def test_whatever_the_server_the_run_goes_on_and_keeps_its_places(limit, burst, latency, retry_after):
    accepted, refused, most = simulate(limit, burst, latency=latency, retry_after=retry_after, seconds=30)
    assert most <= 64
    assert any(at > 20 for at in accepted)
    assert len(refused) <= 200 + 0.3 * len(accepted)


def test_one_slow_answer_does_not_hold_up_all_after_the_first_refusal():
    pace = Pace(64)
    for number in range(20):
        pace.sent(0.0, 1)
        if number < 18:
            pace.accepted(0.1, 0.0)
    pace.refused(0.2, 0.0, 1.0)
    assert pace.wait_s(0.5, 1, 1) == pytest.approx(0.7)  # the last one may tell how much is accepted, for a second
    assert pace.wait_s(1.2, 1, 1) <= 1.01
    assert pace.rate == FIRST_RATE  # what was accepted is longer ago: nothing is known


def test_a_refusal_cuts_once_for_all_that_were_on_their_way():
    pace = Pace(64)
    for now in (0.0, 0.01, 0.02):
        pace.sent(now, 0)
    pace.accepted(0.05, 0.0)
    pace.refused(0.06, 0.01, 1.0)
    pace.refused(0.06, 0.02, 1.0)
    assert pace.wait_s(0.06, 0, 0) > 0
    assert pace.num_cuts == 1


def test_a_refused_first_request_after_a_cut_makes_everyone_wait():
    pace = Pace(8)
    pace.sent(0.0, 0)
    pace.refused(0.01, 0.0, 7.0)
    assert pace.wait_s(0.01, 0, 0) == 7.0


def test_the_breaker_opens_probes_once_and_closes_again():
    breaker = Breaker(open_after=3, cool_s=1.0)
    for _ in range(3):
        assert breaker.wait_s(0.0) == 0.0
        breaker.sent()
        breaker.failed(0.0, 0.0)
    assert breaker.wait_s(0.5) == 0.5
    assert breaker.wait_s(1.0) == 0.0
    breaker.sent()
    assert breaker.wait_s(5.0) == inf
    breaker.failed(1.5, 1.0)
    assert breaker.wait_s(1.5) == 2.0
    breaker.sent()
    breaker.succeeded()
    assert breaker.wait_s(3.5) == 0.0


def test_the_breaker_gives_up_after_its_probes_and_not_before():
    breaker, now = Breaker(open_after=2, cool_s=1.0, max_cool_s=4.0, max_probes=3), 0.0
    for failures in range(5):
        assert not breaker.is_dead
        now += breaker.wait_s(now)
        breaker.sent()
        breaker.failed(now, now)
        assert breaker.is_dead == (failures == 4)
    assert now == 1.0 + 2.0 + 4.0


def test_failures_that_were_on_their_way_are_no_probes():
    breaker = Breaker(open_after=2)
    for _ in range(64):
        breaker.failed(1.0, 0.5)
    assert breaker.num_probes == 0
