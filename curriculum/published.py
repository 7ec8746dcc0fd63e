"""Mixing rules of the literature behind the interface of ours: for comparison, and for those who prefer one.

Each is a pure function of priors, one round's evidence and its own last lines; what it remembers travels in the lines'
`state`. They have no rails: no floor, cap or step beyond what their paper gives them. Where paper and the authors' code
differ, the docstring says which is followed. Ours is policy.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, fsum, log, sqrt
from typing import Any

from curriculum.cells import CellStats, prerequisite_of, skill_and_level
from curriculum.settings import PolicySettings
from curriculum.shares import next_round, normalised, plain_lines
from frontier_core.allocation import PolicyLine

EMPTY = CellStats()


class _Round:
    """What every rule starts from: priors, the round's number and its own memory of each cell."""

    def __init__(
        self, prior: Mapping[str, float], previous: Sequence[PolicyLine] | None, round_number: int | None
    ) -> None:
        self.priors = normalised(prior)
        self.previous = previous
        self.number = next_round(previous) if round_number is None else round_number
        old = {line.tag: line for line in previous or ()}
        self.states: dict[str, dict[str, Any]] = {
            tag: dict(old[tag].state) if tag in old else {} for tag in self.priors
        }
        self.weights = {tag: old[tag].weight if tag in old else share for tag, share in self.priors.items()}
        total = fsum(self.weights.values())
        self.weights = {tag: weight / total for tag, weight in self.weights.items()}

    def lines(self, wanted: Mapping[str, float], reasons: Mapping[str, str]) -> list[PolicyLine]:
        return plain_lines(self.priors, wanted, self.previous, number=self.number, reasons=reasons, states=self.states)


def uniform(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],  # noqa: ARG001 - one signature for all policies
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives every cell the same weight, whatever was seen."""
    now = _Round(domains_prior, previous, round_number)
    reason = "uniform policy: every cell gets the same weight"
    return now.lines(dict.fromkeys(now.priors, 1.0), dict.fromkeys(now.priors, reason))


def proportional(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],  # noqa: ARG001
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives every cell its prior weight, whatever was seen."""
    now = _Round(domains_prior, previous, round_number)
    return now.lines(now.priors, dict.fromkeys(now.priors, "proportional policy: every cell keeps its prior"))


DOREMI_RATE = 1.0
DOREMI_SMOOTHING = 1e-3


def doremi(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives group-DRO weights on the loss in excess of a reference model's, online.

    w_k <- (1 - c) w_k exp(eta max(loss_k - reference_k, 0)) / sum + c / K, with eta = 1 and c = 1e-3.
    The reference loss comes as the metric `reference_loss`; without it, all loss is excess.
    Source: Xie et al. (2023), "DoReMi", arXiv:2305.10429, algorithm 1. The paper averages the weights of a proxy run
        and trains anew; here they act at once.
    """
    now = _Round(domains_prior, previous, round_number)
    share = 1 / len(now.priors)
    grown, reasons = {}, {}
    for tag, weight in now.weights.items():
        cell = stats.get(tag, EMPTY)
        excess = max(0.0, cell.loss.mean - cell.reference.mean) if cell.loss.n else 0.0
        grown[tag] = weight * exp(min(50.0, DOREMI_RATE * excess))
        reasons[tag] = f"doremi: loss {cell.loss.mean:.3g}, {excess:.3g} above the reference"
    total = fsum(grown.values())
    wanted = {tag: (1 - DOREMI_SMOOTHING) * value / total + DOREMI_SMOOTHING * share for tag, value in grown.items()}
    return now.lines(wanted, reasons)


ODM_REWARD_SCALE = 10.0


def odm(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives Exp3 weights with the training loss as reward.

    eps_t = min(1/K, sqrt(ln K / (K t))); R_k += loss_k / 10 / pi_k for each domain of the batch;
    pi_k = (1 - K eps_t) exp(eps_{t-1} R_k) / sum_j exp(eps_{t-1} R_j) + eps_t. A call is one t, so it wants a call a
    step.
    Source: Albalak et al. (2023), "Efficient online data mixing", arXiv:2312.02406, algorithm 1. R is summed and the
        loss divided by 10 as in the authors' code (`group_update`); the paper writes a moving average.
    """
    now = _Round(domains_prior, previous, round_number)
    count, turn = len(now.priors), max(1, now.number)
    scale = sqrt(log(count) / count) if count > 1 else 1.0
    epsilon, before = min(1 / count, scale / sqrt(turn)), min(1 / count, scale / sqrt(max(1, turn - 1)))
    rewards, reasons = {}, {}
    for tag in now.priors:
        cell, state = stats.get(tag, EMPTY), now.states[tag]
        if cell.loss.n:
            state["reward"] = state.get("reward", 0.0) + cell.loss.mean / ODM_REWARD_SCALE / max(now.weights[tag], 1e-9)
        rewards[tag] = state.get("reward", 0.0)
        reasons[tag] = (
            f"odm: loss {cell.loss.mean:.3g}, cumulative reward {rewards[tag]:.4g}, exploration {epsilon:.3g}"
        )
    highest = max(rewards.values())
    chances = {tag: exp(before * (reward - highest)) for tag, reward in rewards.items()}
    total = fsum(chances.values())
    return now.lines({tag: (1 - count * epsilon) * c / total + epsilon for tag, c in chances.items()}, reasons)


ADO_CREDIT, ADO_CREDIT_MEMORY, ADO_SMOOTHING, ADO_FLOOR = 0.5, 0.9, 0.1, 0.01
ADO_WARMUP, ADO_POINTS = 4, 24
_ADO_POWERS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_ADO_FLOORS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)


