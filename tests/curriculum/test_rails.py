"""Rails of the default policy: no telemetry, however wrong, runs away with the mix; harm is found and undone."""

from __future__ import annotations

from dataclasses import replace
from math import fsum, inf, nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculum.anchors import Anchor, answers_of, compare_anchors, harm, rolled_back
from curriculum.cells import CellStats, cells_by_round, exact_sum
from curriculum.policy import update
from curriculum.replay import replay
from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine, read_policy
from frontier_core.errors import DataError
from frontier_core.events import Key, TelemetryLine
from frontier_core.jsonl import dumps
from frontier_core.records import TagStats

DEFAULTS = PolicySettings()
A, B, C = "skill=a", "skill=b", "skill=c"
PRIOR = {A: 1.0, B: 1.0, C: 1.0}


def cell(right: int, trials: int = 40, loss: float | None = None, **more: object) -> CellStats:
    losses = TagStats() if loss is None else TagStats(n=40, total=40 * loss, total_sq=40 * loss**2, tokens=400)
    accuracy = TagStats(n=trials, total=right, total_sq=right, successes=right, trials=trials)
    return replace(CellStats(accuracy=accuracy, loss=losses), **more)


def rounds(*stats: dict[str, CellStats], chosen: PolicySettings = DEFAULTS) -> list[PolicyLine]:
    lines = None
    for seen in stats:
        lines = update(PRIOR, seen, lines, settings=chosen)
    assert lines is not None
    return lines


def weights(lines: list[PolicyLine]) -> dict[str, float]:
    return {line.tag: line.weight for line in lines}


GOOD = {A: cell(10, loss=2.0), B: cell(20, loss=1.5), C: cell(38, loss=0.2)}


@pytest.mark.parametrize("value", [1e9, -1e9, 1e300, 0.0])
def test_a_lying_tag_moves_no_weight_beyond_the_step(value: float) -> None:
    before = rounds(GOOD, GOOD)
    liar = TagStats(n=40, total=value, total_sq=min(value * value, 1e308), tokens=400)
    after = update(PRIOR, GOOD | {A: replace(GOOD[A], loss=liar)}, before, settings=DEFAULTS)
    assert fsum(line.weight for line in after) == pytest.approx(1, abs=1e-9)
    for line in after:
        assert line.previous / 1.6 * (1 - 1e-12) <= line.weight <= line.previous * 1.6 * (1 + 1e-12)
        assert line.floor * (1 - 1e-12) <= line.weight <= line.cap * (1 + 1e-12)


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_loss_that_is_no_number_counts_as_none(value: float) -> None:
    before = rounds(GOOD, GOOD)
    broken = TagStats(n=40, total=value, total_sq=abs(value), tokens=0)
    after = update(PRIOR, GOOD | {A: replace(GOOD[A], loss=broken)}, before, settings=DEFAULTS)
    assert weights(after) == weights(update(PRIOR, GOOD | {A: cell(10)}, before, settings=DEFAULTS))


@pytest.mark.parametrize("seen", [CellStats(), cell(3, 3), cell(0, 0, nan)])
def test_a_domain_that_is_missing_or_from_three_samples_keeps_its_weight(seen: CellStats) -> None:
    before = rounds(GOOD, GOOD)
    after = update(PRIOR, GOOD | {A: seen}, before, settings=DEFAULTS)
    assert weights(after)[A] == weights(before)[A]
    assert after[0].limits == ("no data",)


def test_violations_only_ever_raise_a_floor() -> None:
    unsafe = replace(GOOD[C], violations=TagStats(n=100, successes=9, trials=100))
    first = rounds(GOOD, GOOD, GOOD, GOOD)
    assert weights(first)[C] < 0.15
    raised = update(PRIOR, GOOD | {C: unsafe}, first, settings=DEFAULTS)
    assert (raised[2].floor, raised[2].weight) == pytest.approx((1 / 3, 1 / 3))
    safe = replace(GOOD[C], violations=TagStats(n=1000, successes=0, trials=1000))
    assert update(PRIOR, GOOD | {C: safe}, raised, settings=DEFAULTS)[2].floor == raised[2].floor
    few = replace(GOOD[C], violations=TagStats(n=60, successes=1, trials=60))  # 1 of 60 may be chance
    assert update(PRIOR, GOOD | {C: few}, first, settings=DEFAULTS)[2].floor == first[2].floor


def test_no_more_is_drawn_than_four_times_what_there_is() -> None:
    scarce = GOOD | {A: replace(GOOD[A], supply=0.02, has_supply=True)}
    lines = update(PRIOR, scarce, None, settings=DEFAULTS)
    assert lines[0].weight == pytest.approx(0.08)
    assert lines[0].limits == ("supply",)
    assert fsum(line.weight for line in lines) == pytest.approx(1, abs=1e-9)
    all_scarce = {tag: replace(seen, supply=0.02, has_supply=True) for tag, seen in GOOD.items()}
    equal = weights(update(PRIOR, all_scarce, None, settings=DEFAULTS))
    assert fsum(equal.values()) == pytest.approx(1, abs=1e-9)


