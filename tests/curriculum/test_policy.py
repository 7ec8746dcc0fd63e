"""The policies keep their rails for any evidence, explain themselves, and move weight where learning happens."""

from __future__ import annotations

from dataclasses import replace
from math import exp, fsum, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curriculum.anchors import Anchor, rolled_back
from curriculum.cells import CellStats
from curriculum.policy import policy_named, update
from curriculum.published import proportional, uniform
from curriculum.settings import PolicySettings
from curriculum.shares import project
from frontier_core.allocation import PolicyLine
from frontier_core.errors import ConfigError
from frontier_core.records import TagStats
from frontier_core.seeds import child_random

DEFAULTS = PolicySettings()
GATED = PolicySettings(gate_least=0.15)


def cell(
    successes: int = 0,
    trials: int = 0,
    loss: float | None = None,
    *,
    num: int = 50,
    spread: float = 0.1,
    tokens: int = 2000,
) -> CellStats:
    accuracy = TagStats(n=trials, total=successes, total_sq=successes, successes=successes, trials=trials)
    if loss is None:
        return CellStats(accuracy=accuracy)
    sums = TagStats(n=num, total=num * loss, total_sq=num * (loss**2 + spread**2), tokens=tokens)
    return CellStats(accuracy=accuracy, loss=sums)


def weights(lines: list[PolicyLine]) -> dict[str, float]:
    return {line.tag: line.weight for line in lines}


TAGS = [f"skill={skill},level={level}" for skill in ("add", "sort") for level in (1, 2, 3)] + ["skill=free"]


@st.composite
def evidence(draw: st.DrawFn) -> dict[str, CellStats]:
    stats = {}
    for tag in draw(st.sets(st.sampled_from(TAGS))):
        trials = draw(st.integers(0, 60))
        loss = draw(st.none() | st.floats(0, 12))
        stats[tag] = cell(draw(st.integers(0, trials)), trials, loss, spread=draw(st.floats(0, 3)))
    return stats


priors = st.dictionaries(st.sampled_from(TAGS), st.floats(0.05, 5), min_size=1)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(priors, evidence()), min_size=1, max_size=5))
def test_weights_sum_to_one_and_keep_floor_and_cap_whatever_comes(history: list) -> None:
    lines = None
    for prior, stats in history:  # the set of cells and their priors change on the way
        lines = update(prior, stats, lines, settings=DEFAULTS)
        assert abs(fsum(line.weight for line in lines) - 1) < 1e-9
        assert {line.tag for line in lines} == set(prior)
        for line in lines:
            assert line.floor * (1 - 1e-9) <= line.weight <= line.cap * (1 + 1e-9)
            assert line.previous / 1.6 * (1 - 1e-9) <= line.weight <= line.previous * 1.6 * (1 + 1e-9)


@settings(deadline=None, max_examples=60)
@given(st.lists(evidence(), min_size=2, max_size=6))
def test_previous_is_the_last_weight_bit_for_bit(history: list) -> None:
    prior = dict.fromkeys(TAGS, 1.0)
    lines = None
    for stats in history:
        before = weights(lines) if lines else dict.fromkeys(TAGS, 1 / 7)
        lines = update(prior, stats, lines, settings=DEFAULTS)
        assert {line.tag: line.previous for line in lines} == pytest.approx(before, rel=1e-15 if lines else 1e-12)


@settings(deadline=None, max_examples=60)
@given(evidence(), evidence())
def test_the_order_of_cells_changes_nothing(first: dict, second: dict) -> None:
    def run(order: int) -> list:
        prior = dict(list({tag: 1.0 + i for i, tag in enumerate(TAGS)}.items())[::order])
        lines = update(prior, dict(list(first.items())[::order]), None, settings=DEFAULTS)
        lines = update(prior, dict(list(second.items())[::order]), lines[::order], settings=DEFAULTS)
        return [line.to_record() for line in lines]

    assert run(1) == run(-1)


@settings(deadline=None, max_examples=60)
@given(st.lists(evidence(), min_size=1, max_size=3))
def test_the_product_of_the_factors_is_the_target_and_the_weight_follows_from_the_line(history: list) -> None:
    lines = None
    for stats in history:
        lines = update(dict.fromkeys(TAGS, 1.0), stats, lines, settings=DEFAULTS)
    for line in lines:
        assert prod(line.factors.values()) == line.evidence["target"]
        if "no data" in line.limits:
            assert line.weight == line.previous
        else:
            low, high = max(line.floor, line.previous / 1.6), min(line.cap, line.previous * 1.6)
            assert line.weight == min(max(line.evidence["balance"] * line.evidence["target"], low), high)


