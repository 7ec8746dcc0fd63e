"""The `frontier` policy on columns: one round's evidence and the last state in, weights and their factors out.

All arithmetic of the default policy stands here, in the order in which a line's factors are multiplied again by
replay.py. Wording is reasons.py, lines and files policy.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curriculum.columns import Cells, Evidence, Flags, Floats, State, project_columns
from curriculum.levels import MASTERED_AT, Z_90
from curriculum.settings import PolicySettings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """One round's outcome: for each cell its weight, what it was measured from, its rails, target and factors.

    `held` cells had too little evidence to move, `joined` ones are new, `supplies` is what there is data for (NaN where
    unknown). The weight is `min(max(balance * target, low), high)`, the target the product of the factors.
    """

    cells: Cells
    number: int
    evidence: Evidence
    state: State
    joined: Flags
    held: Flags
    weight: Floats
    previous: Floats
    floor: Floats
    cap: Floats
    low: Floats
    high: Floats
    supplies: Floats
    target: Floats
    balance: float
    factors: dict[str, Floats]


def decide(
    cells: Cells,
    seen: Evidence,
    state: State,
    before: Floats,
    *,
    settings: PolicySettings,
    number: int,
) -> Decision:
    """Gives next round's weights.

    Args:
        cells: the cells and their priors.
        seen: what the last round showed.
        state: what is remembered; taken over and changed.
        before: the weights in force, NaN for cells that are new; all NaN at first.
        settings: the numbers.
        number: the round the weights are for.
    """
    with np.errstate(all="ignore"):  # a loss of 1e300 is evidence too; what comes out of it is bounded by the rails
        observe(state, seen, settings, number - 1)
        floor, cap = _rails(cells.priors, state, settings)
        base = _starting_weights(cells.priors, before, floor, cap)
        headroom = _headroom(state, settings)
        progress = _progress(state, headroom, base / cells.priors, settings)
        factors = _factors(cells, state, headroom, progress, settings)
        target = np.ones(len(base))
        for factor in factors.values():
            target = target * factor
        held = ~_has_enough(state, settings)
        supplies = settings.epoch_cap * seen.supply
        low, high = _bounds(base, floor, cap, supplies, held, settings)
        weight, balance = project_columns(target, low, high)
    state.new_trials = np.where(held, state.new_trials, 0.0)
    state.new_tokens = np.where(held, state.new_tokens, 0.0)
    return Decision(
        cells=cells,
        number=number,
        evidence=seen,
        state=state,
        joined=np.isnan(before),
        held=held,
        weight=weight,
        previous=base,
        floor=floor,
        cap=cap,
        low=low,
        high=high,
        supplies=supplies,
        target=target,
        balance=balance,
        factors=factors,
    )


def _starting_weights(priors: Floats, before: Floats, floor: Floats, cap: Floats) -> Floats:
    """Gives the weights a step is measured from, inside floor and cap.

    Cells that stay share what the newcomers' priors leave, in their old proportions.
    """
    known = ~np.isnan(before)
    total = float(before[known].sum())
    if not total > 0:
        return priors.copy()
    if known.all() and abs(total - 1.0) < 1e-12:
        wanted = before  # bit for bit, so that `previous` is what the last file says
    else:
        wanted = np.where(known, before * (1.0 - float(priors[~known].sum())) / total, priors)
    if ((floor <= wanted) & (wanted <= cap)).all():
        return wanted
    # A changed prior or floor: the bounds go before the step.
    return project_columns(np.maximum(wanted, 1e-12), floor, cap)[0]


def wilson_bounds(right: Floats, trials: Floats) -> tuple[Floats, Floats]:
    """Gives the one-sided 90 % Wilson bounds of counts that need not be whole; (0, 1) without trials."""
    p, square = right / trials, Z_90 * Z_90 / trials
    centre, half = p + square / 2, Z_90 * np.sqrt(p * (1 - p) / trials + square / (4 * trials))
    has = trials > 0
    return np.where(has, (centre - half) / (1 + square), 0.0), np.where(has, (centre + half) / (1 + square), 1.0)


def observe(state: State, seen: Evidence, settings: PolicySettings, number: int) -> None:
    """Takes one round's evidence into the state; a kind of evidence that is absent changes nothing."""
    state.wary = np.maximum(0.0, state.wary - 1)
    if seen.judged.any():
        is_unsafe = wilson_bounds(seen.broken, seen.judged)[0] > settings.safety_rate
        state.raised_floor = np.where(
            is_unsafe, np.maximum(state.raised_floor, settings.safety_floor), state.raised_floor
        )
    tried = seen.trials > 0
    read = (seen.num > 0) & np.isfinite(seen.total) & np.isfinite(seen.total_sq)
    state.new_trials = state.new_trials + seen.trials
    state.new_tokens = state.new_tokens + np.where(read, seen.tokens, 0.0)
    memory = settings.accuracy_memory
    state.successes = np.where(tried, memory * state.successes + seen.right, state.successes)
    state.trials = np.where(tried, memory * state.trials + seen.trials, state.trials)
    low, high = wilson_bounds(state.successes, state.trials)
    is_mastered = np.where(state.mastered > 0, high >= MASTERED_AT, low >= MASTERED_AT)
    state.mastered = np.where(tried, is_mastered, state.mastered).astype(np.float64)
    _read_losses(state, seen, read, settings, number)
    drop, error = _loss_drop(state, settings)
    has_fallen = (drop > settings.progress_z * error) & (drop > settings.progress_share * state.fast)
    # In between it may be guessing or about to learn; above, short of mastered, its labels may allow no more.
    is_between = (settings.alive_mastery < state.mastery) & (state.mastery < settings.spent_mastery)
    is_alive = has_fallen | ((state.trials > 0) & (is_between | (state.mastered > 0)))
    idle = np.where(is_alive, 0.0, state.idle + 1)
    stall = np.where(
        idle > settings.patience, np.maximum(settings.stall_least, settings.stall_decay * state.stall), state.stall
    )
    stall = np.where(is_alive, np.minimum(1.0, settings.recovery * state.stall), stall)
    shown = tried | (seen.num > 0)
    state.idle, state.stall = np.where(shown, idle, state.idle), np.where(shown, stall, state.stall)


