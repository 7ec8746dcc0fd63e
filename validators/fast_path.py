"""The fast path of the schema gate: decides at the speed of parsing which lines need no second look.

JSON Schema stays normative. A fast path never refuses: it says "passes" for lines it is sure of and leaves every other
line to the slow diagnosis (validators/validation.py), which decides. Being sure means: msgspec decodes the line into
types that are narrower than the schema, with no key unknown, so that every byte of the line is parsed; metadata keys
that nobody knows are learnt, with the types seen, from lines that the slow path passed. tests/validators/
test_fast_path.py holds both against each other. QUICK's rules are checked here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontier_core.lineage import Tally, generator_of
from frontier_core.profiles import EMOJI_PREFIX, ProfileName, violation
from frontier_core.records import Record, metadata_of, tag_of
from validators.quick_rules import MAX_NOTES_CHARS

MAX_LEARNT = 64
"""Metadata keys learnt at most; files with more go the slow way where they use the others."""

_ANSWERS_BETWEEN: dict[ProfileName, tuple[str, str]] = {
    "emoji_think": (EMOJI_PREFIX, EMOJI_PREFIX[:-1] + chr(ord(EMOJI_PREFIX[-1]) + 1)),
    "regime3": ("", chr(0x10FFFF)),
    "plain": ("", chr(0x10FFFF)),
}
"""Assistant texts lie between these two: comparing is the quickest way to ask for a prefix."""

_WORDS = ("skill", "source", "generator_id", "generator_version")
"""Keys whose values are few as a rule: those seen are learnt, so that every line shares one text and its hash."""

Key = tuple[Any, ...]
"""What accepted lines are counted by: (skill, level, lineage), absent ones UNSET."""

_Text = Annotated[str, Meta(min_length=1)]
_Short = Annotated[str, Meta(max_length=MAX_NOTES_CHARS)]
_Count = Annotated[int, Meta(ge=0)]
_Scalar = str | int | float | bool | None
_Flat = _Scalar | list[_Scalar] | dict[str, _Scalar]
# Depth is bounded by the type, so that no nesting is too deep for one parser and not for the other.
_Deeper = _Scalar | list[_Flat] | dict[str, _Flat]
_Nested = _Scalar | list[_Deeper] | dict[str, _Deeper]
_STRUCT: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False}

_METADATA: dict[str, Any] = {
    **dict.fromkeys(("domain", "task_type", "scenario", "source", "source_license"), str),
    **dict.fromkeys(("generator_id", "generator_version"), str),
    "difficulty": str | int | float,
    "level": _Count,
    "safety_tags": list[str],
    "tool_set": list[str],
    "graph_coverage": int | float | dict[str, _Flat],
    "length_hint": str | int,
    "seed": int,
    "index": _Count,
    "notes": _Short,
    "lineage": tuple[str, ...],
}
"""Narrower than metadata_v1.schema.json, never wider: what does not fit is looked at again."""

_TURN = msgspec.defstruct("Turn", [("role", Literal["system", "user", "assistant"]), ("content", _Text)], **_STRUCT)
_TURNS = Annotated[list[_TURN], Meta(min_length=2)]  # type: ignore[valid-type]
_PROMPT = _Text | Annotated[list[_TURN], Meta(min_length=1)]  # type: ignore[valid-type]
_SPARRING = Literal["sparring_identify_incorrect", "sparring_correction", "sparring_confirm_correct"]

_FIELDS: dict[str, tuple[tuple[str, Any], ...]] = {
    "chat_sft_v1": (("messages", _TURNS),),
    "syllo_v1": (("messages", _TURNS),),
    "sparring_v1": (("messages", _TURNS), ("type", _SPARRING)),
    "completion_v1": (("text", _Text),),
    "preference_v1": (("prompt", _PROMPT), ("chosen", _PROMPT), ("rejected", _PROMPT), ("margin?", int | float)),
    "reward_v1": (
        ("prompt", _PROMPT), ("response", _Text), ("reward", int | float), ("value_estimate?", int | float),
        ("advantage?", int | float), ("kl_penalty?", int | float),
    ),
}  # fmt: skip
"""The record beside its metadata, by spec; `?` ends an optional key. Specs not here go the slow way."""

FAST_SPECS = tuple(_FIELDS)


class _Absent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Metadata with nothing in it: what is asked of every line, for files whose lines lack the key."""

    level: ClassVar[Any] = UNSET
    lineage: ClassVar[Any] = UNSET
    source: ClassVar[Any] = UNSET
    generator_id: ClassVar[Any] = UNSET
    generator_version: ClassVar[Any] = UNSET


