"""Reweighting while a run goes on: the policy of `frontier reweight`, every so many steps, on the run's own telemetry.

The engine knows no policies and the curriculum no engine: this listens to the telemetry lines of a run (a monitor of
`TrainerEngine.run_job`), and writes the policy file that the run's stream follows at its block borders. Nothing here
differs from doing it by hand: `frontier reweight run/events.jsonl --every N` gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from curriculum.cells import cells_by_steps
from curriculum.policy import policy_named
from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine, read_policy
from frontier_core.atomic import write_bytes
from frontier_core.errors import ConfigError
from frontier_core.events import TelemetryLine
from frontier_core.jsonl import dumps


class LiveReweighter:
    """Turns a run's telemetry into its next policy every `every` steps.

    Args:
        path: the policy file the run's stream follows; one that is there is where the weights start.
        priors: cell -> prior share.
        every: steps of a round; a multiple of the steps between telemetry lines.
        policy: the rule.
        settings: its numbers.
    Side effects: replaces `path` whole at the end of each round.
    """

    def __init__(
        self,
        path: Path,
        priors: Mapping[str, float],
        *,
        every: int,
        policy: str = "frontier",
        settings: PolicySettings | None = None,
    ) -> None:
        if every < 1:
            raise ConfigError(f"reweight_every = {every} is no number of steps")
        self._path = path
        self._priors = dict(priors)
        self._every = every
        self._rule = policy_named(policy)
        self._settings = settings or PolicySettings()
        self._lines: Sequence[PolicyLine] | None = read_policy(path) if path.is_file() else None
        self._pending: list[TelemetryLine] = []
        self._step = 0

    def start(self) -> None:
        """Writes the policy a run begins with, the priors, where there is none yet."""
        if self._lines is None:
            self._decide([], 0)

    def __call__(self, lines: Sequence[TelemetryLine]) -> None:
        """Takes the lines of one logging window; at the end of a round, decides."""
        self._pending += lines
        step = max((line.key.step_to for line in lines), default=0)
        if step and step % self._every == 0 and step > self._step:
            self._step = step
            self._decide(self._pending, step // self._every)
            self._pending = []

    def _decide(self, pending: Sequence[TelemetryLine], number: int) -> None:
        rounds = cells_by_steps(pending, every=self._every)
        cells = rounds[max(rounds)] if rounds else {}
        self._lines = self._rule(self._priors, cells, self._lines, settings=self._settings, round_number=number)
        write_bytes(self._path, b"".join(dumps(line.to_record()) + b"\n" for line in self._lines))
