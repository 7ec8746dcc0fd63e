"""Recognising good lines without parsing them.

A chat line as one writer puts it (fixed order of keys, fixed spacing, flat metadata) is a word of a regular language,
and so are QUICK's rules about it: roles in turn, text that is not blank, the prefix of the answers, no `think>`, types
of the metadata. Two automata of Hyperscan run over blocks of lines at a third of the cost of parsing: the *signs* find
what spoils a line wherever it stands (control characters, bytes that are no UTF-8, escapes whose meaning takes
thought), the *form* reports the end of each good line up to the first that is not, and of what is counted in it.

The law: what is recognised is what the slow path has nothing to say of (tests/validators/test_regular_lines.py), so
JSON Schema stays normative. The reverse does not hold: a line not recognised goes to the fast path, then to the slow
one. What lines look like is learnt from some that passed there; keys, words and layouts never seen are not recognised.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any, NamedTuple

import orjson

from frontier_core.lineage import Tally, generator_of
from frontier_core.profiles import EMOJI_PREFIX, ProfileName
from frontier_core.records import Record, tag_of

SPEC = "chat_sft_v1"
PROFILES: tuple[ProfileName, ...] = ("emoji_think", "plain")
MAX_LAYOUTS = 2
"""Three of them can make an automaton that takes seconds to build."""
MAX_SEEN = 64
MAX_KEYS = 24
MIN_SHARE = 0.75
"""Of the lines learnt from, so many must be recognised; else recognising is not worth it."""

_COUNTED = ("skill", "level", "source", "generator_id", "lineage")
_INTEGERS = ("level", "seed", "length_hint")
_NEVER = ("notes", "index")
"""Known keys with bounds that no short expression tells."""

# Short ones: up to 256 states an automaton skips over text many bytes at a time. What they leave open is _SPOILING's.
_INTEGER = r"(?:0|-?[1-9]\d*)"
_STRING = r'"[^"\x00-\x1f]*"'
_KINDS = {
    str: _STRING,
    int: _INTEGER,
    float: _INTEGER + r"(?:\.\d+)?(?:[eE][-+]?\d\d?)?",
    bool: "(?:true|false)",
    type(None): "null",
}
_LEVEL = r"(?:0|[1-9]\d*)"
_BLANK = r"(?:[ ]|\\[bfnrt/]|\xc2[\x80-\xa0]|\xe1\x9a[\x80-\xbf]|\xe2[\x80-\x81][\x80-\xbf]|\xe3\x80[\x80-\xbf])*"
"""All of white space (str.isspace), and what begins like it."""
_SPOILING = (
    "think>",
    r"\d{19}",  # orjson alone reads no longer ones exactly
    r"[\x00-\x09\x0b-\x1f\xc0\xc1\xf5-\xff]",
    r'\\[^bfnrt/"\\]',
    r"[\x00-\x7f][\x80-\xbf]",
    r"[\xc2-\xf4][^\x80-\xbf]",
    r"[\xc2-\xdf][\x80-\xbf][\x80-\xbf]",
    r"\xe0[^\xa0-\xbf]|\xed[^\x80-\x9f]|\xf0[^\x90-\xbf]|\xf4[^\x80-\x8f]",
    r"[\xe0-\xf4][\x80-\xbf][^\x80-\xbf]",
    r"[\xe0-\xef][\x80-\xbf][\x80-\xbf][\x80-\xbf]",
    r"[\xf0-\xf4][\x80-\xbf][\x80-\xbf][^\x80-\xbf]",
    r"[\xf0-\xf4][\x80-\xbf][\x80-\xbf][\x80-\xbf][\x80-\xbf]",
)
"""Control characters, escapes that may spell anything, all that is no UTF-8 (Unicode 16.0, table 3-7)."""


class Layout(NamedTuple):
    """How a writer puts a line: with spaces or without, which key first, the metadata in which order."""

    is_spaced: bool
    are_turns_first: bool
    keys: tuple[str, ...]


class Automaton:
    """Expressions matched all at once; each puts the places where it ends into a list of its own."""

    def __init__(self, expressions: list[tuple[str, list[int]]], *, finds_first: frozenset[int] = frozenset()) -> None:
        import hyperscan

        flags = [
            hyperscan.HS_FLAG_DOTALL | (hyperscan.HS_FLAG_SINGLEMATCH if number in finds_first else 0)
            for number in range(len(expressions))
        ]
        self._database: Any = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[text.encode() for text, _ in expressions],
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=flags,
        )
        adders = [places.append for _, places in expressions]

        def found(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            adders[number](end)

        self._found = found

    def scan(self, data: bytes) -> None:
        """Reports all matches in `data`."""
        self._database.scan(data, match_event_handler=self._found)


class RegularLines:
    """Recognises the good lines of a file and counts them. Raises ImportError where Hyperscan is not installed.

    Args:
        profile: one of PROFILES.
        is_guessed: the spec was read off the shape, so a chat of skill `syllo` is of another spec.
    """

    def __init__(self, profile: ProfileName, *, is_guessed: bool) -> None:
        import hyperscan  # noqa: F401

        self.profile = profile
        self._is_guessed = is_guessed
        self._seen: dict[Layout, _Seen] = {}
        self._layouts: list[_Counts] = []
        self._tally = Tally()
        self._spoilt: list[int] = []
        self._escapes: list[int] = []

    def learn(self, lines: list[bytes]) -> bool:
        """Learns from lines that passed; says whether most of them are recognised from now on."""
        for line in lines:
            record = orjson.loads(line)
            layout = _layout_of(line, record)
            if layout in self._seen or len(self._seen) < MAX_SEEN:
                self._seen.setdefault(layout, _Seen()).take(record["metadata"])
        known = sorted(self._seen.items(), key=lambda item: -item[1].num_lines)
        regular = [(layout, seen) for layout, seen in known if seen.is_regular()][:MAX_LAYOUTS]
        if sum(seen.num_lines for _, seen in regular) < MIN_SHARE * sum(seen.num_lines for _, seen in known):
            return False
        self._settle()
        self._layouts = [_Counts(layout, seen.kinds) for layout, seen in regular]
        any_line = "|".join(["".join(counts.pieces) for counts in self._layouts])
        expressions = [item for counts in self._layouts for item in counts.expressions(f"^(?:(?:{any_line})\\n)*")]
        self._form = Automaton(expressions)
        writers = {layout.is_spaced for layout, _ in regular}
        spoiling = [*_SPOILING, *(text for is_spaced in writers for text in self._spoiling(is_spaced))]
        signs = [(f"(?:{'|'.join(spoiling)})", self._spoilt), (r'\\["\\]', self._escapes)]
        self._signs = Automaton(signs, finds_first=frozenset({1}))
        missed = self.sift(b"".join([line.rstrip(b"\r\n") + b"\n" for line in lines]))
        for counts in self._layouts:
            counts.found.clear()
        return len(missed) <= (1 - MIN_SHARE) * len(lines)

    def _spoiling(self, is_spaced: bool) -> list[str]:
        """Gives what spoils a chat in one spacing: blank turns, answers without the prefix, a skill that is no chat."""
        colon, comma = _separators(is_spaced)
        found = [f'"content"{colon}"{_BLANK}"']
        if self.profile == "emoji_think":
            prefix = orjson.dumps(EMOJI_PREFIX)[1:-1]
            found.append(f'"assistant"{comma}"content"{colon}"{_anything_but(prefix)}')
        return [*found, f'"skill"{colon}"syllo"'] if self._is_guessed else found

    def sift(self, block: bytes) -> list[tuple[int, int]]:
        """Counts the good lines of a block of whole lines; gives the others as places in it, [start, end)."""
        gaps: list[tuple[int, int]] = []
        text, spoilt = self._without_escapes(block)
        start = 0
        for first, last in spoilt:
            self._recognise(text, block, start, first, gaps)
            gaps.append((first, last))
            start = last
        self._recognise(text, block, start, len(block), gaps)
        return gaps

    def tally(self, into: Tally) -> None:
        """Adds what was counted to a tally."""
        self._settle()
        for theirs, mine in zip(into.counters(), self._tally.counters(), strict=True):
            theirs.update(mine)

    def _without_escapes(self, block: bytes) -> tuple[bytes, list[tuple[int, int]]]:
        """Gives the block with each escaped quote or backslash put as `__`, and its spoilt lines."""
        self._signs.scan(block)
        if self._escapes:
            block = block.replace(b"\\\\", b"__").replace(b'\\"', b"__")
            self._spoilt.clear()
            self._signs.scan(block)
            self._escapes.clear()
        lines: list[tuple[int, int]] = []
        for place in self._spoilt:
            if not lines or place > lines[-1][1]:
                end = block.find(b"\n", place - 1) + 1
                lines.append((block.rfind(b"\n", 0, place - 1) + 1, end or len(block)))
        self._spoilt.clear()
        return block, lines

    def _recognise(self, text: bytes, block: bytes, start: int, stop: int, gaps: list[tuple[int, int]]) -> None:
        while start < stop:
            rest = text[start:stop]
            self._form.scan(rest)
            raw = rest if text is block else block[start:stop]
            start += max([counts.take(raw) for counts in self._layouts])
            if start < stop:
                end = block.find(b"\n", start, stop) + 1 or stop
                gaps.append((start, end))
                start = end

    def _settle(self) -> None:
        for counts in self._layouts:
            counts.tally(self._tally)


class _Seen:
    """What types the values of one layout's metadata had."""

    def __init__(self) -> None:
        self.num_lines = 0
        self.kinds: dict[str, set[type]] = {}

    def take(self, metadata: Record) -> None:
        """Takes in the metadata of a line."""
        self.num_lines += 1
        for key, value in metadata.items():
            self.kinds.setdefault(key, set()).add(type(value))

    def is_regular(self) -> bool:
        """Says whether an expression can tell such metadata."""
        for key, kinds in self.kinds.items():
            if key in _NEVER or (key in _INTEGERS and kinds != {int}):
                return False
            if key != "lineage" and not kinds <= _KINDS.keys():
                return False
        return len(self.kinds) <= MAX_KEYS