class FastPath:
    """Sifts lines of one spec under one profile: counts those that pass, gives back those to look at again.

    Args:
        spec: one of FAST_SPECS.
        profile: the profile assistant turns must keep.
        is_guessed: the spec was read off the shape, so a line of another spec (a chat of skill `syllo`) is not for us.
    """

    def __init__(self, spec: str, profile: ProfileName, *, is_guessed: bool) -> None:
        self.spec = spec
        self.profile = profile
        self._foreign_skill = "syllo" if spec == "chat_sft_v1" and is_guessed else ""
        self._counts: dict[str, dict[Any, int]] = {}
        self._marked: dict[Key, int] = {}
        self._words: dict[str, set[str]] = {key: set() for key in _WORDS}
        self._made: dict[Key, int] = {}
        self._refused: set[str] = set()
        self._keys: dict[str, Any] = {}
        self._has_turns = _FIELDS[spec][0][0] == "messages"
        self.decode = self._compile()

    def learn(self, records: Iterable[Record]) -> None:
        """Takes in the skills and metadata keys of records of this spec that passed the slow path, in their order."""
        learnt, words = dict(self._keys), {key: set(values) for key, values in self._words.items()}
        for record in records:
            metadata = metadata_of(record)
            for key, value in metadata.items():
                if key in words and len(words[key]) <= MAX_LEARNT:
                    words[key].add(value)
                if key in _METADATA:
                    learnt.setdefault(key, self._kind(key))
                elif key != "skill" and (key in learnt or len(learnt) < MAX_LEARNT) and key not in self._refused:
                    learnt[key] = _wider(learnt.get(key), value)
        if learnt == self._keys and words == self._words:
            return
        before, self._keys, self._words = self._keys, learnt, words
        try:
            self.decode = self._compile()
        except ValueError:  # a name that no typed key can have (a quote, a control character)
            self._refused |= learnt.keys() - before.keys()
            self._keys = before
            self.decode = self._compile()

    def _kind(self, key: str) -> Any:
        return Annotated[int, Meta(ge=1, le=5)] if (self.spec, key) == ("syllo_v1", "level") else _METADATA[key]

    def sift(self, lines: list[bytes]) -> list[int]:
        """Counts the lines that pass and gives the places of the others, in order."""
        return self._sift_chats(lines) if self._has_turns else self._sift_others(lines)

    def tally(self, into: Tally) -> None:
        """Adds what was counted to a tally: tags, specs, marks of lineage."""
        for (skill, level, marks), count in self._counted():
            tag = tag_of({"skill": skill} if level is UNSET else {"skill": skill, "level": level})
            into.tags[tag] += count
            into.specs[self.spec] += count
            for mark in () if marks is UNSET else marks:
                into.marks[mark] += count
        for made, count in self._made.items():
            names = zip(("generator_id", "generator_version", "source"), made, strict=True)
            into.passed[generator_of({key: value for key, value in names if value is not UNSET})] += count

    def _counted(self) -> Iterator[tuple[Key, int]]:
        for skill, levels in self._counts.items():
            for level, count in levels.items():
                marked = [(key, n) for key, n in self._marked.items() if key[:2] == (skill, level)]
                yield from marked
                if rest := count - sum(n for _, n in marked):
                    yield (skill, level, UNSET), rest

    def _sift_others(self, lines: list[bytes]) -> list[int]:
        decode, doubtful = self.decode, []
        for place, line in enumerate(lines):
            try:
                metadata = decode(line).metadata
            except (ValueError, RecursionError):
                doubtful.append(place)
                continue
            self._count(metadata)
            self._mark(metadata)
        return doubtful

    def _sift_chats(self, lines: list[bytes]) -> list[int]:
        """As `sift`, for chats; one flat loop almost without calls, because it runs for every line of a file."""
        decode, counts, doubtful = self.decode, self._counts, []
        is_plain, is_regime, is_marked = self.profile == "plain", self.profile == "regime3", "lineage" in self._keys
        made = self._made
        at_least, below = _ANSWERS_BETWEEN[self.profile]
        place = -1
        for line in lines:
            place += 1
            try:
                record = decode(line)
            except (ValueError, RecursionError):
                doubtful.append(place)
                continue
            last = ""
            for turn in record.messages:
                role = turn.role
                if role == "assistant":
                    text = turn.content
                    if last != "user" or not at_least <= text < below:
                        break
                    if (">" in text or is_regime) and self._breaks(text):
                        break
                    if is_plain and text.isspace():
                        break
                elif turn.content.isspace() or (role == "system" and last):
                    break
                last = role
            else:
                if last == "assistant":
                    metadata = record.metadata
                    try:
                        counts[metadata.skill][metadata.level] += 1
                    except KeyError:
                        if metadata.skill == self._foreign_skill:
                            doubtful.append(place)
                            continue
                        self._count(metadata)
                    if is_marked:
                        self._mark(metadata)
                        continue
                    maker = metadata.generator_id, metadata.generator_version, metadata.source
                    try:
                        made[maker] += 1
                    except KeyError:
                        made[maker] = 1
                    continue
            doubtful.append(place)
        return doubtful

    def _breaks(self, text: str) -> bool:
        return self.profile != "plain" and violation(text, self.profile) is not None

    def _count(self, metadata: Any) -> None:
        levels = self._counts.setdefault(metadata.skill, {})
        levels[metadata.level] = levels.get(metadata.level, 0) + 1

    def _mark(self, metadata: Any) -> None:
        made = metadata.generator_id, metadata.generator_version, metadata.source
        self._made[made] = self._made.get(made, 0) + 1
        if metadata.lineage is not UNSET:
            key = metadata.skill, metadata.level, metadata.lineage
            self._marked[key] = self._marked.get(key, 0) + 1

    def _compile(self) -> Callable[[bytes], Any]:
        kinds: dict[str, Any] = {"skill": _Text, **self._keys}
        for key, words in self._words.items():
            if key in kinds and 0 < len(words) <= MAX_LEARNT:
                kinds[key] = Literal[tuple(sorted(words))]
        if self.spec == "syllo_v1":
            kinds["skill"] = Literal["syllo"]
        fields: list[Any] = []
        for number, (key, kind) in enumerate(kinds.items()):
            is_known = key in _METADATA or key == "skill"
            is_needed = key == "skill" or (key == "level" and self.spec == "syllo_v1")
            name = key if is_known else f"learnt_{number}"
            default = {} if is_needed else {"default": UNSET}
            kind = kind if is_needed else kind | UnsetType
            fields.append((name, kind, msgspec.field(name=None if is_known else key, **default)))
        metadata = msgspec.defstruct("Metadata", fields, bases=(_Absent,), kw_only=True, **_STRUCT)
        whole: list[Any] = [(key, kind) for key, kind in _FIELDS[self.spec] if not key.endswith("?")]
        whole.append(("metadata", metadata))
        whole += [(key[:-1], kind | UnsetType, UNSET) for key, kind in _FIELDS[self.spec] if key.endswith("?")]
        return msgspec.json.Decoder(msgspec.defstruct("Line", whole, **_STRUCT)).decode


def _wider(kind: Any, value: object) -> Any:
    """Gives a type that holds `value` and what `kind` held: the value's own at first, then any scalar, then nested."""
    if isinstance(value, list | dict):
        return _Nested
    own: Any = type(None) if value is None else type(value)
    return own if kind is None or kind is own else kind if kind == _Nested else _Scalar
