"""What makes exit code 0 suspicious: named rules, each of which can be switched off or made a warning.

A plan that ends with exit code 0 may still have failed: in the middle of a pipe, behind `|| true`, in a process it left
behind. A record whose expectation demands something has a better judge, the end state; beside one the weaker rules are
only warnings. Rules read what a run left behind (or, from plan_lint.py, the plan's text) and run nothing themselves:
execution_gate.py does, a second time under `set -eo pipefail` when a rule asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean
from validators.base import Finding, Severity
from validators.sandbox.contract import Outcome
from validators.sandbox.expectations import demands_something

Json = dict[str, Any]


class Rule(NamedTuple):
    """What a rule notices, and how much it weighs alone and beside an expectation that demands something and holds."""

    meaning: str
    alone: Severity
    beside: Severity


RULES: dict[str, Rule] = {
    "swallows_errors": Rule("the text hides failures: `|| true`, `set +e`, a last `; true`", "error", "error"),
    "trap_exit": Rule("a trap turns every end into exit code 0", "error", "error"),
    "narration": Rule("the plan only prints fixed text", "error", "error"),
    "hides_errors": Rule("error messages go to /dev/null or where nothing reads them", "warning", "warning"),
    "oom_child": Rule("the memory killer took a process, yet the plan ended with 0", "error", "error"),
    "command_not_found": Rule("a command in the middle was not found", "error", "warning"),
    "stderr_complaint": Rule("something complained on stderr (no such file, permission, syntax)", "error", "warning"),
    "state_lost": Rule("a step's shell ended without saying where it stood (exec, own EXIT trap)", "error", "warning"),
    "processes_left": Rule("processes still ran at the end, whose exit codes nobody saw", "error", "warning"),
    "no_effect": Rule("nothing was printed and nothing changed", "error", "warning"),
    "nondeterministic": Rule("a second run ended differently (only with --repeat)", "error", "error"),
}
"""Name -> rule; the names are the codes of findings."""

_NOT_FOUND = re.compile(r"^.*: (\S+): command not found$|^(?:/bin/)?(?:sh|dash): \d+: (\S+): not found$", re.MULTILINE)
_COMPLAINT = re.compile(
    r"^.*(?:No such file or directory|Permission denied|[Ss]yntax error|Is a directory|Not a directory"
    r"|unexpected EOF|(?:invalid|unrecognized|illegal) option|Operation not permitted|Read-only file system"
    r"|here-document at line \d+ delimited by end-of-file).*$",
    re.MULTILINE,
)
# Searching the whole machine meets doors that are closed in the sandbox alone; that is no fault of the plan.
_SANDBOX_DOOR = re.compile(r"[\s'\"\u2018:]/(?!home/user|tmp)[^\s:'\"\u2019]*['\"\u2019]?: Permission denied")
_CONFIRMED_BY_RUNNING = ("command_not_found", "stderr_complaint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which rules are switched off, and which only warn.

    Raises:
        ConfigError: there is no such rule; names the nearest.
    """

    off: frozenset[str] = frozenset()
    warn: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in sorted(self.off | self.warn):
            if name not in RULES:
                raise ConfigError(f"unknown rule {name!r}", hint=did_you_mean(name, sorted(RULES)))

    def apply(self, findings: Iterable[Finding]) -> list[Finding]:
        """Gives the findings without those of rules that are off; those of rules that only warn become warnings."""
        return [
            replace(found, severity="warning") if found.code in self.warn else found
            for found in findings
            if found.code not in self.off
        ]

    def as_json(self) -> Json:
        """Gives the rules as a sidecar or a cache key keeps them."""
        return {"off": sorted(self.off), "warn": sorted(self.warn)}


def notice(outcome: Outcome, expect: Json | None) -> list[Finding]:
    """Gives what is suspicious about a plan that ended as it should by its exit code.

    Args:
        outcome: of status ok; pointers are `/output/N/command` by the order its steps ran in.
        expect: the record's expectation; when it demands something, it held.
    """
    has_demands = demands_something(expect)
    errors = outcome.stderr.get("text") or ""
    found: list[Finding] = []

    def add(code: str, message: str, step: int | None = None, remedy: str = "") -> None:
        rule = RULES[code]
        pointer = "" if step is None else f"/output/{step}/command"
        severity = rule.beside if has_demands else rule.alone
        found.append(Finding(code=code, message=message, pointer=pointer, severity=severity, remedy=remedy))

    if outcome.oom_kills:
        add("oom_child", f"{outcome.oom_kills} processes ran out of memory, yet the exit code is 0")
    if missing := _NOT_FOUND.search(errors):
        name = missing[1] or missing[2]
        step = _step_saying(outcome, missing[0])
        add("command_not_found", f"{name}: command not found, yet the exit code is 0", step, "end when a command fails")
    if complaint := next(_complaints(errors), ""):
        step = _step_saying(outcome, complaint)
        add("stderr_complaint", f"exit code 0 in spite of: {complaint[:200]}", step, "end when a command fails")
    for step, result in enumerate(outcome.steps):
        if result.get("has_state") is False:
            message = "the step's shell ended without saying where it stood; the next step started where this one did"
            add("state_lost", message, step, "run `exec` and `trap ... EXIT` in a subshell or in the last step")
    if outcome.processes_left:
        verb = "process was" if outcome.processes_left == 1 else "processes were"
        add("processes_left", f"{outcome.processes_left} {verb} still running when the plan ended", None, "wait for it")
    if _did_nothing(outcome, expect):
        add("no_effect", "nothing was printed and nothing changed", None, "say in `expect` what the plan achieves")
    return found


def needs_confirmation(findings: Iterable[Finding]) -> bool:
    """Says whether a run under `set -eo pipefail` must tell a swallowed failure from one the plan deals with."""
    return any(found.code in _CONFIRMED_BY_RUNNING and found.severity == "error" for found in findings)


def confirm(findings: Iterable[Finding], strict: Outcome, commands: list[str]) -> list[Finding]:
    """Gives the findings after a run under `set -eo pipefail`.

    A complaint stays an error when that run ends at it, or when nothing in the plan's text could have dealt with it
    (`echo $(missing)`); else the plan deals with the failure (`missing || other`) and it becomes a warning.
    """
    from validators.plan_lint import handles_failures

    errors = strict.stderr.get("text") or ""
    ended = strict.status != "ok"
    is_at_it = {
        "command_not_found": ended and _NOT_FOUND.search(errors) is not None,
        "stderr_complaint": ended and any(_complaints(errors)),
    }
    has_handler = any(handles_failures(command) for command in commands)
    return [
        replace(found, severity="warning")
        if found.code in is_at_it and has_handler and not is_at_it[found.code]
        else found
        for found in findings
    ]


def _complaints(errors: str) -> Iterator[str]:
    return (match[0].strip() for match in _COMPLAINT.finditer(errors) if not _SANDBOX_DOOR.search(match[0]))


def _step_saying(outcome: Outcome, words: str) -> int:
    """Gives the step whose stderr holds these words; the last one when only the whole does."""
    numbers = (number for number, step in enumerate(outcome.steps) if words in str(step.get("stderr", "")))
    return next(numbers, max(0, len(outcome.steps) - 1))


def _did_nothing(outcome: Outcome, expect: Json | None) -> bool:
    is_silent = not outcome.stdout.get("bytes") and not outcome.stderr.get("bytes")
    has_effect = outcome.num_changes or outcome.other_effects or outcome.processes_left
    return is_silent and not has_effect and not demands_something(expect)