class _Counts:
    """The form of one layout, and what was counted of its lines.

    `pieces` are the expression of a line, cut behind each run of neighbouring keys whose values are counted.
    """

    def __init__(self, layout: Layout, kinds: dict[str, set[type]]) -> None:
        self.found: Counter[Any] = Counter()
        self._ends: list[int] = []
        self._marks: list[list[int]] = []
        self._openings: list[bytes] = []
        colon, comma = _separators(layout.is_spaced)
        turns = _turns(colon, comma)
        self.pieces = [r"\{" + (turns + comma if layout.are_turns_first else "") + rf'"metadata"{colon}\{{']
        counted = {*_COUNTED, "generator_version"} if "generator_id" in kinds else {*_COUNTED}
        was_counted = False
        for number, key in enumerate(layout.keys):
            name, separator = orjson.dumps(key).decode() + colon, comma if number else ""
            if was_counted and key not in counted:
                self.pieces[-1] += separator[0]
                self.pieces.append("")
                separator = separator[1:]
            elif key in counted and not was_counted:
                self._openings.append(name.encode())
                self._marks.append([])
            self.pieces[-1] += separator + _literal(name.encode()) + _value(key, kinds[key], comma)
            was_counted = key in counted
        self.pieces[-1] += r"\}"
        if was_counted:
            self.pieces.append("")
        self.pieces[-1] += ("" if layout.are_turns_first else comma + turns) + r"\}"

    def expressions(self, before: str) -> list[tuple[str, list[int]]]:
        """Gives the expressions of a line and of its runs, behind any good lines, with where they report."""
        ends = [(f"{before}{''.join(self.pieces)}\\n", self._ends)]
        cuts = range(1, len(self._marks) + 1)
        return ends + [(before + "".join(self.pieces[:cut]), self._marks[cut - 1]) for cut in cuts]

    def take(self, block: bytes) -> int:
        """Counts the lines that were reported in a block; gives where the last ended, 0 for none."""
        ends, runs = self._ends, []
        for opening, marks in zip(self._openings, self._marks, strict=True):
            if len(marks) != len(ends):  # of lines that are not good further on, or of another layout
                marks[:] = [marks[bisect_left(marks, end) - 1] for end in ends]
            runs.append([block[block.rfind(opening, 0, mark) : mark - 1] for mark in marks])
            marks.clear()
        self.found.update(runs[0] if len(runs) == 1 else zip(*runs, strict=True))
        last = ends[-1] if ends else 0
        ends.clear()
        return last

    def tally(self, into: Tally) -> None:
        """Moves the counts to a tally."""
        for runs, count in self.found.items():
            metadata = orjson.loads(b"{%b}" % (runs if isinstance(runs, bytes) else b",".join(runs)))
            into.tags[tag_of(metadata)] += count
            into.specs[SPEC] += count
            into.passed[generator_of(metadata)] += count
            for mark in metadata.get("lineage", ()):
                into.marks[mark] += count
        self.found.clear()


