"""Why a run went wrong: the step, the samples, the learning rate and the gradient norms that led there.

A loss or a gradient that is no number stops a run before it reaches the weights; a loss that has climbed far above its
lowest stops it too, before hours are spent on noise. The last checkpoint is good in each case.
"""

# N predictions, S samples of a pass

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import isfinite
from typing import Any

from frontier_core.errors import FrontierError

NORMS_SHOWN = 5
PLACES_SHOWN = 5
SMOOTHING = 0.1
WATCHED_AFTER = 20
"""Steps before a rise of the loss is judged: the first ones are as wild as they like."""
CALM = "lower learning_rate or max_grad_norm; the last checkpoint is good"


class Diverged(FrontierError):
    """The loss or its gradient is no number, or the loss has run away; the weights of the last checkpoint are good.

    Args:
        message: what happened, at which step, in which tags.
        diagnosis: the same as values: step, what, tags, places, learning_rate, grad_norms, losses.
    """

    def __init__(self, message: str, *, diagnosis: dict[str, Any], hint: str = CALM) -> None:
        super().__init__(message, hint=hint)
        self.diagnosis = diagnosis


class Watch:
    """Keeps what a diagnosis needs, and judges each step.

    Args:
        max_loss_rise: nats the smoothed loss may stand above its lowest; 0 for no limit.
    """

    def __init__(self, max_loss_rise: float) -> None:
        self.max_loss_rise = max_loss_rise
        self.norms: deque[float] = deque(maxlen=NORMS_SHOWN)
        self.losses: deque[float] = deque(maxlen=NORMS_SHOWN)
        self._mean: float | None = None
        self._lowest = float("inf")
        self._num_steps = 0

    def check_loss(self, value: float, step: int, *, learning_rate: float, bad: Sequence[Any] = ()) -> None:
        """Raises Diverged when a pass's loss is no number; `bad` are the examples whose own loss is none."""
        if isfinite(value):
            return
        tags = sorted({example.tag for example in bad})
        places = [example.place for example in bad[:PLACES_SHOWN]]
        where = f" in {', '.join(tags)} ({', '.join(places)})" if tags else ""
        raise self._error(f"the loss is {value} at step {step}{where}", "loss", step, learning_rate, tags, places)

    def check_norm(self, norm: float, step: int, *, learning_rate: float) -> None:
        """Raises Diverged when the gradient's norm is no number, before the gradient reaches the weights."""
        if not isfinite(norm):
            raise self._error(f"the gradient's norm is {norm} at step {step}", "grad_norm", step, learning_rate)
        self.norms.append(norm)

    def check_rise(self, loss: float, step: int, *, learning_rate: float) -> None:
        """Takes a whole step's loss; raises Diverged when the smoothed loss has left its lowest too far behind."""
        self.losses.append(loss)
        self._num_steps += 1
        self._mean = loss if self._mean is None else self._mean + SMOOTHING * (loss - self._mean)
        self._lowest = min(self._lowest, self._mean)
        rise = self._mean - self._lowest
        if self.max_loss_rise and self._num_steps > WATCHED_AFTER and rise > self.max_loss_rise:
            message = f"the loss has risen to {self._mean:.3g} from {self._lowest:.3g} by step {step}"
            raise self._error(message, "loss_rise", step, learning_rate)

    def _error(
        self,
        message: str,
        what: str,
        step: int,
        learning_rate: float,
        tags: Sequence[str] = (),
        places: Sequence[str] = (),
    ) -> Diverged:
        before = [round(norm, 6) for norm in self.norms]
        diagnosis = {
            "what": what,
            "step": step,
            "tags": list(tags),
            "places": list(places),
            "learning_rate": learning_rate,
            "grad_norms": before,
            "losses": [round(loss, 6) for loss in self.losses],
        }
        norms = f", gradient norms before {', '.join(f'{norm:.3g}' for norm in before)}" if before else ""
        return Diverged(f"{message}, learning rate {learning_rate:.3g}{norms}", diagnosis=diagnosis)


def broken_samples(row_loss_N: Any, sample_N: Any, examples: Sequence[Any]) -> list[Any]:
    """Gives the examples of a pass that have a row whose loss is no number."""
    bad = (~row_loss_N.isfinite()).nonzero()[:, 0].cpu().numpy()
    return [examples[index] for index in sorted(set(sample_N[bad].tolist()))]