def test_the_target_is_the_published_formula_worked_by_hand() -> None:
    prior = {"skill=add,level=1": 1.0, "skill=add,level=2": 1.0}
    stats = {"skill=add,level=1": cell(36, 40), "skill=add,level=2": cell(10, 40)}
    low, high = update(prior, stats, None, settings=DEFAULTS)
    # mastery (36.5/41, 10.5/41); no loss yet, so progress is neutral: 1 + 1; both gates open
    h1, h2 = 1 - 36.5 / 41, 1 - 10.5 / 41
    assert low.factors["headroom"] == pytest.approx(h1)
    assert [low.factors["progress"], low.factors["gate"], low.factors["stall"]] == [2.0, 1.0, 1.0]
    assert [low.factors["cost"], low.factors["focus"]] == [1.0, 1.0]
    assert low.evidence["target"] == pytest.approx(0.9 * h1 / (h1 + h2) + 0.05)
    assert high.evidence["target"] == pytest.approx(0.9 * h2 / (h1 + h2) + 0.05)
    # targets .166 and .834: level 2 may grow to .5 * 1.6 = .8, level 1 may shrink to .5 / 1.6 = .3125 only
    assert (low.weight, high.weight) == pytest.approx((0.3125, 0.6875))
    assert low.limits == ("step",)


def test_progress_is_the_relative_fall_of_the_loss_beyond_noise_worked_by_hand() -> None:
    prior = {"skill=a": 1.0, "skill=b": 1.0}
    lines = update(prior, {"skill=a": cell(5, 20, 2.0), "skill=b": cell(5, 20, 2.0)}, None, settings=DEFAULTS)
    falling, flat = update(prior, {"skill=a": cell(5, 20, 1.0), "skill=b": cell(5, 20, 2.0)}, lines, settings=DEFAULTS)
    assert (falling.state["fast"], falling.state["slow"]) == (1.5, 1.85)
    # b stands still: rate 0, progress 1; a's rate is the whole of the mean: 2 = sum(h)/h, capped at 2
    assert falling.factors["progress"] == pytest.approx(3.0)
    assert flat.factors["progress"] == pytest.approx(1.0)
    assert falling.weight > 0.5 > flat.weight


def test_a_closed_prerequisite_holds_the_next_level_back_but_never_to_zero() -> None:
    prior = {"skill=add,level=1": 1.0, "skill=add,level=2": 1.0}
    _, shut = update(prior, {"skill=add,level=1": cell(0, 40), "skill=add,level=2": cell(0, 40)}, None, settings=GATED)
    _, half = update(prior, {"skill=add,level=1": cell(20, 40), "skill=add,level=2": cell(0, 40)}, None, settings=GATED)
    assert shut.factors["gate"] == 0.15
    assert half.factors["gate"] == pytest.approx(0.15 + 0.85 * (0.5 - 0.3) / 0.4)
    assert "prerequisite level 1 at 50%" in half.reason


def test_a_level_that_learns_opens_without_its_prerequisite() -> None:
    prior = {"skill=add,level=1": 1.0, "skill=add,level=2": 1.0}

    def factors(second: float) -> dict[str, float]:
        first = {"skill=add,level=1": cell(0, 40, 2.0), "skill=add,level=2": cell(0, 40, 2.0)}
        lines = update(prior, first, None, settings=GATED)
        then = {"skill=add,level=1": cell(0, 40, 2.0), "skill=add,level=2": cell(0, 40, second)}
        return update(prior, then, lines, settings=GATED)[1].factors

    # one reading's error is .1 / sqrt(49), the drop's sqrt(1/3 + .15/1.85) = .644 of it: .0092; twice that is sure
    error = 0.1 / 7 * (1 / 3 + 0.15 / 1.85) ** 0.5
    assert factors(2.0)["gate"] == 0.15
    assert factors(1.0)["gate"] == 1.0  # fast 1.5, slow 1.85: a drop of .35
    opening = 0.35 * 0.08 / (2 * error) - 1  # a fall of .08
    assert factors(1.92)["gate"] == pytest.approx(0.15 + 0.85 * opening)