def _layout_of(line: bytes, record: Record) -> Layout:
    is_spaced = line.startswith((b'{"messages": ', b'{"metadata": '))
    return Layout(is_spaced, next(iter(record)) == "messages", tuple(record["metadata"]))


def _separators(is_spaced: bool) -> tuple[str, str]:
    return (": ", ", ") if is_spaced else (":", ",")


def _turns(colon: str, comma: str) -> str:
    def turn(role: str) -> str:
        return rf'\{{"role"{colon}"{role}"{comma}"content"{colon}{_STRING}\}}'

    pair = turn("user") + comma + turn("assistant")
    return rf'"messages"{colon}\[(?:{turn("system")}{comma})?{pair}(?:{comma}{pair})*\]'


def _value(key: str, kinds: set[type], comma: str) -> str:
    if key == "level":
        return _LEVEL
    if key == "skill":
        return _STRING.replace("*", "+")
    if key == "lineage":
        return rf"\[(?:{_STRING}(?:{comma}{_STRING})*)?\]"
    return f"(?:{'|'.join(sorted(_KINDS[kind] for kind in kinds))})"


def _anything_but(text: bytes) -> str:
    """Gives an expression of the shortest bytes that show that not `text` stands here."""
    first = _literal(text[:1])
    return f"(?:[^{first}]|{first}{_anything_but(text[1:])})" if text[1:] else f"[^{first}]"


def _literal(text: bytes) -> str:
    return "".join([rf"\x{byte:02x}" for byte in text])