def test_harm_is_found_by_pairing_answers() -> None:
    before = {f"{tag}{i}": (tag, i < 90) for tag in (A, B) for i in range(100)}
    after = {key: (tag, flag and not key.endswith("7")) for key, (tag, flag) in before.items()}
    whole, *cells = compare_anchors(before, after)
    assert (whole.num, whole.lost, whole.won, whole.drop) == (200, 18, 0, 0.09)
    assert whole.p_value == 1 / 2**18
    assert harm([whole, *cells]) == whole
    assert Anchor(tag="all", num=100, lost=8, won=1).p_value == 10 / 512
    assert harm([Anchor(tag="all", num=100, lost=6, won=2)]) is None  # may be chance
    assert harm([Anchor(tag="all", num=2000, lost=40, won=5)]) is None  # certain, but under 2 points
    one = Anchor(tag=A, num=40, lost=12, won=0)
    assert harm([Anchor(tag="all", num=1000, lost=14, won=2), one, Anchor(tag=B, num=40, lost=1, won=1)]) == one


def test_evaluations_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(DataError, match="share no problem"):
        compare_anchors({"x": (A, True)}, {"y": (A, True)})
    with pytest.raises(DataError, match=r"e\.jsonl:1: needs `item_id` and `correct`"):
        answers_of([{"correct": True}], path="e.jsonl")
    item = {"item_id": "x", "correct": True, "tag": A}
    with pytest.raises(DataError, match=r"e\.jsonl:2: problem 'x' stands twice"):
        answers_of([item, item], path="e.jsonl")


def test_a_rollback_restores_the_last_good_weights_then_the_priors() -> None:
    good = rounds(GOOD, GOOD)
    bad = update(PRIOR, GOOD | {A: cell(0, loss=4.0)}, good, settings=DEFAULTS)
    fell = Anchor(tag="all", num=200, lost=30, won=2)
    back = rolled_back(good, bad, fell, settings=DEFAULTS)
    assert weights(back) == pytest.approx(weights(good), rel=1e-15)
    assert back[0].reason.startswith("rolled back to the last good weights: all anchors fell 14.0 points (30 answers")
    assert replay(back) == []
    careful = update(PRIOR, GOOD, back, settings=DEFAULTS)
    plain = update(PRIOR, GOOD, [replace(line, state=line.state | {"wary": 0}) for line in back], settings=DEFAULTS)
    assert careful[0].factors["reserve"] > plain[0].factors["reserve"]  # 60 % by prior instead of 20 %
    again = rolled_back(good, careful, fell, settings=DEFAULTS)
    assert weights(again) == pytest.approx({A: 1 / 3, B: 1 / 3, C: 1 / 3})
    assert "rolled back to the priors" in again[0].reason


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.dictionaries(st.sampled_from([A, B, C]), st.tuples(st.integers(0, 40), st.floats(0, 9))), min_size=1)
)
def test_every_weight_is_replayed_bit_for_bit_from_its_line(tmp_path_factory: object, history: list) -> None:
    lines = rounds(*({tag: cell(right, 40, loss) for tag, (right, loss) in seen.items()} for seen in history))
    path = Path(tmp_path_factory.mktemp("replay")) / "p.jsonl"
    path.write_bytes(b"".join(dumps(line.to_record()) + b"\n" for line in lines))
    assert replay(read_policy(path)) == []


def test_a_line_that_was_edited_does_not_replay() -> None:
    lines = rounds(GOOD, GOOD)
    edited = [replace(lines[0], weight=lines[0].weight * 1.0000001), *lines[1:]]
    assert [(found.tag, found.what) for found in replay(edited)] == [(A, "weight")]
    edited = [replace(lines[0], factors=lines[0].factors | {"headroom": 0.5}), *lines[1:]]
    assert {(found.tag, found.what) for found in replay(edited)} >= {(A, "target")}


sums = st.builds(
    lambda n, x, t: TagStats(n=n, total=n * x, total_sq=n * x * x, tokens=t, successes=n // 2, trials=n),
    st.integers(0, 50),
    st.floats(0, 10),
    st.integers(0, 500),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(sums, min_size=1, max_size=12), st.randoms())
def test_telemetry_adds_up_in_any_order(parts: list[TagStats], random) -> None:
    def lines(order: list[TagStats]) -> list[TelemetryLine]:
        return [TelemetryLine(key=Key("r", 0, i, A, "loss"), stats=stats, round=0) for i, stats in enumerate(order)]

    shuffled = random.sample(parts, len(parts))
    assert cells_by_round(lines(shuffled)) == cells_by_round(lines(parts))
    assert exact_sum([parts[0], exact_sum(parts[1:])]).n == exact_sum(parts).n
