"""Bursts: of the cells that stand on a plateau, one at a time gets most of the exploration.

On a plateau a loss says nothing that tells a skill about to be learnt from noise; many examples in a row do, and a
skill that needs a hundred thousand tokens before anything moves never gets them from an even share. Measured in
docs/reweighting.md.
"""

from __future__ import annotations

import numpy as np

from curriculum.columns import Cells, Flags, Floats, State
from curriculum.settings import PolicySettings


def take_turns(cells: Cells, state: State, progress: Floats, settings: PolicySettings, number: int) -> None:
    """Counts the burst that is on, ends it when it has shown nothing, and begins the next one.

    A burst lasts `burst_rounds`, and as long again while since its start (or its last renewal) the loss fell by
    `progress_share` or the mastery rose by `progress_z` standard errors. Fewest bursts come first, of those the cell
    nearest to mastery. A cell that makes more than average progress needs none; nor does one whose prerequisite is not
    there yet.

    Args:
        cells: the cells.
        state: what is remembered; `burst`, `bursts`, `burst_loss` and `burst_mastery` are changed.
        progress: each cell's progress, averaging 1.
        settings: the numbers.
        number: the round that begins; up to `patience` there are no bursts.
    """
    if not settings.burst_rounds or (state.wary > 0).any():  # after a rollback caution comes before discovery
        state.burst = np.zeros(len(progress))
        return
    can_have = (state.trials > 0) & (state.readings >= 2) & (state.closed == 0)
    stuck = can_have & (state.mastery < settings.burst_below)
    is_due = (state.burst > 0) & (state.burst % settings.burst_rounds == 0)
    stays = (state.burst > 0) & stuck & (~is_due | _has_moved(state, settings))
    begins = stays & is_due
    if not stays.any() and number > settings.patience:
        has_basis = (cells.below < 0) | (state.mastery[cells.below] >= settings.gate_open)
        ready = stuck & has_basis & (progress <= 1)  # 1 for all when nothing moves
        first = np.lexsort((-state.mastery, state.bursts, ~ready))[0]
        stays = begins = ready & (np.arange(len(ready)) == first)
        state.bursts = state.bursts + begins
    state.burst_loss = np.where(begins, state.fast, state.burst_loss)
    state.burst_mastery = np.where(begins, state.mastery, state.burst_mastery)
    state.burst = np.where(stays, state.burst + 1, 0.0)


def handed_out(cells: Cells, state: State, settings: PolicySettings) -> Floats:
    """Gives how the exploration is shared; sums to 1: by prior, but for the part of the cell whose turn it is."""
    turn: Flags = state.burst > 0
    if not turn.any():
        return cells.priors
    return (1 - settings.burst_share) * cells.priors + settings.burst_share * turn / int(turn.sum())


def _has_moved(state: State, settings: PolicySettings) -> Flags:
    mastery = state.mastery
    error = np.sqrt(2 * mastery * (1 - mastery) / np.maximum(state.trials, 1.0))
    rose = mastery - state.burst_mastery > settings.progress_z * error
    return rose | (state.fast < (1 - settings.progress_share) * state.burst_loss)