def _read_losses(state: State, seen: Evidence, read: Flags, settings: PolicySettings, number: int) -> None:
    """Moves the averages of the loss by a round's mean and its standard error."""
    mean = seen.total / seen.num
    spread = np.fmax(0.0, seen.total_sq - seen.total * seen.total / seen.num) / (seen.num - 1)
    variance = np.where(seen.num < 2, 0.0, np.square(np.sqrt(spread / seen.num)))
    first, later = read & (state.readings == 0), read & (state.readings > 0)
    state.length = np.where(read, seen.tokens / seen.num, state.length)

    def moved(column: Floats, next_value: Floats, start: Floats) -> Floats:
        return np.where(later, next_value, np.where(first, start, column))

    memory = settings.noise_memory
    state.fast = moved(state.fast, state.fast + settings.fast_rate * (mean - state.fast), mean)
    state.slow = moved(state.slow, state.slow + settings.slow_rate * (mean - state.slow), mean)
    state.variance = moved(state.variance, memory * state.variance + (1 - memory) * variance, variance)
    state.first_loss = np.where(first, mean, state.first_loss)
    state.first_round = np.where(first, float(number), state.first_round)
    state.readings = state.readings + read


def _loss_drop(state: State, settings: PolicySettings) -> tuple[Floats, Floats]:
    """Gives how far the fast average of the loss lies below the slow one, and the standard error of that.

    An average with rate a over independent readings has a/(2-a) of one reading's variance.
    """
    fast, slow = settings.fast_rate, settings.slow_rate
    error = np.sqrt(state.variance * (fast / (2 - fast) + slow / (2 - slow)))
    known = state.readings >= 2
    return np.where(known, state.slow - state.fast, 0.0), np.where(known, error, 0.0)


def _headroom(state: State, settings: PolicySettings) -> Floats:
    """Gives the share still to be learnt: 1 - mastery, or from the loss where a cell was never evaluated."""
    span = state.first_loss - settings.loss_floor
    # Never quite 0: the target is a product, and a cell must be able to come back.
    by_loss = np.minimum(1.0, np.maximum(1e-3, (state.fast - settings.loss_floor) / span))
    unknown = np.where(state.readings == 0, 0.5, 1.0)
    by_loss = np.where((state.readings < 2) | ~(span > 0), unknown, by_loss)
    return np.where(state.trials > 0, 1.0 - state.mastery, by_loss)


def _progress(state: State, headroom: Floats, shares: Floats, settings: PolicySettings) -> Floats:
    """Gives each cell's progress: the relative fall of its loss beyond noise, per root of weight/prior, averaging 1.

    Cells with fewer than two readings of the loss get the neutral 1, and so do all when none has more.
    """
    known = state.readings >= 2
    drop, error = _loss_drop(state, settings)
    damping = np.sqrt(np.maximum(shares, settings.min_share))
    fall = np.maximum(0.0, drop - settings.progress_margin * error)
    rates = np.where(known, fall / np.maximum(state.fast, settings.min_loss) / damping, 0.0)
    mean = float((headroom * rates).sum())
    if not mean > 0:
        return np.ones(len(rates))
    scale = float(headroom[known].sum()) / mean
    return np.where(known, np.minimum(settings.max_progress, rates * scale), 1.0)


