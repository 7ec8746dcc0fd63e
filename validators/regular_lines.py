"""Recognising good lines without parsing them.

A chat line as one writer puts it (fixed order of keys, fixed spacing, flat metadata) is a word of a regular language,
and so are QUICK's rules about it: roles in turn, text that is not blank, the prefix of the answers, no `think>`, types
of the metadata. Two automata of Hyperscan run over blocks of lines at a third of the cost of parsing: the *signs* find
what spoils a line wherever it stands (control characters, bytes that are no UTF-8, escapes whose meaning takes
thought), the *form* reports the end of each good line up to the first that is not.

The law: what is recognised is what the slow path has nothing to say of (tests/validators/test_regular_lines.py), so
JSON Schema stays normative. The reverse does not hold: a line not recognised goes to the fast path, then to the slow
one. What lines look like is learnt from some that passed there; keys, words and layouts never seen are not recognised.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
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


@dataclass(slots=True)
class Sifting:
    """What became of a block: how many lines it has, and those not recognised as (start, end, number from 0)."""

    gaps: list[tuple[int, int, int]]
    num_lines: int

    def add(self, start: int, end: int) -> None:
        """Adds the next line as one not recognised."""
        self.gaps.append((start, end, self.num_lines))
        self.num_lines += 1


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
            if "messages" not in record:
                continue
            layout = _layout_of(line, record)
            if layout in self._seen or len(self._seen) < MAX_SEEN:
                self._seen.setdefault(layout, _Seen()).take(record["metadata"])
        known = sorted(self._seen.items(), key=lambda item: -item[1].num_lines)
        regular = [(layout, seen) for layout, seen in known if seen.is_regular()][:MAX_LAYOUTS]
        most = MIN_SHARE * sum(seen.num_lines for _, seen in known)
        if not regular or sum(seen.num_lines for _, seen in regular) < most:
            return False
        self._settle()
        self._layouts = [_Counts(layout, seen.kinds) for layout, seen in regular]
        any_line = "|".join([counts.form for counts in self._layouts])
        self._form = Automaton([(f"^(?:{any_line})*{counts.form}", counts.ends) for counts in self._layouts])
        writers = {layout.is_spaced for layout, _ in regular}
        spoiling = [*_SPOILING, *(text for is_spaced in writers for text in self._spoiling(is_spaced))]
        signs = [(f"(?:{'|'.join(spoiling)})", self._spoilt), (r'\\["\\]', self._escapes)]
        self._signs = Automaton(signs, finds_first=frozenset({1}))
        missed = self.sift(b"".join([line.rstrip(b"\r\n") + b"\n" for line in lines]))
        for counts in self._layouts:
            counts.found.clear()
        return len(missed.gaps) <= (1 - MIN_SHARE) * len(lines)

    def _spoiling(self, is_spaced: bool) -> list[str]:
        """Gives what spoils a chat in one spacing: blank turns, answers without the prefix, a skill that is no chat."""
        colon, comma = _separators(is_spaced)
        found = [f'"content"{colon}"{_BLANK}"']
        if self.profile == "emoji_think":
            prefix = orjson.dumps(EMOJI_PREFIX)[1:-1]
            found.append(f'"assistant"{comma}"content"{colon}"{_anything_but(prefix)}')
        return [*found, f'"skill"{colon}"syllo"'] if self._is_guessed else found

    def sift(self, block: bytes) -> Sifting:
        """Counts the good lines of a block of whole lines; gives what is to be looked at otherwise."""
        sifting = Sifting([], 0)
        text, spoilt = self._without_escapes(block)
        start = 0
        for first, last in spoilt:
            self._recognise(text, block, start, first, sifting)
            sifting.add(first, last)
            start = last
        self._recognise(text, block, start, len(block), sifting)
        return sifting

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

    def _recognise(self, text: bytes, block: bytes, start: int, stop: int, sifting: Sifting) -> None:
        while start < stop:
            rest = text[start:stop]
            self._form.scan(rest)
            raw = rest if text is block else block[start:stop]
            taken = [counts.take(raw) for counts in self._layouts]
            sifting.num_lines += sum([num_lines for num_lines, _ in taken])
            start += max([end for _, end in taken])
            if start < stop:
                end = block.find(b"\n", start, stop) + 1 or stop
                sifting.add(start, end)
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
            if key in _NEVER or b"\\" in orjson.dumps(key) or (key in _INTEGERS and kinds != {int}):
                return False
            if key != "lineage" and not kinds <= _KINDS.keys():
                return False
        return len(self.kinds) <= MAX_KEYS


class _Counts:
    """The form of one layout, and what was counted of its lines.

    Counted are runs of neighbouring keys. Their names stand in a line but once with bare quotes, and so does what
    follows them, so that searching for these finds them.
    """

    def __init__(self, layout: Layout, kinds: dict[str, set[type]]) -> None:
        self.ends: list[int] = []
        self.found: Counter[Any] = Counter()
        colon, comma = _separators(layout.is_spaced)
        names = [orjson.dumps(key).decode() + colon for key in layout.keys]
        values = [_value(key, kinds[key], comma) for key in layout.keys]
        members = [_literal(name.encode()) + value for name, value in zip(names, values, strict=True)]
        metadata, turns = rf'"metadata"{colon}\{{{comma.join(members)}\}}', _turns(colon, comma)
        whole = [turns, metadata] if layout.are_turns_first else [metadata, turns]
        self.form = rf"\{{{comma.join(whole)}\}}\n"
        counted = {*_COUNTED, "generator_version"} if "generator_id" in kinds else {*_COUNTED}
        is_counted = [False, *(key in counted for key in layout.keys), False]
        behind = [
            *(comma + name for name in names),
            "}}\n" if layout.are_turns_first else f'}}{comma}"messages"{colon}',
        ]
        openings = [name for place, name in enumerate(names) if is_counted[place + 1] and not is_counted[place]]
        closings = [text for place, text in enumerate(behind) if is_counted[place] and not is_counted[place + 1]]
        self._runs = [(first.encode(), last.encode()) for first, last in zip(openings, closings, strict=True)]

    def take(self, block: bytes) -> tuple[int, int]:
        """Counts the lines that were reported in a block; gives how many, and where the last ended, 0 for none."""
        ends = self.ends
        runs = [
            [block[(start := block.rfind(first, 0, end)) : block.find(last, start, end)] for end in ends]
            for first, last in self._runs
        ]
        self.found.update(runs[0] if len(runs) == 1 else zip(*runs, strict=True))
        taken = len(ends), ends[-1] if ends else 0
        ends.clear()
        return taken

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