def test_few_answers_do_not_move_a_cell_until_they_add_up() -> None:
    prior = {"skill=a": 1.0, "skill=b": 1.0}
    stats = {"skill=a": cell(0, 5), "skill=b": cell(20, 20)}  # a is held, so b has nobody to trade with
    first = update(prior, stats, None, settings=DEFAULTS)
    assert weights(first) == pytest.approx({"skill=a": 0.5, "skill=b": 0.5}, rel=1e-12)
    assert first[0].reason.endswith("weight kept (5 of 8 answers needed since its last move)")
    second = update(prior, stats, first, settings=DEFAULTS)
    assert weights(second)["skill=a"] > 0.5


def test_a_round_without_evidence_keeps_all_weights() -> None:
    prior = {"skill=a": 1.0, "skill=b": 1.0}
    moved = update(prior, {"skill=a": cell(0, 20), "skill=b": cell(20, 20)}, None, settings=DEFAULTS)
    still = update(prior, {}, moved, settings=DEFAULTS)
    assert weights(still) == weights(moved)
    assert {line.limits for line in still} == {("no data",)}


def test_new_cells_enter_at_their_prior_and_vanished_ones_leave() -> None:
    old = update(
        {"skill=a": 1.0, "skill=b": 1.0}, {"skill=a": cell(0, 20), "skill=b": cell(20, 20)}, None, settings=DEFAULTS
    )
    new = update({"skill=a": 1.0, "skill=c": 1.0}, {}, old, settings=DEFAULTS)
    assert weights(new) == {"skill=a": 0.5, "skill=c": 0.5}
    assert new[1].reason.startswith("new cell, enters at its prior")


def test_without_accuracy_headroom_comes_from_the_loss() -> None:
    prior = {"skill=a": 1.0, "skill=b": 1.0}
    lines = None
    for a, b in ((2.0, 2.0), (1.9, 0.4), (1.8, 0.2)):
        lines = update(prior, {"skill=a": cell(loss=a), "skill=b": cell(loss=b)}, lines, settings=DEFAULTS)
    assert lines[0].factors["headroom"] > lines[1].factors["headroom"]
    assert "never evaluated" in lines[0].reason


def test_the_reason_names_the_figures_and_the_limit() -> None:
    prior = {"skill=add,level=1": 1.0, "skill=add,level=2": 1.0, "skill=sort,level=1": 4.0}
    stats = {
        "skill=add,level=1": cell(39, 40, 0.1),
        "skill=add,level=2": cell(10, 40, 2.0),
        "skill=sort,level=1": cell(40, 40, 0.1),
    }
    lines = update(prior, stats, None, settings=DEFAULTS)
    assert "loss 2 read once, so progress is taken as neutral" in lines[1].reason
    stats["skill=add,level=2"] = cell(12, 40, 1.8)
    lines = update(prior, stats, lines, settings=DEFAULTS)
    assert lines[1].reason.startswith(
        "accuracy 30% (18-45%, n=40), loss fell 10.0% since round 0, prerequisite level 1 at 97%: x1.60 (step limit;"
    )


CHANGED = {
    "accuracy_memory": 0.1, "fast_rate": 0.9, "slow_rate": 0.4, "noise_memory": 0.05, "loss_floor": 0.3,
    "min_loss": 1.0, "min_share": 3.0, "base_progress": 0.2, "max_progress": 0.5, "gate_closed": 0.0,
    "progress_margin": 8.0,
    "gate_open": 0.4, "gate_least": 0.9, "progress_z": 1e6, "progress_share": 0.9, "alive_mastery": 0.9,
    "patience": 0, "stall_decay": 0.4, "stall_least": 0.9, "recovery": 3.0, "exploration": 0.9, "floor": 0.9,
    "cap": 1.05, "step": 1.05, "min_trials": 500, "min_tokens": 10**6, "cost_power": 1.0, "focus": 3.0,
    "epoch_cap": 0.5, "safety_rate": 0.9, "safety_floor": 0.3, "wary_exploration": 0.95, "wary_rounds": 0,
    "spent_mastery": 0.2,
}  # fmt: skip


