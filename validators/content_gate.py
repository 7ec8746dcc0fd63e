"""Layer 2, the content gate: what a record says, at three depths.

    QUICK     profile rules of assistant turns, order of turns, empty text, notes, ids of calls
    STANDARD  + exact duplicates, lengths, degenerate repetition, encoding damage, secrets, references to files
              outside, answer JSON, balance over tags
    DEEP      + answers leaked into the prompt, prompts against the enforced system prompt, and every skill's verifier

The rules themselves are named in validators/checks.py. Records that hold a plan are re-run by `synth verify`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from frontier_core.profiles import ProfileName
from frontier_core.records import Record
from validators.base import Check, Finding, GateSettings, LevelName, Place
from validators.checks import LEVELS, checks_of, rules_of

AnyCheck = TypeVar("AnyCheck", bound=Check)

VALIDATOR_NAME = "data_validator"
VALIDATOR_VERSION = "1.2.0"


def level_named(name: str) -> LevelName:
    """Gives the level of that name, or raises ConfigError naming the nearest."""
    for level in LEVELS:
        if name.lower() == level:
            return level
    raise ConfigError(f"unknown level {name!r}", hint=did_you_mean(name, LEVELS))


def waits_for_the_file(level: LevelName) -> bool:
    """Says whether a level has rules that may reject a line only after the last one was read."""
    return level == "deep" or any(rule.is_late for rule in rules_of(level))


@dataclass(slots=True)
class Late:
    """What the whole file showed: findings of single lines, and of the file itself."""

    lines: dict[int, list[Finding]] = field(default_factory=dict)
    file: list[Finding] = field(default_factory=list)


class ContentGate:
    """Judges one record after another; what needs the whole file is judged over all it has seen.

    Args:
        level: the depth.
        profile: the profile assistant turns must keep.
        settings: everything, instead of the two above.
    """

    def __init__(
        self,
        level: LevelName = "standard",
        profile: ProfileName = "emoji_think",
        *,
        settings: GateSettings | None = None,
    ) -> None:
        self.settings = settings or GateSettings(level=level, profile=profile)
        self.level = self.settings.level
        self._checks = list(checks_of(self.settings))

    def rule(self, kind: type[AnyCheck]) -> AnyCheck:
        """Gives this gate's rule of that class; its level must have one."""
        return next(check for _, check in self._checks if isinstance(check, kind))

    def check(self, record: Record, spec: str, line: int, path: str = "") -> list[Finding]:
        """Gives what is wrong with one record that passed the schema gate.

        Args:
            record: the record.
            spec: the spec it passed.
            line: its line number, for duplicates to point at.
            path: the file it stands in.
        """
        at = Place(path, line, spec)
        return [finding for _, check in self._checks for finding in check.see(record, at)]

    def finish(self) -> Late:
        """Gives what only the whole file shows; call it once, after the last record."""
        late = Late()
        for _, check in self._checks:
            for line, finding in check.finish():
                (late.lines.setdefault(line, []) if line else late.file).append(finding)
        return late

    def whole_file(self) -> list[Finding]:
        """Gives what is said about the file itself; see `finish`."""
        return self.finish().file

    def facts(self) -> Record:
        """Gives what the rules measured, by rule."""
        return {rule.name: facts for rule, check in self._checks if (facts := check.facts())}