def ado(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives weights by how fast each domain's fitted scaling law still falls.

    L_k(n) = e_k + b_k n^-a_k fitted to the losses so far; rho_k ~ mu_k h_k^s (a_k / n_k) (L_k - e_k), with h a moving
    average of the weights (memory 0.9) and s = 0.5; pi = 0.1 rho + 0.9 times the average of pi so far, floor 0.01.
    Source: Jiang et al. (2024), "Adaptive data optimization", arXiv:2410.11820, equations 2-5. Their fit begins after
        1,000 steps and uses L-BFGS; here after 4 rounds, over a grid of (a, e), on at most 24 points of each curve.
    """
    now = _Round(domains_prior, previous, round_number)
    slopes, reasons = {}, {}
    for tag, weight in now.weights.items():
        state, cell = now.states[tag], stats.get(tag, EMPTY)
        state["credit"] = ADO_CREDIT_MEMORY * state.get("credit", weight) + (1 - ADO_CREDIT_MEMORY) * weight
        turns = state.get("turns", 0)
        state["average"] = (state.get("average", weight) * turns + weight) / (turns + 1)
        state["turns"] = turns + 1
        if cell.loss.n:
            seen = state.get("seen", 0) + cell.loss.tokens
            state["seen"] = seen
            state["curve"] = _thinned([*state.get("curve", []), [seen, cell.loss.mean]])
        curve = state.get("curve", [])
        slope = _scaling_slope(curve) if len(curve) >= ADO_WARMUP else None
        slopes[tag] = slope
        reasons[tag] = "ado: too few points to fit" if slope is None else f"ado: fitted law falls {slope:.3g} per token"
    known = [slope for slope in slopes.values() if slope is not None]
    if not known or not max(known) > 0:
        return now.lines(now.weights, reasons)
    middle = fsum(known) / len(known)
    rho = {
        tag: now.priors[tag] * now.states[tag]["credit"] ** ADO_CREDIT * (middle if slope is None else slope)
        for tag, slope in slopes.items()
    }
    total = fsum(rho.values())
    wanted = {
        tag: max(ADO_FLOOR, ADO_SMOOTHING * rho[tag] / total + (1 - ADO_SMOOTHING) * now.states[tag]["average"])
        for tag in rho
    }
    return now.lines(wanted, reasons)


def _thinned(curve: list[list[float]]) -> list[list[float]]:
    """Keeps a curve at the size the fit takes: past it, neighbours become one point."""
    if len(curve) <= ADO_POINTS:
        return curve
    pairs = [curve[i : i + 2] for i in range(0, len(curve) - 1, 2)]
    return [[fsum(p[0] for p in pair) / 2, fsum(p[1] for p in pair) / 2] for pair in pairs] + curve[len(pairs) * 2 :]


def _scaling_slope(curve: list[list[float]]) -> float:
    """Gives -dL/dn at the last point of the best-fitting law, 0 or more; least squares in the logarithm."""
    lowest, last = min(loss for _, loss in curve), curve[-1][0]
    best, found = float("inf"), 0.0
    counts = [log(max(1.0, n)) for n, _ in curve]
    for share in _ADO_FLOORS:
        rest = [log(max(1e-6, loss - share * lowest)) for _, loss in curve]
        for power in _ADO_POWERS:
            heights = [y + power * x for x, y in zip(counts, rest, strict=True)]
            centre = fsum(heights) / len(heights)
            error = fsum((height - centre) ** 2 for height in heights)
            if error < best:
                best, found = error, power / last * exp(centre - power * log(last))
    return found


SKILL_IT_RATE, SKILL_IT_WINDOW = 0.2, 3


def skill_it(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives weights to skills whose loss, and whose dependants' loss, is high.

    p_i ~ exp(eta * sum_j A_ij * sum of the last 3 losses of j), eta = 0.2. A_ij = 1 where i is j or j's prerequisite:
    the graph is taken as known, which spares the K short runs the paper learns it from.
    Source: Chen et al. (2023), "Skill-it!", arXiv:2307.14430, algorithm 1.
    """
    now = _Round(domains_prior, previous, round_number)
    sums = {}
    for tag in now.priors:
        cell, state = stats.get(tag, EMPTY), now.states[tag]
        if cell.loss.n:
            state["losses"] = [*state.get("losses", []), cell.loss.mean][-SKILL_IT_WINDOW:]
        sums[tag] = fsum(state.get("losses", []))
    pull = dict(sums)
    for tag in now.priors:
        below = prerequisite_of(tag)
        if below in pull:
            pull[below] += sums[tag]
    wanted = {tag: exp(min(50.0, SKILL_IT_RATE * value)) for tag, value in pull.items()}
    reasons = {
        tag: f"skill-it: recent losses of it and what needs it sum to {value:.3g}" for tag, value in pull.items()
    }
    return now.lines(wanted, reasons)


PROGRESS_RATE, PROGRESS_EXPLORATION = 0.3, 0.2


def learning_progress(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives weights by absolute learning progress.

    Q_k <- 0.3 (x_k(t) - x_k(t-1)) + 0.7 Q_k, x the accuracy, or minus the loss where there is none;
    p_k = 0.8 |Q_k| / sum_j |Q_j| + 0.2 / K.
    Source: Matiisen et al. (2017), "Teacher-student curriculum learning", arXiv:1707.00183, the online algorithm;
        proportional choice as in Portelas et al. (2019), arXiv:1910.07224.
    """
    now = _Round(domains_prior, previous, round_number)
    speed, reasons = {}, {}
    for tag in now.priors:
        cell, state = stats.get(tag, EMPTY), now.states[tag]
        score = cell.answers.rate if cell.answers.trials else -cell.loss.mean if cell.loss.n else None
        if score is not None:
            change = score - state["score"] if "score" in state else 0.0
            state["progress"] = PROGRESS_RATE * change + (1 - PROGRESS_RATE) * state.get("progress", 0.0)
            state["score"] = score
        speed[tag] = abs(state.get("progress", 0.0))
        reasons[tag] = f"learning progress {state.get('progress', 0.0):+.3g} a round"
    total, count = fsum(speed.values()), len(speed)
    if not total > 0:
        return now.lines(now.priors, reasons)
    wanted = {
        tag: (1 - PROGRESS_EXPLORATION) * value / total + PROGRESS_EXPLORATION / count for tag, value in speed.items()
    }
    return now.lines(wanted, reasons)


LEVEL_ACCURACY, LEVEL_STREAK = 0.8, 3


def levels(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives each skill's prior to its open levels; a level opens at 80 % accuracy over 3 evaluations of the one below.

    Levels once open stay open and are practised on (without that, the rule forgets: see docs/reweighting.md).
    Source: the project's system architecture, curriculum: "levels advance at 80% accuracy over 3 evaluations".
    """
    now = _Round(domains_prior, previous, round_number)
    for tag, state in now.states.items():
        accuracy = stats.get(tag, EMPTY).answers
        if accuracy.trials:
            state["streak"] = state.get("streak", 0) + 1 if accuracy.rate >= LEVEL_ACCURACY else 0
    is_open: dict[str, bool] = {}
    for tag, state in now.states.items():  # natural order: a level comes after the one below
        below = prerequisite_of(tag) or ""
        starts = below not in now.states
        passed = not starts and is_open[below] and now.states[below].get("streak", 0) >= LEVEL_STREAK
        state["open"] = is_open[tag] = bool(starts or state.get("open") or passed)
    skills: dict[str, float] = {}
    open_share: dict[str, float] = {}
    for tag, share in now.priors.items():
        skill = skill_and_level(tag)[0]
        skills[skill] = skills.get(skill, 0.0) + share
        open_share[skill] = open_share.get(skill, 0.0) + (share if is_open[tag] else 0.0)
    wanted, reasons = {}, {}
    for tag, share in now.priors.items():
        skill = skill_and_level(tag)[0]
        wanted[tag] = share * skills[skill] / open_share[skill] if is_open[tag] else 0.0
        streak = now.states[tag].get("streak", 0)
        reasons[tag] = f"levels: {'open' if is_open[tag] else 'closed'}, {streak} evaluations in a row at 80% or more"
    return now.lines(wanted, reasons)
