"""Finds the JSON value in what a model wrote: behind prose, in a fence, with slips that leave no doubt what was meant.

Mended: text around the value, code fences, trailing commas, raw line breaks in strings, closing brackets missing at the
very end. Not mended: anything where content could be missing (a string cut open): half a plan must not pass for one.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from frontier_core.jsonl import loads
from frontier_core.profiles import undress

MAX_STARTS = 20
"""Brackets of prose that may stand before the value."""

_CLOSER = {"{": "}", "[": "]"}
_CONTROL = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def find_json(text: str) -> tuple[Any, bool]:
    """Gives the first JSON object or array of a text, and whether it had to be mended.

    Raises:
        ValueError: there is none, or it is cut off inside; says which.
    """
    text = undress(text).strip()
    try:
        return loads(text), False
    except ValueError:
        pass
    problem = "there is no JSON in the answer"
    for start in islice((place for place, letter in enumerate(text) if letter in _CLOSER), MAX_STARTS):
        try:
            return loads(_mend(text[start:])), True
        except ValueError as error:
            reason = str(error).split(": line", 1)[0]
            problem = problem if start and "cut off" in problem else f"the JSON of the answer can't be read: {reason}"
    raise ValueError(problem)


def _mend(text: str) -> str:
    """Copies one value, character by character, up to its end."""
    out: list[str] = []
    closers: list[str] = []
    in_string = is_escaped = False
    for letter in text:
        if in_string:
            out.append(_CONTROL.get(letter, letter))
            in_string = is_escaped or letter != '"'
            is_escaped = letter == "\\" and not is_escaped
            continue
        if letter in _CLOSER:
            closers.append(_CLOSER[letter])
        elif letter in "}]":
            _drop_comma(out)
            if not closers or closers.pop() != letter:
                raise ValueError("the brackets of the JSON don't match")
        in_string = letter == '"'
        out.append(letter)
        if not closers:
            return "".join(out)
    if in_string:
        raise ValueError("the JSON is cut off inside a text")
    written = "".join(out).rstrip()
    if not written.endswith(("}", "]", '"')):
        raise ValueError("the JSON is cut off")
    return written + "".join(reversed(closers))


def _drop_comma(out: list[str]) -> None:
    place = len(out) - 1
    while place >= 0 and out[place].isspace():
        place -= 1
    if place >= 0 and out[place] == ",":
        del out[place]