def _scenario(chosen: PolicySettings) -> list[dict[str, float]]:
    """Rounds in which cells learn, stall and recover, are mastered, unsafe or scarce, or are known by their loss only.

    After the third the anchors fall, and the weights go back.
    """
    prior = {f"skill={name}": 1.0 for name in ("a,level=1", "a,level=2", "dead,level=1", "loss", "back", "flat")}
    lines, seen = None, []
    for step in range(8):
        stats = {
            "skill=a,level=1": cell(6 + 4 * step, 40, 2.0 * exp(-0.2 * step)),
            "skill=a,level=2": cell(2 * step, 40, 2.5 - 0.1 * step, spread=3.0),  # its fall may be noise
            "skill=dead,level=1": cell(0, 40, 3.0 + 0.1 * (step % 2)),
            "skill=loss": cell(loss=1.5 * exp(-0.3 * step), spread=1.0, tokens=200),
            "skill=flat": cell(12, 40, 2.0),
            "skill=back": cell(0 if step < 6 else 20, 40, 2.0 if step < 5 else 1.0, spread=0.5 + 0.1 * step),
        }
        unsafe = TagStats(n=40, successes=6, trials=40)
        stats["skill=a,level=1"] = replace(stats["skill=a,level=1"], violations=unsafe)
        stats["skill=a,level=2"] = replace(stats["skill=a,level=2"], supply=0.06, has_supply=True)
        if step == 3:
            lines = rolled_back(lines, lines, Anchor(tag="all", num=100, lost=20, won=1), settings=chosen)
        lines = update(prior, stats, lines, settings=chosen)
        seen.append(weights(lines))
    return seen


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_every_setting_moves_the_weights(name: str) -> None:
    base = replace(GATED, patience=2, floor=0.05, exploration=0.1, step=3.0)
    assert _scenario(replace(base, **{name: CHANGED[name]})) != _scenario(base)


def test_no_setting_is_left_out_of_that_test() -> None:
    assert set(CHANGED) == set(DEFAULTS.to_mapping())


def test_settings_round_trip_and_refuse_what_they_do_not_know() -> None:
    assert PolicySettings.from_mapping(DEFAULTS.to_mapping()) == DEFAULTS
    with pytest.raises(ConfigError) as unknown:
        PolicySettings.from_mapping({"flor": 0.1})
    assert unknown.value.hint == "did you mean 'floor'?"
    with pytest.raises(ConfigError, match=r"step = 0\.5 is out of range"):
        PolicySettings(step=0.5)
    with pytest.raises(ConfigError, match="cap must be a number"):
        PolicySettings.from_mapping({"cap": "4"})


def test_what_stands_still_above_guessing_stalls_unless_it_is_mastered() -> None:
    prior = dict.fromkeys(("skill=guessed", "skill=mislabelled", "skill=mastered", "skill=noise"), 1.0)
    chosen = PolicySettings(patience=2)
    lines = None
    for _ in range(6):
        stats = {
            "skill=guessed": cell(20, 40, 0.4),
            "skill=mislabelled": cell(28, 40, 1.3),
            "skill=mastered": cell(40, 40, 0.01),
            "skill=noise": cell(0, 40, 3.0),
        }
        lines = update(prior, stats, lines, settings=chosen)
    # Six rounds without a sign of life: the factor falls from the third on.
    stall = [line.factors["stall"] for line in lines]
    assert stall == pytest.approx([1.0, 1.0, 0.85**4, 0.85**4])
    assert [line.tag for line in lines] == ["skill=guessed", "skill=mastered", "skill=mislabelled", "skill=noise"]
    assert "no sign of learning for 6 rounds" in lines[2].reason


def test_uniform_and_proportional_ignore_the_evidence() -> None:
    prior = {"skill=a": 3.0, "skill=b": 1.0}
    stats = {"skill=a": cell(0, 40)}
    assert weights(uniform(prior, stats, None, settings=DEFAULTS)) == {"skill=a": 0.5, "skill=b": 0.5}
    assert weights(proportional(prior, stats, None, settings=DEFAULTS)) == {"skill=a": 0.75, "skill=b": 0.25}
    with pytest.raises(ConfigError) as unknown:
        policy_named("unifrom")
    assert unknown.value.hint == "did you mean 'uniform'?"


def test_an_empty_or_negative_prior_is_refused() -> None:
    for prior in ({}, {"skill=a": 0.0}, {"skill=a": 2.0, "skill=b": -1.0}):
        with pytest.raises(ConfigError):
            update(prior, {}, None, settings=DEFAULTS)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1e-9, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_projection_sums_to_one_inside_its_bounds(rows: list) -> None:
    lows = [min(a, b) / len(rows) for _, a, b in rows]
    highs = [(1 + max(a, b)) / len(rows) for _, a, b in rows]
    targets = {str(i): target for i, (target, _, _) in enumerate(rows)}
    bounds = {str(i): pair for i, pair in enumerate(zip(lows, highs, strict=True))}
    found, factor = project(targets, bounds)
    assert abs(fsum(found.values()) - 1) < 1e-9
    for tag, (low, high) in bounds.items():
        assert found[tag] == min(max(factor * targets[tag], low), high)