def _gate(cells: Cells, state: State, settings: PolicySettings) -> Floats:
    """Gives how far a cell is open: by its prerequisite's mastery, or by learning without it; 1 where there is none.

    A loss that falls by twice the standard errors that count as alive opens a cell as a mastered prerequisite does:
    levels of a skill may help each other, and holding those back that learn costs more than it saves.
    """
    opening = (state.mastery[cells.below] - settings.gate_closed) / (settings.gate_open - settings.gate_closed)
    drop, error = _loss_drop(state, settings)
    sure = settings.progress_z * error
    opening = np.maximum(opening, np.where(drop > sure, drop / np.maximum(sure, 1e-9) - 1, 0.0))
    gate = settings.gate_least + (1 - settings.gate_least) * np.minimum(1.0, np.maximum(0.0, opening))
    has_below = (cells.below >= 0) & (state.trials[cells.below] > 0)
    return np.where(has_below, gate, 1.0)


def _costs(state: State, settings: PolicySettings) -> Floats:
    """Gives each cell's factor for the length of its examples: short ones are cheap, and count less in a token mean."""
    known = state.length > 0
    if not settings.cost_power or not known.any():
        return np.ones(len(known))
    usual = float((state.length[known]).sum()) / int(known.sum())
    return np.where(known, powers(usual / state.length, settings.cost_power), 1.0)


def powers(values: Floats, exponent: float) -> Floats:
    """Gives values ** exponent by the C library's pow: numpy's own differs in the last bit between processors."""
    return np.array([value**exponent for value in values.tolist()])


def _factors(
    cells: Cells, state: State, headroom: Floats, progress: Floats, settings: PolicySettings
) -> dict[str, Floats]:
    """Gives the factors whose product is each cell's target.

    With U = (headroom * progress * gate * stall * cost)^focus the target is (1 - exploration) * U / sum(U) +
    exploration * prior.
    `share` is the first term's common factor; `reserve` is what the second multiplies it by.
    """
    factors = {
        "headroom": headroom,
        # Above 0 whatever the settings: the target is a product, and a cell must be able to come back.
        "progress": np.maximum(1e-3, settings.base_progress + progress),
        "gate": _gate(cells, state, settings),
        "stall": state.stall,
        "cost": _costs(state, settings),
    }
    utility = np.ones(len(headroom))
    for factor in factors.values():
        utility = utility * factor
    factors["focus"] = np.ones(len(headroom)) if settings.focus == 1 else powers(utility, settings.focus - 1)
    utility = utility * factors["focus"]
    exploration = settings.exploration
    if (state.wary > 0).any():
        exploration = max(exploration, settings.wary_exploration)
    share = (1 - exploration) / float(utility.sum())
    factors["share"] = np.full(len(headroom), share)
    factors["reserve"] = 1 + exploration * cells.priors / (share * utility)
    return factors


def _has_enough(state: State, settings: PolicySettings) -> Flags:
    by_answers = state.new_trials >= max(1, settings.min_trials)
    by_tokens = (state.readings > 0) & (state.new_tokens >= settings.min_tokens)
    return np.where(state.trials > 0, by_answers, by_tokens)


def _rails(priors: Floats, state: State, settings: PolicySettings) -> tuple[Floats, Floats]:
    """Gives floor and cap of each cell.

    Safety violations can only ever raise a floor; a closed level stays at its floor. Caps give way where so much is
    closed that they would leave weight over.
    """
    closed = state.closed > 0
    floor = np.maximum(settings.floor, np.minimum(state.raised_floor, 1.0)) * priors
    cap = np.where(closed, floor, settings.cap * priors)
    left, room = 1.0 - float(floor[closed].sum()), float(cap[~closed].sum())
    if 0 < room < left:
        cap = np.where(closed, cap, cap * left / room * (1 + 1e-12))
    return floor, cap


def _bounds(
    base: Floats, floor: Floats, cap: Floats, supplies: Floats, held: Flags, settings: PolicySettings
) -> tuple[Floats, Floats]:
    """Gives the range each weight may move in: rails, step, and no more than there is data for.

    A held cell stays where it is. What there is no data for goes before the step; if there is too little of everything,
    everything is repeated as often.
    """
    low, high = np.maximum(floor, base / settings.step), np.minimum(cap, base * settings.step)
    known = ~np.isnan(supplies)
    high = np.where(known, np.fmin(high, supplies), high)
    low = np.where(held, base, np.minimum(low, high))
    high = np.where(held, base, high)
    if known.any():
        most = float(high.sum())
        if most < 1.0:
            high = high / most * (1 + 1e-12)
    return low, high
