"""The generator protocol: (seed, index, level) in, one record out, byte for byte the same on every machine."""

from __future__ import annotations

from typing import Protocol

from frontier_core.records import Record


class Generator(Protocol):
    """Makes candidate records of one skill.

    A record is a pure function of (generator_id, generator_version, seed, index, level): all five stand in its
    metadata, and `frontier synth replay` makes it again from them. Bump `generator_version` when any output changes.
    Draw from `frontier_core.seeds.child_random(generator_id, generator_version, seed, level, index)` only.
    """

    skill: str
    generator_id: str
    generator_version: str
    levels: tuple[int, ...]

    def capacity(self, level: int) -> int:
        """Gives a lower bound of how many distinct problems the level has, both splits together."""
        ...

    def sample(self, seed: int, index: int, level: int) -> Record:
        """Makes one record.

        Args:
            seed: the run's seed.
            index: position in the run, from 0.
            level: one of `levels`.
        """
        ...

    def problem(self, record: Record) -> str:
        """Gives the text that makes the problem what it is: equal text, equal problem; decides the held-out split."""
        ...
