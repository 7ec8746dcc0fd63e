"""Filters over metadata: `skill=binary AND level>=3`, a small language with no way out of it.

    skill = binary                equal; a list is equal to each of its elements
    level >= 3                    < <= > >= compare numbers with numbers and texts with texts
    domain IN (web, code)         one of several
    scenario ~ 'api_*'            shell pattern: * ? [abc]
    safety_tags                   there is such a key, and its value is neither null, false, 0 nor empty
    NOT (...)   AND   OR          NOT binds closest, then AND

Words with other signs than letters, digits and _ . - / : + stand in quotes. A record without the key fails every
comparison, so `NOT source_license = MIT` holds for it, as `source_license != MIT` does. `bytes` is the length of the
record's line.
Values are compared with what stands in `metadata`; `a.b` reaches into objects when no key is called so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from frontier_core.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from frontier_core.index import Columns

BYTES = "bytes"
MAX_DEPTH = 64
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<sign>>=|<=|!=|==|=|<|>|~|\(|\)|,)"
    r"|(?P<word>[\w./:+-]+))"
)
_WORDS = {"and", "or", "not", "in"}
_MISSING = object()
Fetch = Callable[[Any], list[dict[str, Any]]]
"""Rows (an array of numbers) -> their metadata, for keys that have no column."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison: key, sign (= != < <= > >= ~ in has) and what it is compared with."""

    key: str
    sign: str
    operand: Any

    def holds(self, value: Any) -> bool:
        """Says whether a value (`_MISSING` for none) satisfies the comparison."""
        if self.sign == "!=":
            return not Leaf(self.key, "=", self.operand).holds(value)
        if value is _MISSING:
            return False
        if isinstance(value, list) and self.sign in ("=", "in", "~"):
            return any(self.holds(item) for item in value)
        if self.sign == "has":
            return bool(value)
        if self.sign == "in":
            return any(_equal(value, item) for item in self.operand)
        if self.sign == "~":
            return isinstance(value, str) and self.operand.match(value) is not None
        if self.sign == "=":
            return _equal(value, self.operand)
        return _ordered(value, self.sign, self.operand)


@dataclass(frozen=True, slots=True)
class Branch:
    """`and`, `or` or `not` over other nodes."""

    word: str
    parts: tuple[Leaf | Branch, ...]


class Where:
    """A parsed filter.

    Args:
        text: the filter; an empty one lets everything pass.
    Raises:
        ConfigError: it can't be read; says where.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text
        self._root = _Parser(text).parse() if text.strip() else None

    def keys(self) -> set[str]:
        """Gives the keys that are asked about."""
        return set(_keys(self._root)) if self._root is not None else set()

    def matches(self, metadata: dict[str, Any], num_bytes: int = 0) -> bool:
        """Says whether one record's metadata passes."""
        return self._root is None or _matches(self._root, metadata, num_bytes)

    def mask(self, columns: Columns, lengths: NDArray[Any], fetch: Fetch) -> NDArray[Any] | None:
        """Gives which records of a file pass, as a boolean array; None when all do.

        Args:
            columns: the file's metadata; each distinct value is looked at once.
            lengths: bytes of each line.
            fetch: asked for the metadata of records when a key has too many values to be in the columns.
        """
        if self._root is None:
            return None
        return _Masks(columns, lengths, fetch).of(self._root)


class _Masks:
    def __init__(self, columns: Columns, lengths: NDArray[Any], fetch: Fetch) -> None:
        self.columns, self.lengths, self.fetch = columns, lengths, fetch

    def of(self, node: Leaf | Branch) -> NDArray[Any]:

        if isinstance(node, Leaf):
            return self._leaf(node)
        found = self.of(node.parts[0])
        if node.word == "not":
            return ~found
        for part in node.parts[1:]:
            # The other side need not be looked at where one side decides: it may have to be read from the records.
            undecided = found if node.word == "and" else ~found
            if undecided.any():
                other = self.of(part)
                found = found & other if node.word == "and" else found | other
        return found

    def _leaf(self, leaf: Leaf) -> NDArray[Any]:
        import numpy as np

        num, column = self.columns.num, self.columns.columns.get(leaf.key)
        if column is not None:
            table = np.array([*(leaf.holds(value) for value in column.values), leaf.holds(_MISSING)], bool)
            found: NDArray[Any] = table[column.codes]  # code -1, a missing key, takes the last
            return found
        if leaf.key == BYTES and BYTES not in self.columns.wide:
            sizes, place = np.unique(self.lengths, return_inverse=True)
            by_size: NDArray[Any] = np.array([leaf.holds(size) for size in sizes.tolist()], bool)[place]
            return by_size
        root = leaf.key.split(".", 1)[0]
        if leaf.key in self.columns.wide or (root != leaf.key and self._has(root)):
            rows = self.fetch(np.arange(num))
            return np.fromiter((leaf.holds(_value(row, leaf.key)) for row in rows), bool, num)
        return np.full(num, leaf.holds(_MISSING))

    def _has(self, key: str) -> bool:
        return key in self.columns.columns or key in self.columns.wide


def _keys(node: Leaf | Branch) -> list[str]:
    return [node.key] if isinstance(node, Leaf) else [key for part in node.parts for key in _keys(part)]


