"""What a plan's text alone gives away: that it can't fail, does nothing, or only talks.

A plan that hides its errors ends with exit code 0 whatever happened, so that its verdict would mean nothing. Reads
text only; quoted words are data unless they are handed to a shell. What counts as talk is narration.py; running the
plan is execution_gate.py.
Which of these findings count, and how much, is heuristics.py.
LIMIT: no shell parser: constructions built at run time (variables holding `true`) are left to the expectations.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter

from validators.base import Finding
from validators.narration import is_narration

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
_NULL = re.compile(r"(?:2>|&>)>?\s*/dev/null|(?<![\d&])1?>>?[ \t]*+/dev/null[ \t]++2>&1|>&[ \t]*+/dev/null")
_CLOSED = re.compile(r"2>&-")
_JOINED = re.compile(r"2>&1[ \t]*+\||\|&")
_JOINED_ANYWHERE = re.compile(r"2>&1|\|&")
_OUT_NULL = re.compile(r"\|[^|]*(?<![\d&])1?>>?[ \t]*+/dev/null")
_CAPTURE = re.compile(r"(?<![\w$])([A-Za-z_]\w*)=\"?(?:\$\(([^()]*)\)|`([^`]*)`)")
_USE = re.compile(r"\$\{?[#!]?([A-Za-z_]\w*)")
_ARITHMETIC = re.compile(r"\(\(([^()]*)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_ERROR_FILE = re.compile(r"(?<![^\s;&|()])2>[>|]?[ \t]*+([^\s;&|()<>]+)")
_FILE_NAME = re.compile(r"[^\s;&|()<>'\"`=/{}]+")
_HANDLER = re.compile(r"\|\||\b(?:if|elif|while|until)\b|(?:^|[\s;(])!\s")


def lint(commands: list[str]) -> list[Finding]:
    """Gives what the text of a plan shows, by the names of heuristics.RULES; `empty_plan` is no rule but an error.

    Args:
        commands: the plan's steps in the order they run.
    """
    bare = [_COMMENT.sub("", _mask(command)).strip() for command in commands]
    if not any(bare):
        return [Finding(code="empty_plan", message="the plan runs no command", pointer="/output")]
    found: list[Finding] = []
    readers = _Readers(commands)
    for number, (command, masked) in enumerate(zip(commands, bare, strict=True)):
        pointer = f"/output/{number}/command"
        if judged := _lint_step(command, masked, pointer):
            found.append(judged)
        elif message := _hiding(command, readers):
            found.append(Finding(code="hides_errors", message=message, pointer=pointer, severity="warning"))
    if is_narration(commands):
        message = "the plan only prints fixed text; nothing is done or looked up"
        found.append(Finding(code="narration", message=message, pointer="/output", remedy="do it, don't say it"))
    return found


def handles_failures(command: str) -> bool:
    """Says whether a step has anything (`||`, `if`, `while`, `!`) that can deal with a command that fails."""
    return _HANDLER.search(_COMMENT.sub("", _mask(command))) is not None


def _lint_step(command: str, masked: str, pointer: str) -> Finding | None:
    # A string given to a shell is program text, so that its quotes hide nothing.
    texts = [masked, _inner(command)] if _SHELL_TEXT.search(masked) else [masked]
    remedy = "let the step fail when it fails"
    for text in texts:
        for pattern, message in _SWALLOWS:
            if pattern.search(text):
                return Finding(code="swallows_errors", message=message, pointer=pointer, remedy=remedy)
    if re.search(r"\btrap\b", masked) and _TRAP.search(command):
        message = "a trap turns every end into exit code 0"
        return Finding(code="trap_exit", message=message, pointer=pointer, remedy=remedy)
    return None


class _Readers:
    """What a plan reads again: the variables it uses, and how often it names each file beyond sending errors to it."""

    def __init__(self, commands: list[str]) -> None:
        text = "\n".join(commands)
        self.variables = set(_USE.findall(text))
        for arithmetic in _ARITHMETIC.findall(text):
            self.variables.update(_NAME.findall(arithmetic))
        names = _FILE_NAME.findall(text)
        self.files = Counter(names)
        self.kinds = {name.rpartition("*")[2] for name in names if "*" in name}
        for command in commands:
            for name in _error_files(command):
                self.files[name] -= 1

    def has_file(self, name: str) -> bool:
        """Says whether a file is named again, or stands under a pattern such as `*.err`."""
        return self.files[name] > 0 or name[name.rfind(".") :] in self.kinds


def _hiding(command: str, readers: _Readers) -> str:
    """Says where a step's error messages go that nobody sees; "" when they can be seen."""
    plain = _without_heredocs(command)
    masked = _COMMENT.sub(lambda match: " " * len(match[0]), _cover(plain))
    if _NULL.search(masked):
        return "error messages go to /dev/null"
    if _CLOSED.search(masked):
        return "`2>&-` throws error messages away"
    if any(_JOINED.search(part) and _OUT_NULL.search(part) for part in re.split(r"[;\n]|&&|\|\|", masked)):
        return "error messages go through a pipe to /dev/null"
    for name, inner, quoted in _CAPTURE.findall(plain):
        if _JOINED_ANYWHERE.search(inner or quoted) and name not in readers.variables:
            return f"error messages end in ${name}, which nothing reads"
    for name in _error_files(command):
        if not readers.has_file(name):
            return f"error messages go to {name[:100]}, which nothing reads"
    return ""


def _error_files(command: str) -> list[str]:
    """Gives the names, without folders, of the files that a step sends its error messages to."""
    plain = _without_heredocs(command)
    masked = _COMMENT.sub(lambda match: " " * len(match[0]), _cover(plain))
    targets = [plain[found.start(1) : found.end(1)] for found in _ERROR_FILE.finditer(masked)]
    return [_FILE_NAME.findall(target)[-1] for target in targets if _FILE_NAME.search(target) and "/dev/" not in target]


def _mask(command: str) -> str:
    """Gives the command with heredoc bodies dropped and quoted text made a run of underscores."""
    return _cover(_without_heredocs(command))


def _cover(text: str) -> str:
    return _QUOTED.sub(lambda match: "_" * len(match[0]), text)


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
