"""The literature's mixing rules: one round of each worked by hand, and what all of them owe the interface."""

from __future__ import annotations

from math import exp, fsum, log, prod, sqrt

import pytest

from curriculum.cells import CellStats
from curriculum.policy import POLICIES, policy_named
from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine, read_policy
from frontier_core.jsonl import dumps
from frontier_core.records import TagStats

DEFAULTS = PolicySettings()
A, B = "skill=a,level=1", "skill=a,level=2"
PRIOR = {A: 1.0, B: 1.0}


def seen(loss: float | None = None, right: int = 0, trials: int = 0, reference: float | None = None) -> CellStats:
    return CellStats(
        loss=TagStats() if loss is None else TagStats(n=10, total=10 * loss, total_sq=10 * loss**2, tokens=100),
        accuracy=TagStats(n=trials, total=right, total_sq=right, successes=right, trials=trials),
        reference=TagStats() if reference is None else TagStats(n=1, total=reference, total_sq=reference**2),
    )


def run(name: str, *rounds: dict[str, CellStats], prior: dict[str, float] = PRIOR) -> list[PolicyLine]:
    lines = None
    for stats in rounds:
        lines = policy_named(name)(prior, stats, lines, settings=DEFAULTS)
    assert lines is not None
    return lines


def weights(lines: list[PolicyLine]) -> dict[str, float]:
    return {line.tag: line.weight for line in lines}


def test_doremi_follows_the_loss_in_excess_of_the_reference() -> None:
    found = weights(run("doremi", {A: seen(2.0, reference=1.5), B: seen(3.0, reference=3.5)}))
    up = exp(0.5)  # b is below its reference: no excess
    assert found[A] == pytest.approx(0.999 * up / (up + 1) + 0.0005)


def test_odm_adds_importance_weighted_losses_and_explores_by_its_schedule() -> None:
    found = weights(run("odm", {A: seen(2.0), B: seen(1.0)}, {A: seen(2.0), B: seen(1.0)}))
    # t = 1: epsilon = 1/2, so uniform. t = 2: epsilon = sqrt(ln 2 / 4), before it 1/2
    rewards = [2 * 0.2 / 0.5, 2 * 0.1 / 0.5]
    epsilon, before = sqrt(log(2) / 4), 0.5
    chance = exp(before * rewards[0]) / fsum(exp(before * reward) for reward in rewards)
    assert found[A] == pytest.approx((1 - 2 * epsilon) * chance + epsilon)


def test_ado_prefers_what_still_falls() -> None:
    rounds = [{A: seen(3.0 * n**-0.5), B: seen(2.0)} for n in range(1, 9)]
    found = run("ado", *rounds)
    assert weights(found)[A] > 0.52
    assert found[1].reason == "ado: fitted law falls 0 per token"
    assert weights(run("ado", *rounds[:3])) == {A: 0.5, B: 0.5}  # too few points


def test_skill_it_adds_the_dependants_losses() -> None:
    found = weights(run("skill_it", {A: seen(1.0), B: seen(2.0)}, {A: seen(0.5), B: seen(2.0)}))
    assert found[A] == pytest.approx(exp(0.2 * 5.5) / (exp(0.2 * 5.5) + exp(0.2 * 4.0)))


def test_learning_progress_is_absolute_and_explores_a_fifth() -> None:
    found = weights(
        run("learning_progress", {A: seen(0, 5, 10), B: seen(0, 9, 10)}, {A: seen(0, 8, 10), B: seen(0, 8, 10)})
    )
    assert found[A] == pytest.approx(0.8 * 0.3 / 0.4 + 0.1)  # moved by +.3 and -.1


def test_a_level_opens_at_80_percent_over_three_evaluations_in_a_row() -> None:
    good, bad = {A: seen(0, 8, 10), B: seen(0, 0, 10)}, {A: seen(0, 7, 10), B: seen(0, 0, 10)}
    assert weights(run("levels", good, good)) == {A: 1.0, B: 0.0}
    assert weights(run("levels", good, good, bad, good)) == {A: 1.0, B: 0.0}
    assert weights(run("levels", good, good, good)) == {A: 0.5, B: 0.5}
    assert weights(run("levels", good, good, good, bad)) == {A: 0.5, B: 0.5}  # once open, open


def test_the_first_pass_stands_in_where_nothing_was_held_out() -> None:
    first = {A: CellStats(first_pass=TagStats(n=10, successes=9, trials=10))}
    assert weights(run("levels", first, first, first)) == {A: 0.5, B: 0.5}


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_keeps_the_interface(name: str, tmp_path) -> None:
    prior = {A: 3.0, B: 1.0, "skill=c": 1.0}
    lines = None
    for turn in range(1, 7):
        stats = {A: seen(2.0 / turn, 2 * turn, 20, 0.5), B: seen(3.0, 0, 20, 0.5)}
        lines = policy_named(name)(prior, stats, lines, settings=DEFAULTS)
        assert fsum(line.weight for line in lines) == pytest.approx(1, abs=1e-9)
        assert [line.tag for line in lines] == [A, B, "skill=c"]
        assert {line.round for line in lines} == {turn}
        assert all(prod(line.factors.values()) == line.evidence["target"] for line in lines)
        path = tmp_path / f"{turn}.jsonl"
        path.write_bytes(b"".join(dumps(line.to_record()) + b"\n" for line in lines))
        assert read_policy(path) == lines  # the file alone is enough to go on
        assert policy_named(name)(prior, {}, lines, settings=DEFAULTS)  # a round without evidence
