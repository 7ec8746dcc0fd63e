"""Which units each optimizer step is made of: pass after pass over the data, or a weighted stream with a policy.

Either way step i is a function of what the run was told and what lies in its folder, never of what ran before it in
this process, so a resumption draws what an uninterrupted run would have. Layout comes later (trainer/packing.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from frontier_core.atomic import write_bytes
from frontier_core.errors import ConfigError
from frontier_core.stream import BLOCK, Stream, get_stream
from frontier_core.stream_profile import load_profile
from trainer import ranks
from trainer.config import TrainerConfig
from trainer.data import Unit, plan_batches
from trainer.sources import stream_source

WEIGHT_LOG = "weights.jsonl"
"""In the run folder: which weights held from which block of the stream on."""

READ_MARK = "weights.read"
"""In the run folder: the last block whose weights are settled, because a step has reached it."""


DEFAULT_STREAM = "frontier_core_v0"
"""The profile of a run that has a policy but names no stream: every skill and level by its size."""


class Draws(Protocol):
    """The units of a run, step by step."""

    def at(self, step: int) -> list[int]:
        """Gives the places of the units of step `step`, from 0."""

    def fresh(self, step: int) -> set[int]:
        """Gives the places of those units of a step that no step before it had."""


class PassDraws:
    """Every unit once in each pass over the data, each pass in a fresh random order; see `plan_batches`."""

    def __init__(self, num_units: int, batch_size: int, num_steps: int, *, seed: int) -> None:
        self._plan = plan_batches(num_units, batch_size, num_steps, seed=seed)
        self._num_units, self._size = num_units, batch_size

    def at(self, step: int) -> list[int]:
        """Gives the places of the units of a step."""
        return self._plan[step]

    def fresh(self, step: int) -> set[int]:
        """Gives the places of a step's units that belong to the first pass."""
        return set(self._plan[step][: max(0, self._num_units - step * self._size)])


class StreamDraws:
    """Units in the order of a deterministic weighted stream, whose weights follow a policy file while the run goes on.

    A policy takes hold at the next block of the stream that no step has reached. What held where is written to the run
    folder before it is used, and so is how far was read: a resumed run looks for a policy where an undisturbed one
    would, and nowhere else. Of several processes the first follows and the log tells the others. Records that were
    dropped as too long are passed over, so a step may be smaller.

    Args:
        config: the run; read are `stream`, `policy`, `train_files`, `batch_size` and `seed`.
        units: the data set.
        run_dir: keeps the weight log.
        first_step: where this process begins.
    """

    def __init__(self, config: TrainerConfig, units: Sequence[Unit], run_dir: Path, first_step: int) -> None:
        profile = load_profile(config.stream or DEFAULT_STREAM)
        policy = config.policy or (profile.policy if Path(profile.policy).is_file() else "")
        self._places = {unit[0].place: index for index, unit in enumerate(units)}
        self._size = config.batch_size
        self._is_first = ranks.world()[0] == 0
        self._mark = run_dir / READ_MARK

        def open_stream() -> Stream:
            return get_stream(
                replace(profile, policy=""),
                config.batch_size,
                config.seed,
                **stream_source(config.train_files),
                log=run_dir / WEIGHT_LOG,
                policy=policy if policy and self._is_first else None,
            )

        reached = (first_step * self._size - 1) // BLOCK
        self._read = int(self._mark.read_text()) if self._mark.is_file() else reached
        if self._is_first:
            self._stream = open_stream()
        ranks.wait_for_all()
        if not self._is_first:
            self._stream = open_stream()
        self._stream.go_on(first_step * self._size, self._read)

    def at(self, step: int) -> list[int]:
        """Gives the places of the units of a step."""
        start = step * self._size
        self._stream.position = start
        block = self._stream.block_after(self._size)
        if block <= self._read:
            records = self._stream.records(start, start + self._size)
        elif self._is_first:
            records = next(iter(self._stream), [])
            self._read = block
            write_bytes(self._mark, b"%d" % block)
            ranks.wait_for_all()
        else:
            ranks.wait_for_all()
            records = self._stream.records(start, start + self._size)
            self._read = block
        found = [index for index, _ in self._drawn(start, start + len(records))]
        if not found:
            raise ConfigError(f"stream: no record of step {step + 1} can be trained on", hint="raise max_length_tokens")
        return found

    def fresh(self, step: int) -> set[int]:
        """Gives the places of a step's units whose domain is in its first pass."""
        start = step * self._size
        return {index for index, epoch in self._drawn(start, start + self._size) if epoch == 0}

    def _drawn(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yields place and pass of each unit at some positions."""
        for position in range(start, stop):
            try:
                _, epoch, path, line = self._stream.place(position)
            except IndexError:  # behind the end of the data
                return
            index = self._places.get(f"{path}:{line}")
            if index is not None:
                yield index, epoch

    @property
    def notes(self) -> list[str]:
        """Remarks of the stream."""
        return list(self._stream.notes)


def draws_for(config: TrainerConfig, units: Sequence[Unit], run_dir: Path, num_steps: int, first_step: int) -> Draws:
    """Gives the draws a config asks for: a stream when `stream` or `policy` is set, else passes over the data."""
    if config.stream or config.policy:
        return StreamDraws(config, units, run_dir, first_step)
    return PassDraws(len(units), config.batch_size, num_steps, seed=config.seed)
