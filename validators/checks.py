"""The rules of the content gate by level, one line each; a level holds its own rules and those of the levels before it.

A rule is a class derived from validators.base.Check. It is imported when its level is asked for, so a heavy one costs
the other levels nothing. Other distributions add rules through the entry-point group `frontier.checks`, at level deep.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple, get_args

from validators.base import Check, GateSettings, LevelName

LEVELS: tuple[LevelName, ...] = get_args(LevelName)
GROUP = "frontier.checks"


class Rule(NamedTuple):
    """A rule: its name in the report, the first level it belongs to, and where its class is.

    `is_late` says that `finish` may reject single lines: accepted lines are then held back until the file was read.
    """

    name: str
    level: LevelName
    target: str
    is_late: bool = False


RULES: tuple[Rule, ...] = (
    Rule("conversation", "quick", "validators.quick_rules:Conversation"),
    Rule("duplicates", "standard", "validators.standard_rules:Duplicates"),
    Rule("text", "standard", "validators.standard_rules:Text"),
    Rule("lengths", "standard", "validators.standard_rules:Lengths"),
    Rule("answer_json", "standard", "validators.standard_rules:AnswerJson"),
    Rule("balance", "standard", "validators.standard_rules:Balance"),
    Rule("leaks", "deep", "validators.deep_rules:Leaks"),
    Rule("contradictions", "deep", "validators.deep_rules:Contradictions"),
    Rule("answers", "deep", "validators.deep_rules:Answers"),
    Rule("plans", "deep", "validators.deep_rules:Plans", is_late=True),
    Rule("near_duplicates", "deep", "validators.deep_rules:NearDuplicateRecords", is_late=True),
    Rule("contamination", "deep", "validators.deep_rules:Contamination", is_late=True),
)
"""In the order they judge."""


def rules_of(level: LevelName) -> list[Rule]:
    """Gives the rules that a level holds records against, in order."""
    depth = LEVELS.index(level)
    return [rule for rule in RULES if LEVELS.index(rule.level) <= depth]


def checks_of(settings: GateSettings) -> Iterator[tuple[Rule, Check]]:
    """Yields each rule of the level with a fresh check made from `settings`."""
    for rule in rules_of(settings.level):
        module, _, attribute = rule.target.partition(":")
        yield rule, getattr(import_module(module), attribute)(settings)
    if settings.level == "deep":
        from importlib.metadata import entry_points  # slow to import

        for point in sorted(entry_points(group=GROUP)):
            yield Rule(point.name, "deep", point.value, is_late=True), point.load()(settings)
