"""Reweighting while a run goes on: the policy of `frontier reweight`, every so many steps, on the run's own telemetry.

The engine knows no policies and the curriculum no engine: this listens to the telemetry lines of a run (a monitor of
`TrainerEngine.run_job`), and writes the policy file that the run's stream follows at its block borders. Nothing here
differs from doing it by hand: `frontier reweight run/events.jsonl --every N` gives the same bytes. A run that goes on
reads its windows again, so its next decision is the one it would have made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from curriculum.cells import cells_by_steps
from curriculum.policy import policy_named
from curriculum.settings import PolicySettings
from frontier_core.allocation import PolicyLine, read_policy
from frontier_core.atomic import write_bytes
from frontier_core.errors import ConfigError
from frontier_core.events import TelemetryLine
from frontier_core.jsonl import dumps, read_rows

POLICY, START = "policy.jsonl", "policy.start.jsonl"


class LiveReweighter:
    """Turns a run's telemetry into its next policy every `every` steps.

    Args:
        run_dir: the run folder: its events.jsonl is read when a run goes on; policy.jsonl, which the run's stream
            follows, and policy.start.jsonl, which it began with, are written.
        priors: cell -> prior share.
        every: steps of a round; a multiple of the steps between telemetry lines.
        policy: the rule.
        settings: its numbers.
        initial: a policy file to begin with; None begins at the priors.
    Side effects: replaces policy.jsonl whole at the end of each round.
    """

    def __init__(
        self,
        run_dir: Path,
        priors: Mapping[str, float],
        *,
        every: int,
        policy: str = "frontier",
        settings: PolicySettings | None = None,
        initial: Path | None = None,
    ) -> None:
        if every < 1:
            raise ConfigError(f"reweight_every = {every} is no number of steps")
        self._run_dir = run_dir
        self._priors = dict(priors)
        self._every = every
        self._rule = policy_named(policy)
        self._settings = settings or PolicySettings()
        self._initial = read_policy(initial) if initial is not None else None
        self._lines: Sequence[PolicyLine] = []
        self._pending: list[TelemetryLine] = []
        self._is_up_to_date = True

    @property
    def path(self) -> Path:
        """The policy file the run's stream is to follow."""
        return self._run_dir / POLICY

    def begin(self, *, is_fresh: bool) -> None:
        """Writes the policy the run begins with, or takes up the one it began with."""
        start = self._run_dir / START
        if is_fresh or not start.is_file():
            lines = self._initial or self._rule(self._priors, {}, None, settings=self._settings, round_number=0)
            self._lines = [replace(line, round=0) for line in lines]
            for path in (start, self.path):
                self._write(path)
        self._lines, self._pending = read_policy(start), []
        self._is_up_to_date = is_fresh

    def __call__(self, lines: Sequence[TelemetryLine]) -> None:
        """Takes the lines of one logging window; at the end of a round, decides."""
        if not self._is_up_to_date:
            self._replay(before=min(line.key.step_to for line in lines))
        if self._take(lines):
            self._write(self.path)

    def _replay(self, *, before: int) -> None:
        """Decides again what was decided before a step; the file holds that already, or something later."""
        windows: dict[int, list[TelemetryLine]] = {}
        for row in read_rows(self._run_dir / "events.jsonl"):
            line = TelemetryLine.from_record(row.record)
            if line.key.step_to < before:
                windows.setdefault(line.key.step_to, []).append(line)
        for step in sorted(windows):
            self._take(windows[step])
        self._is_up_to_date = True

    def _take(self, lines: Sequence[TelemetryLine]) -> bool:
        """Takes a window; says whether it ended a round and a decision was made."""
        self._pending += lines
        step = max((line.key.step_to for line in lines), default=0)
        if not step or step % self._every:
            return False
        rounds = cells_by_steps(self._pending, every=self._every)
        cells, number = rounds[max(rounds)], step // self._every
        self._lines = self._rule(self._priors, cells, self._lines, settings=self._settings, round_number=number)
        self._pending = []
        return True

    def _write(self, path: Path) -> None:
        write_bytes(path, b"".join(dumps(line.to_record()) + b"\n" for line in self._lines))
