"""Sampling policies: what was seen per cell in, sampling weights with reasons out. Pure functions, no files.

The default, `frontier`, gives weight to what is not mastered (headroom), is being learnt (progress per unit of weight)
and whose prerequisite stands (gate), inside rails: a floor and a cap by prior, a step limit a round, no move without
data. Each line names its evidence and factors: the product of the factors is the target, and the weight is
`min(max(balance * target, low), high)`. Wording is reasons.py, rollback anchors.py, what to generate focus.py; the
literature's rules are published.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from math import fsum, isfinite, prod, sqrt
from typing import Any

from curriculum import published
from curriculum.cells import CellStats, prerequisite_of
from curriculum.levels import Z_90, is_mastered
from curriculum.reasons import explain
from curriculum.settings import PolicySettings
from curriculum.shares import Policy, next_round, normalised, project
from frontier_core.allocation import PolicyLine
from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from frontier_core.records import wilson_interval

EMPTY = CellStats()


@dataclass(slots=True, kw_only=True)
class CellState:
    """All a policy remembers of a cell; it travels in the policy line's `state`.

    `successes` and `trials` are discounted counts, `length` the supervised tokens of an example, `fast` and `slow`
    averages of the loss, `variance` of one reading of it, `readings` how many there were, `first_loss` the first and
    `first_round` its round; `idle` rounds without a sign of life, `stall` the factor that follows from them;
    `new_trials` and `new_tokens` since the last move; `raised_floor` the floor that safety violations called for;
    `wary` rounds of caution left, `trips` how often a fall of the anchors set them off; `closed` is 1 while a
    level is closed by hand or curriculum, `mastered` 1 from a lower bound of 85 % until an upper bound falls below it.
    """

    successes: float = 0.0
    trials: float = 0.0
    length: float = 0.0
    fast: float = 0.0
    slow: float = 0.0
    variance: float = 0.0
    readings: int = 0
    first_loss: float = 0.0
    first_round: int = 0
    idle: int = 0
    stall: float = 1.0
    new_trials: int = 0
    new_tokens: int = 0
    raised_floor: float = 0.0
    wary: int = 0
    trips: int = 0
    closed: int = 0
    mastered: int = 0

    @property
    def mastery(self) -> float:
        """Expected accuracy under a Beta(1/2, 1/2) prior."""
        return (self.successes + 0.5) / (self.trials + 1)

    @staticmethod
    def from_mapping(values: Mapping[str, Any]) -> CellState:
        """Reads a state back; keys it does not know (a later version's) and values that are no numbers are left out."""
        state = CellState()
        for name, kind in _STATE_FIELDS.items():
            value = values.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                setattr(state, name, kind(value))
        return state

    def to_mapping(self) -> dict[str, float]:
        """Gives the state as a JSON object."""
        return {name: getattr(self, name) for name in _STATE_FIELDS}


_STATE_FIELDS: dict[str, type] = {item.name: type(item.default) for item in fields(CellState)}


def update(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives next round's weights by the `frontier` policy.

    Args:
        domains_prior: cell -> prior share, above 0; normalised here. It names the cells there are: new ones enter at
            their prior, cells it no longer names leave.
        stats: what the last round showed, per cell; cells without evidence keep their weight.
        previous: the last policy, None at first.
        settings: the numbers.
        round_number: the round these weights are for; one after the previous by default.
    Returns:
        One line per cell in natural order; the weights sum to 1 within 1e-9 and keep floor, cap and step.
    Raises:
        ConfigError: no prior, or one that is not above 0.
    Source: mastery-progress policy of the project's reweighting study; after Matiisen et al. (2017), "Teacher-student
        curriculum learning", for progress, and Jiang et al. (2024), "Adaptive data optimization", for dividing it by
        the weight.
    """
    number = next_round(previous) if round_number is None else round_number
    priors = normalised(domains_prior)
    old = {line.tag: CellState.from_mapping(line.state) for line in previous or ()}
    states = {tag: old.get(tag, CellState()) for tag in priors}
    for tag, state in states.items():
        _observe(state, stats.get(tag, EMPTY), settings, number - 1)
    rails = _rails(priors, states, settings)
    base, joined = _starting_weights(priors, previous, rails)
    factors = _factors(states, base, priors, settings)
    targets = {tag: prod(factors[tag].values()) for tag in priors}
    held = {tag for tag in priors if not _has_enough(states[tag], settings)}
    supplies = {tag: settings.epoch_cap * stats[tag].supply for tag in priors if tag in stats and stats[tag].has_supply}
    bounds = _bounds(base, rails, supplies, held, settings)
    weights, balance = project(targets, bounds)
    lines = []
    for tag in priors:
        low, high = bounds[tag]
        closed = states[tag].closed and tag not in held
        limits = (
            ("closed",)
            if closed
            else ("no data",)
            if tag in held
            else _limits(weights[tag], bounds[tag], rails[tag], supplies.get(tag))
        )
        if tag not in held:
            states[tag].new_trials = states[tag].new_tokens = 0
        line = PolicyLine(
            tag=tag,
            weight=weights[tag],
            previous=base[tag],
            prior=priors[tag],
            floor=rails[tag][0],
            cap=rails[tag][1],
            round=number,
            reason="-",
            evidence={"target": targets[tag], "balance": balance, "low": low, "high": high}
            | _evidence(stats.get(tag, EMPTY), states, tag),
            factors=factors[tag],
            limits=limits,
            state=states[tag].to_mapping(),
        )
        lines.append(explain(line, is_new=tag in joined, settings=settings))
    return lines


POLICIES: dict[str, Policy] = {
    "frontier": update,
    "uniform": published.uniform,
    "proportional": published.proportional,
    "doremi": published.doremi,
    "odm": published.odm,
    "ado": published.ado,
    "skill_it": published.skill_it,
    "learning_progress": published.learning_progress,
    "levels": published.levels,
}
"""Name -> policy; all have the signature of `update`."""


def policy_named(name: str) -> Policy:
    """Gives the policy of that name, or raises ConfigError with the nearest known one."""
    if name not in POLICIES:
        raise ConfigError(f"unknown policy {name!r}", hint=did_you_mean(name, POLICIES))
    return POLICIES[name]


def _starting_weights(
    priors: Mapping[str, float],
    previous: Sequence[PolicyLine] | None,
    rails: Mapping[str, tuple[float, float]],
) -> tuple[dict[str, float], set[str]]:
    """Gives the weights a step is measured from, inside floor and cap, and the cells that are new.

    Cells that stay share what the newcomers' priors leave, in their old proportions.
    """
    old = {line.tag: line.weight for line in previous or () if line.tag in priors}
    joined = set(priors) - set(old)
    left = 1.0 - fsum(priors[tag] for tag in joined)
    total = fsum(old.values())
    if not total > 0:
        return dict(priors), joined if previous else set()
    if not joined and len(old) == len(previous or ()) and abs(total - 1.0) < 1e-12:
        wanted = old  # bit for bit, so that `previous` is what the last file says
    else:
        wanted = {tag: priors[tag] if tag in joined else old[tag] * left / total for tag in priors}
    if all(low <= wanted[tag] <= high for tag, (low, high) in rails.items()):
        return {tag: wanted[tag] for tag in priors}, joined
    # A changed prior or floor: the bounds go before the step.
    return project({tag: max(wanted[tag], 1e-12) for tag in priors}, rails)[0], joined


def _observe(state: CellState, cell: CellStats, settings: PolicySettings, round_number: int) -> None:
    """Takes one round's evidence of a cell into its state; a kind of evidence that is absent changes nothing."""
    answers = cell.answers
    state.wary = max(0, state.wary - 1)
    if wilson_interval(cell.violations.successes, cell.violations.trials, z=Z_90)[0] > settings.safety_rate:
        state.raised_floor = max(state.raised_floor, settings.safety_floor)
    state.new_trials += answers.trials
    state.new_tokens += cell.loss.tokens
    if answers.trials:
        state.successes = settings.accuracy_memory * state.successes + answers.successes
        state.trials = settings.accuracy_memory * state.trials + answers.trials
        state.mastered = int(is_mastered(state.successes, state.trials, bool(state.mastered)))
    if cell.loss.n and isfinite(cell.loss.total) and isfinite(cell.loss.total_sq):
        state.length = cell.loss.tokens / cell.loss.n
        reading, variance = cell.loss.mean, cell.loss.standard_error**2
        if state.readings == 0:
            state.fast = state.slow = state.first_loss = reading
            state.variance, state.first_round = variance, round_number
        else:
            state.fast += settings.fast_rate * (reading - state.fast)
            state.slow += settings.slow_rate * (reading - state.slow)
            state.variance = settings.noise_memory * state.variance + (1 - settings.noise_memory) * variance
        state.readings += 1
    if not (answers.trials or cell.loss.n):
        return
    drop, error = _loss_drop(state, settings)
    has_fallen = drop > settings.progress_z * error and drop > settings.progress_share * state.fast
    if has_fallen or (state.trials > 0 and state.mastery > settings.alive_mastery):
        state.idle, state.stall = 0, min(1.0, settings.recovery * state.stall)
    else:
        state.idle += 1
        if state.idle > settings.patience:
            state.stall = max(settings.stall_least, settings.stall_decay * state.stall)


def _loss_drop(state: CellState, settings: PolicySettings) -> tuple[float, float]:
    """Gives how far the fast average of the loss lies below the slow one, and the standard error of that.

    An average with rate a over independent readings has a/(2-a) of one reading's variance.
    """
    if state.readings < 2:
        return 0.0, 0.0
    fast, slow = settings.fast_rate, settings.slow_rate
    return state.slow - state.fast, sqrt(state.variance * (fast / (2 - fast) + slow / (2 - slow)))


def _headroom(state: CellState, settings: PolicySettings) -> float:
    """Gives the share still to be learnt: 1 - mastery, or from the loss where a cell was never evaluated."""
    if state.trials > 0:
        return 1.0 - state.mastery
    span = state.first_loss - settings.loss_floor
    if state.readings < 2 or span <= 0:
        return 0.5 if state.readings == 0 else 1.0
    # Never quite 0: the target is a product, and a cell must be able to come back.
    return min(1.0, max(1e-3, (state.fast - settings.loss_floor) / span))


def _progress(
    states: Mapping[str, CellState],
    headroom: Mapping[str, float],
    shares: Mapping[str, float],
    settings: PolicySettings,
) -> dict[str, float]:
    """Gives each cell's progress: the relative fall of its loss beyond noise, per root of weight/prior, averaging 1.

    Cells with fewer than two readings of the loss get the neutral 1, and so do all when none has more.
    """
    rates = {}
    for tag, state in states.items():
        if state.readings >= 2:
            drop, error = _loss_drop(state, settings)
            damping = sqrt(max(shares[tag], settings.min_share))
            rates[tag] = max(0.0, drop - error) / max(state.fast, settings.min_loss) / damping
    mean = fsum(headroom[tag] * rate for tag, rate in rates.items())
    if not mean > 0:
        return dict.fromkeys(states, 1.0)
    scale = fsum(headroom[tag] for tag in rates) / mean
    return {tag: min(settings.max_progress, rates[tag] * scale) if tag in rates else 1.0 for tag in states}


def _gate(tag: str, states: Mapping[str, CellState], settings: PolicySettings) -> float:
    """Gives how far the prerequisite opens a cell; 1 where there is none or it was never evaluated."""
    below = states.get(prerequisite_of(tag) or "")
    if below is None or below.trials == 0:
        return 1.0
    opening = (below.mastery - settings.gate_closed) / (settings.gate_open - settings.gate_closed)
    return settings.gate_least + (1 - settings.gate_least) * min(1.0, max(0.0, opening))


def _costs(states: Mapping[str, CellState], settings: PolicySettings) -> dict[str, float]:
    """Gives each cell's factor for the length of its examples: short ones are cheap, and count less in a token mean."""
    known = [state.length for state in states.values() if state.length > 0]
    if not known:
        return dict.fromkeys(states, 1.0)
    usual = fsum(known) / len(known)
    return {
        tag: (usual / state.length) ** settings.cost_power if state.length > 0 else 1.0 for tag, state in states.items()
    }


def _factors(
    states: Mapping[str, CellState],
    base: Mapping[str, float],
    priors: Mapping[str, float],
    settings: PolicySettings,
) -> dict[str, dict[str, float]]:
    """Gives the factors whose product is each cell's target.

    With U = headroom * progress * gate * stall the target is (1 - exploration) * U / sum(U) + exploration * prior.
    `share` is the first term's common factor; `reserve` is what the second multiplies it by.
    """
    headroom = {tag: _headroom(state, settings) for tag, state in states.items()}
    shares = {tag: base[tag] / priors[tag] for tag in states}
    progress = _progress(states, headroom, shares, settings)
    costs = _costs(states, settings)
    factors = {
        tag: {
            "headroom": headroom[tag],
            # Above 0 whatever the settings: the target is a product, and a cell must be able to come back.
            "progress": max(1e-3, settings.base_progress + progress[tag]),
            "gate": _gate(tag, states, settings),
            "stall": states[tag].stall,
            "cost": costs[tag],
        }
        for tag in states
    }
    for parts in factors.values():
        parts["focus"] = prod(parts.values()) ** (settings.focus - 1)
    utility = {tag: prod(parts.values()) for tag, parts in factors.items()}
    is_wary = any(state.wary > 0 for state in states.values())
    exploration = max(settings.exploration, settings.wary_exploration) if is_wary else settings.exploration
    share = (1 - exploration) / fsum(utility.values())
    for tag, parts in factors.items():
        parts["share"] = share
        parts["reserve"] = 1 + exploration * priors[tag] / (share * utility[tag])
    return factors


def _has_enough(state: CellState, settings: PolicySettings) -> bool:
    if state.trials > 0:
        return state.new_trials >= max(1, settings.min_trials)
    return state.readings > 0 and state.new_tokens >= settings.min_tokens


def _rails(
    priors: Mapping[str, float], states: Mapping[str, CellState], settings: PolicySettings
) -> dict[str, tuple[float, float]]:
    """Gives floor and cap of each cell.

    Safety violations can only ever raise a floor; a closed level stays at its floor. Caps give way where so much is
    closed that they would leave weight over.
    """
    rails = {}
    for tag, prior in priors.items():
        floor = max(settings.floor, min(states[tag].raised_floor, 1.0)) * prior
        rails[tag] = (floor, floor if states[tag].closed else settings.cap * prior)
    left = 1.0 - fsum(floor for tag, (floor, _) in rails.items() if states[tag].closed)
    room = fsum(cap for tag, (_, cap) in rails.items() if not states[tag].closed)
    if 0 < room < left:
        for tag, (floor, cap) in rails.items():
            rails[tag] = (floor, cap if states[tag].closed else cap * left / room * (1 + 1e-12))
    return rails


def _bounds(
    base: Mapping[str, float],
    rails: Mapping[str, tuple[float, float]],
    supplies: Mapping[str, float],
    held: Collection[str],
    settings: PolicySettings,
) -> dict[str, tuple[float, float]]:
    """Gives the range each weight may move in: rails, step, and no more than there is data for.

    A held cell stays where it is. What there is no data for goes before the step; if there is too little of everything,
    everything is repeated as often.
    """
    bounds = {}
    for tag, (floor, cap) in rails.items():
        low, high = max(floor, base[tag] / settings.step), min(cap, base[tag] * settings.step)
        if tag in supplies and tag not in held:
            high = min(high, supplies[tag])
            low = min(low, high)
        bounds[tag] = (base[tag], base[tag]) if tag in held else (low, high)
    most = fsum(high for _, high in bounds.values())
    if supplies and most < 1.0:
        return {tag: (low, high / most * (1 + 1e-12)) for tag, (low, high) in bounds.items()}
    return bounds


def _limits(
    weight: float, bounds: tuple[float, float], rails: tuple[float, float], supply: float | None
) -> tuple[str, ...]:
    """Names the rails that hold a weight."""
    low, high = bounds
    if supply is not None and weight >= high and high == supply:
        return ("supply",)
    if low < weight < high:
        return ()
    if weight <= low:
        return ("floor",) if low == rails[0] else ("step",)
    return ("cap",) if high == rails[1] else ("step",)


def _evidence(cell: CellStats, states: Mapping[str, CellState], tag: str) -> dict[str, Any]:
    """Gives the figures behind a line: counts and interval of the round, discounted mastery, loss, errors."""
    state = states[tag]
    evidence: dict[str, Any] = {}
    answers = cell.answers
    if answers.trials:
        low, high = wilson_interval(answers.successes, answers.trials)
        evidence["accuracy"] = {
            "value": answers.rate,
            "low": low,
            "high": high,
            "successes": answers.successes,
            "trials": answers.trials,
            "is_first_pass": not cell.accuracy.trials,
        }
    if state.trials > 0:
        evidence["mastery"] = state.mastery
        evidence["effective_trials"] = state.trials
    if cell.loss.n:
        evidence["loss"] = {
            "value": cell.loss.mean,
            "standard_error": cell.loss.standard_error,
            "num_examples": cell.loss.n,
            "tokens": cell.loss.tokens,
            "first": state.first_loss,
            "first_round": state.first_round,
            "readings": state.readings,
        }
    below = prerequisite_of(tag)
    if below is not None and below in states and states[below].trials > 0:
        evidence["prerequisite"] = {"tag": below, "mastery": states[below].mastery}
    if cell.violations.trials:
        evidence["violations"] = {"successes": cell.violations.successes, "trials": cell.violations.trials}
    if cell.has_supply:
        evidence["supply"] = cell.supply
    if cell.errors:
        evidence["errors"] = dict(sorted(cell.errors.items(), key=lambda item: (-item[1], item[0])))
    return evidence
