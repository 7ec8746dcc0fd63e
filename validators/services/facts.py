"""Facts a reply must state: each is worked out of the results of calls, so that a judge can work it out again.

    {"text": "149.90", "op": "sum", "of": ["call_5f#/items/*/cost_cents"], "form": "money"}

`of` names a call by its id and, by a JSON pointer, places in its result; `*` stands for every item of a list. Ops:
value (all of them, in a list when several), count, sum, min, max, difference (of two), lowest and highest (the item
whose `by` is least or greatest; `get` picks what of it is stated; a tie is no fact). Forms: text, money (cents as
1234.50), time and date (of a local time). A fact of op `said` has no source: words the reply must hold, like a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from validators.services.base import Json

OPS = ("value", "count", "sum", "min", "max", "difference", "lowest", "highest", "said")
FORMS = ("text", "money", "time", "date")


_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SPOKEN_DATE = re.compile(rf"\b(\d{{1,2}}) ({'|'.join(_MONTHS)})\b")
_ISO_DATE = re.compile(r"\b\d{4}(-\d\d-\d\d)(?!\d)")
_CLAIM = re.compile(r"-?[\w@][\w@.+:/,-]*")
_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|.)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)")


class NoFact(ValueError):
    """A fact that the results don't give; says why."""


def fact_text(fact: Json, results: Mapping[str, Any]) -> str:
    """Gives the words of a fact.

    Args:
        fact: `op`, `of`, `form`, and for lowest and highest `by` and `get`.
        results: result per call id.
    Raises:
        NoFact: a source is missing, of the wrong kind, or does not decide.
    """
    values = [value for source in fact["of"] for value in _look_up(source, results)]
    op = fact["op"]
    if op == "count":
        return str(sum(len(value) if isinstance(value, list) else 1 for value in values))
    if op in ("lowest", "highest"):
        values = [_extreme(values, fact["by"], fact["get"], is_lowest=op == "lowest")]
    elif op != "value":
        values = [_number(op, values)]
    if not values:
        raise NoFact("there is nothing to state")
    return ", ".join(_formed(value, fact.get("form", "text")) for value in values)


def claims(text: str) -> set[str]:
    """Gives what a text says with figures or an @: numbers, ids, paths, dates, times, amounts, mail addresses.

    A date in words, `5 March`, is given as `--03-05`, so that it can be compared with one in figures.
    """
    found = {f"--{_MONTHS.index(match[2]) + 1:02}-{int(match[1]):02}" for match in _SPOKEN_DATE.finditer(text)}
    rest = _SPOKEN_DATE.sub(" ", text)
    tokens = {token for match in _CLAIM.finditer(rest) for token in _parts(match[0])}
    return found | {token for token in tokens if "@" in token or any(char.isnumeric() for char in token)}


def backed(text: str) -> set[str]:
    """Gives the claims that a text or JSON is a source for: its own, a moment's two parts, its dates in words."""
    plain = _ESCAPE.sub(" ", text)
    apart = _MOMENT.sub(r" \1 \2 ", plain).replace(",", ", ")
    return claims(plain) | claims(apart) | {f"-{match[1]}" for match in _ISO_DATE.finditer(text)}


def _parts(token: str) -> Iterator[str]:
    # A comma without a space joins what stands in JSON or in a list; between figures it belongs to a number.
    for part in re.split(r"(?<!\d),|,(?!\d)", token):
        yield part.rstrip(".,:/+-")


def unstated(text: str, facts: Iterable[str]) -> str:
    """Gives the first of some facts' words for which a text has no place left; "" when each has one of its own."""
    taken: list[tuple[int, int]] = []
    # The longest choose first: what stands inside another fact's words is no statement of its own.
    for words in sorted(facts, key=len, reverse=True):
        spans = ((at, at + len(words)) for at in _places(text, words))
        free = next((span for span in spans if all(span[1] <= low or span[0] >= high for low, high in taken)), None)
        if free is None:
            return words
        taken.append(free)
    return ""


def states(text: str, words: str) -> bool:
    """Says whether a text holds these words as they are, not as part of a longer word or number."""
    return next(_places(text, words), None) is not None


def _places(text: str, words: str) -> Iterator[int]:
    start = text.find(words)
    while start >= 0:
        before, after = text[max(0, start - 2) : start], text[start + len(words) : start + len(words) + 2]
        if not (_is_joined(before[-1:], before[-2:-1]) or _is_joined(after[:1], after[1:2])):
            yield start
        start = text.find(words, start + 1)


def _is_joined(near: str, far: str) -> bool:
    """Whether the characters beside some words make them part of a longer word or number."""
    return near.isalnum() or near == "_" or (near in (".", ",", ":") and far.isdecimal())


def _look_up(source: str, results: Mapping[str, Any]) -> list[Any]:
    call_id, _, pointer = source.partition("#")
    if call_id not in results:
        raise NoFact(f"there is no result of {call_id}")
    values = [results[call_id]]
    for raw in pointer.split("/")[1:]:
        part = raw.replace("~1", "/").replace("~0", "~")
        values = [inner for value in values for inner in _step(value, part, source)]
    return values


def _step(value: Any, part: str, source: str) -> list[Any]:
    if part == "*" and isinstance(value, list):
        return list(value)
    if isinstance(value, dict) and part in value:
        return [value[part]]
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        return [value[int(part)]]
    raise NoFact(f"{source} leads nowhere")


def _number(op: str, values: list[Any]) -> Any:
    if not values or not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        raise NoFact(f"{op} needs numbers")
    if op == "difference":
        if len(values) != 2:
            raise NoFact("a difference is of two numbers")
        return abs(values[0] - values[1])
    return sum(values) if op == "sum" else min(values) if op == "min" else max(values)


def _extreme(items: list[Any], by: str, get: str, *, is_lowest: bool) -> Any:
    try:
        ranked = sorted(items, key=lambda item: item[by], reverse=not is_lowest)
        if len(ranked) > 1 and ranked[0][by] == ranked[1][by]:
            raise NoFact(f"two items share the {'lowest' if is_lowest else 'highest'} {by}")
        return ranked[0][get]
    except (LookupError, TypeError) as error:
        raise NoFact(f"the items have no {by} to compare by") from error


def _formed(value: Any, form: str) -> str:
    if form == "money":
        if isinstance(value, bool) or not isinstance(value, int):
            raise NoFact("money is a whole number of cents")
        return f"{'-' if value < 0 else ''}{abs(value) // 100}.{abs(value) % 100:02}"
    if form in ("time", "date"):
        day, _, time = str(value).partition("T")
        return (time or day)[:5] if form == "time" else day
    if isinstance(value, (dict, list)) or value is None:
        raise NoFact("an object, a list or null can't be stated")
    return str(value).lower() if isinstance(value, bool) else str(value)