def _closed_loop(seed: int, rounds: int) -> dict[str, float]:
    """Learners whose accuracy and loss follow the data they were given, a mastered cell and one of pure noise.

    Returns weight/prior of each cell after `rounds` updates; draws are binomial, as in a real evaluation.
    """
    random = child_random("closed-loop", seed)
    learners = {f"skill=learn{i},level=1": 0.6 + 0.1 * i for i in range(6)}
    tags = [*learners, "skill=learn0,level=2", "skill=noise,level=1", "skill=mastered,level=1"]
    given_data = dict.fromkeys(tags, 0.0)
    prior = dict.fromkeys(tags, 1.0)
    lines = None
    for _ in range(rounds):
        shares = weights(lines) if lines else {tag: 1 / len(tags) for tag in tags}
        stats = {}
        for tag in tags:
            given_data[tag] += shares[tag] * len(tags)
            skill = 1 - exp(-0.25 * learners.get(tag, 0.5) * given_data[tag])
            if tag == "skill=learn0,level=2":
                skill *= 1 - exp(-0.25 * 0.6 * given_data["skill=learn0,level=1"])
            p, loss = skill**2, 0.1 + 2.2 * (1 - skill)
            if "noise" in tag:
                p, loss = 0.0, 3.0
            elif "mastered" in tag:
                p, loss = 0.99, 0.02
            hits = sum(random.random() < p for _ in range(40))
            stats[tag] = cell(hits, 40, max(0.001, random.gauss(loss, 0.02)), num=200, spread=0.3)
        lines = update(prior, stats, lines, settings=DEFAULTS)
    return {line.tag: line.weight / line.prior for line in lines}


@pytest.mark.parametrize("seed", range(5))
def test_in_a_closed_loop_noise_and_mastered_cells_sink_and_learnable_ones_gain(seed: int) -> None:
    ratio = _closed_loop(seed, 8)
    assert ratio["skill=mastered,level=1"] < 0.31  # its floor
    assert ratio["skill=noise,level=1"] < 1.1  # it has not stood still for long enough yet
    learners = [ratio[f"skill=learn{i},level=1"] for i in range(6)]
    assert min(learners) > 0.75  # what learns fastest comes first, the others don't starve
    assert fsum(learners) / 6 > 1.05
    later = _closed_loop(seed, 20)
    assert later["skill=noise,level=1"] < 0.9
    assert later["skill=learn0,level=2"] > 2  # what is left to learn gets what the others no longer need


def test_focus_and_cost_are_powers_worked_by_hand() -> None:
    prior = {"skill=a": 1.0, "skill=b": 1.0}
    stats = {"skill=a": cell(10, 40, 2.0, num=50, tokens=500), "skill=b": cell(30, 40, 2.0, num=50, tokens=100)}
    chosen = replace(DEFAULTS, focus=2.0, cost_power=0.5, exploration=0.0)
    first, second = update(prior, stats, None, settings=chosen)
    # answers of 10 and 2 tokens, 6 on average; headroom .744 and .256, progress neutral
    assert (first.factors["cost"], second.factors["cost"]) == pytest.approx((0.6**0.5, 3**0.5))
    u = [(1 - 10.5 / 41) * 2 * 0.6**0.5, (1 - 30.5 / 41) * 2 * 3**0.5]
    assert first.evidence["target"] == pytest.approx(u[0] ** 2 / (u[0] ** 2 + u[1] ** 2))


@settings(deadline=None, max_examples=30)
@given(st.lists(evidence(), min_size=2, max_size=5))
def test_going_on_in_memory_gives_the_bytes_of_going_on_from_the_file(history: list) -> None:
    prior = dict.fromkeys(TAGS, 1.0)
    kept, read = None, None
    for stats in history:
        kept = update(prior, stats, kept, settings=DEFAULTS)
        read = list(update(prior, stats, read, settings=DEFAULTS))
    assert [line.to_record() for line in kept] == [line.to_record() for line in read]
    assert kept.weights() == weights(read)


def test_no_sentence_is_made_before_somebody_reads_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("curriculum.policy.explain", lambda line, **_: made.append(line.tag) or line)
    lines = None
    for _ in range(3):
        lines = update({"skill=a": 1.0, "skill=b": 1.0}, {"skill=a": cell(5, 40)}, lines, settings=DEFAULTS)
    assert lines.weights().keys() == {"skill=a", "skill=b"}
    assert made == []
    assert lines[0].tag == "skill=a"
    assert made == ["skill=a", "skill=b"]