def _matches(node: Leaf | Branch, metadata: dict[str, Any], num_bytes: int) -> bool:
    if isinstance(node, Leaf):
        value = num_bytes if node.key == BYTES and BYTES not in metadata else _value(metadata, node.key)
        return node.holds(value)
    if node.word == "not":
        return not _matches(node.parts[0], metadata, num_bytes)
    results = (_matches(part, metadata, num_bytes) for part in node.parts)
    return all(results) if node.word == "and" else any(results)


def _value(metadata: dict[str, Any], key: str) -> Any:
    if key in metadata:
        return metadata[key]
    value: Any = metadata
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _equal(value: Any, operand: Any) -> bool:
    """Texts equal texts, numbers equal numbers, and a number written in the filter also equals the text it is."""
    if isinstance(operand, _Word):
        if isinstance(value, str):
            return value == operand.text
        if isinstance(value, bool) or value is None:
            return operand.text == {True: "true", False: "false", None: "null"}[value]
        return isinstance(value, (int, float)) and operand.number == value
    return isinstance(value, str) and value == operand


def _ordered(value: Any, sign: str, operand: Any) -> bool:
    if isinstance(value, bool):
        return False
    other: Any = operand
    if isinstance(operand, _Word):
        other = operand.text if isinstance(value, str) and operand.number is None else operand.number
    if isinstance(value, (int, float)) != isinstance(other, (int, float)) or not isinstance(value, (int, float, str)):
        return False
    if other is None:
        return False
    left: Any = value
    return bool({"<": left < other, "<=": left <= other, ">": left > other, ">=": left >= other}[sign])


@dataclass(frozen=True, slots=True)
class _Word:
    """A value without quotes: its text, and the number it is, if it is one."""

    text: str
    number: int | float | None


def _word(text: str) -> _Word:
    number: int | float | None = None
    try:
        number = int(text)
    except ValueError:
        try:
            number = float(text) if text[:1] in "0123456789.-+" else None
        except ValueError:
            number = None
    return _Word(text, number)


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise self._error("can't be read", place)
            self.tokens.append((found.lastgroup, found.group(found.lastgroup), found.start(found.lastgroup)))
            place = found.end()
        self.next = 0

    def parse(self) -> Leaf | Branch:
        node = self._either(0)
        if self.next < len(self.tokens):
            raise self._error("AND or OR is missing", self.tokens[self.next][2])
        return node

    def _error(self, message: str, place: int) -> ConfigError:
        rest = self.text[place : place + 20].strip() or "the end"
        hint = "like: skill=binary AND level>=3, domain IN (web, code), NOT source_license ~ 'GPL*'"
        return ConfigError(f"filter {self.text!r}: {message} at {rest!r}", hint=hint)

    def _peek(self) -> tuple[str, str, int]:
        return self.tokens[self.next] if self.next < len(self.tokens) else ("end", "", len(self.text))

    def _is_word(self, word: str) -> bool:
        kind, text, _ = self._peek()
        return kind == "word" and text.lower() == word

    def _either(self, depth: int) -> Leaf | Branch:
        return self._series("or", lambda: self._series("and", lambda: self._one(depth)))

    def _series(self, word: str, read: Callable[[], Leaf | Branch]) -> Leaf | Branch:
        parts = [read()]
        while self._is_word(word):
            self.next += 1
            parts.append(read())
        return parts[0] if len(parts) == 1 else Branch(word, tuple(parts))

    def _one(self, depth: int) -> Leaf | Branch:
        kind, text, place = self._peek()
        if depth > MAX_DEPTH:
            raise self._error("nested too deep", place)
        if self._is_word("not"):
            self.next += 1
            return Branch("not", (self._one(depth + 1),))
        if (kind, text) == ("sign", "("):
            self.next += 1
            node = self._either(depth + 1)
            self._expect(")")
            return node
        if kind == "end" or kind == "sign" or (kind == "word" and text.lower() in _WORDS):
            raise self._error("a key is missing", place)
        self.next += 1
        return self._comparison(_unquoted(text) if kind == "text" else text)

    def _comparison(self, key: str) -> Leaf | Branch:
        kind, sign, _ = self._peek()
        if self._is_word("in"):
            self.next += 1
            return Leaf(key, "in", self._list())
        if self._is_word("not"):
            self.next += 1
            if not self._is_word("in"):
                raise self._error("IN is missing after NOT", self._peek()[2])
            self.next += 1
            return Branch("not", (Leaf(key, "in", self._list()),))
        if kind == "sign" and sign not in "(),":
            self.next += 1
            operand = self._operand()
            if sign == "~":
                pattern = operand.text if isinstance(operand, _Word) else operand
                return Leaf(key, "~", re.compile(translate(pattern)))
            return Leaf(key, "=" if sign == "==" else sign, operand)
        return Leaf(key, "has", None)

    def _operand(self) -> Any:
        kind, text, place = self._peek()
        if kind not in ("text", "word") or (kind == "word" and text.lower() in _WORDS):
            raise self._error("a value is missing", place)
        self.next += 1
        return _unquoted(text) if kind == "text" else _word(text)

    def _list(self) -> tuple[Any, ...]:
        self._expect("(")
        found = [self._operand()]
        while self._peek()[1] == ",":
            self.next += 1
            found.append(self._operand())
        self._expect(")")
        return tuple(found)

    def _expect(self, sign: str) -> None:
        kind, text, place = self._peek()
        if (kind, text) != ("sign", sign):
            raise self._error(f"{sign} is missing", place)
        self.next += 1


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])
