"""What a plan's text alone gives away: that it can't fail, does nothing, or only talks.

A plan that hides its errors ends with exit code 0 whatever happened, so that its verdict would mean nothing. Reads
text only; quoted words are data unless they are handed to a shell. Running the plan is execution_gate.py.
Which of these findings count, and how much, is heuristics.py.
LIMIT: no shell parser: constructions built at run time (variables holding `true`) are left to the expectations.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from validators.base import Finding

_QUOTED = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_HEREDOC = re.compile(r"(?<!<)<<-?[ \t]*(['\"]?)(\w+)\1")
_COMMENT = re.compile(r"(?:^|(?<=[\s;]))#[^\n]*")
_SHELL_TEXT = re.compile(r"\b(?:bash|sh|dash|eval|xargs)\b")
_END = r"\s*(?:$|[;&)}\n])"

_TRUE = r"true|:|(?:/usr)?/bin/true"
_SWALLOWS = (
    (re.compile(rf"\|\|\s*(?:{_TRUE}|exit\s+0|return\s+0)" + _END), "`|| true` hides a failure"),
    (re.compile(rf"(?<!\|)\|&?\s*(?:{_TRUE})\s*(?:$|[;&}}\n])"), "`| true` hides a failure"),
    (re.compile(rf"[;\n][^\S\n]*(?:{_TRUE}|exit\s+0)[^\S\n]*;?\s*\Z"), "ends in a command that always succeeds"),
    (re.compile(r"\bset\s+\+[a-z]*e|\bset\s+\+o\s+errexit"), "`set +e` goes on after a failure"),
)
_TRAP = re.compile(r"\btrap\b[^;\n]{0,200}?\bexit\s+0[^;\n]{0,200}?\b(?:EXIT|ERR|0)\b")
_NULL = re.compile(r"(?:2>|&>)>?\s*/dev/null")
_HANDLER = re.compile(r"\|\||\b(?:if|elif|while|until)\b|(?:^|[\s;(])!\s")
_TALK = re.compile(r"^(?:echo|printf)\b(?:\s|$)")


def lint(commands: list[str]) -> list[Finding]:
    """Gives what the text of a plan shows, by the names of heuristics.RULES; `empty_plan` is no rule but an error.

    Args:
        commands: the plan's steps in the order they run.
    """
    bare = [_COMMENT.sub("", _mask(command)).strip() for command in commands]
    if not any(bare):
        return [Finding(code="empty_plan", message="the plan runs no command", pointer="/output")]
    found: list[Finding] = []
    for number, (command, masked) in enumerate(zip(commands, bare, strict=True)):
        found += _lint_step(command, masked, f"/output/{number}/command")
    if all(_is_talk(command, masked) for command, masked in zip(commands, bare, strict=True) if masked):
        message = "the plan only prints fixed text; nothing is done or looked up"
        found.append(Finding(code="narration", message=message, pointer="/output", remedy="do it, don't say it"))
    return found


def handles_failures(command: str) -> bool:
    """Says whether a step has anything (`||`, `if`, `while`, `!`) that can deal with a command that fails."""
    return _HANDLER.search(_COMMENT.sub("", _mask(command))) is not None


def _lint_step(command: str, masked: str, pointer: str) -> list[Finding]:
    # A string given to a shell is program text, so that its quotes hide nothing.
    texts = [masked, _inner(command)] if _SHELL_TEXT.search(masked) else [masked]
    remedy = "let the step fail when it fails"
    for text in texts:
        for pattern, message in _SWALLOWS:
            if pattern.search(text):
                return [Finding(code="swallows_errors", message=message, pointer=pointer, remedy=remedy)]
    if re.search(r"\btrap\b", masked) and _TRAP.search(command):
        message = "a trap turns every end into exit code 0"
        return [Finding(code="trap_exit", message=message, pointer=pointer, remedy=remedy)]
    if _NULL.search(masked):
        message = "error messages go to /dev/null"
        return [Finding(code="hides_errors", message=message, pointer=pointer, severity="warning")]
    return []


def _mask(command: str) -> str:
    """Gives the command with heredoc bodies dropped and quoted text made a run of underscores."""
    return _QUOTED.sub(lambda match: "_" * len(match[0]), _without_heredocs(command))


def _without_heredocs(command: str) -> str:
    """Drops each `<<WORD` with the lines up to WORD; in one pass, because a hostile plan can hold a great many."""
    lines = command.split("\n")
    places: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        places.setdefault(line.strip(), []).append(number)
    kept, number = [], 0
    while number < len(lines):
        line, after, parts = lines[number], 0, []
        for found in _HEREDOC.finditer(line):
            ends = places.get(found[2], [])
            index = bisect_right(ends, number)
            if index < len(ends):
                parts.append(line[after : found.start()])
                after, number = found.end(), ends[index]
        kept.append("".join([*parts, line[after:]]))
        number += 1
    return "\n".join(kept)


def _inner(command: str) -> str:
    return re.sub(r"['\"]", "\n", command)


def _is_talk(command: str, masked: str) -> bool:
    """Says whether a step is echo or printf of fixed words to stdout."""
    if re.search(r"[>|<&]", masked) or re.search(r"\$[\w({]|`", re.sub(r"'[^']*'", "", command)):
        return False
    parts = [part.strip() for part in re.split(r"[;\n]", masked)]
    return all(_TALK.match(part) for part in parts if part)
