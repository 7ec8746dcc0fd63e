"""The fast path of the schema gate: decides at the speed of parsing which lines need no second look.

JSON Schema stays normative. A fast path never refuses: it says "passes" for lines it is sure of and leaves every other
line to the slow diagnosis (validators/validation.py), which decides. Being sure means: msgspec decodes the line into
types that are narrower than the schema, with no key unknown, so that every byte of the line is parsed; metadata keys
that nobody knows are learnt, with the types seen, from lines that the slow path passed. tests/validators/
test_fast_path.py holds both against each other. QUICK's rules are checked here as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontier_core.lineage import Tally, generator_of
from frontier_core.profiles import ProfileName
from frontier_core.records import Record, metadata_of, tag_of
from validators.fast_turns import Turns
from validators.quick_rules import MAX_NOTES_CHARS

MAX_LEARNT = 64
"""Metadata keys learnt at most; files with more go the slow way where they use the others."""

_MAKER = ("generator_id", "generator_version", "source")
_WORDS = ("skill", *_MAKER)
"""Keys whose values are few as a rule: those seen are learnt, so that every line shares one text and its hash."""

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
_PROMPT = _Text | Annotated[list[_TURN], Meta(min_length=1)]  # type: ignore[valid-type]
_SPARRING = Literal["sparring_identify_incorrect", "sparring_correction", "sparring_confirm_correct"]

_FIELDS: dict[str, tuple[tuple[str, Any], ...]] = {
    "chat_sft_v1": (("messages", None),),
    "syllo_v1": (("messages", None),),
    "sparring_v1": (("messages", None), ("type", _SPARRING)),
    "completion_v1": (("text", _Text),),
    "preference_v1": (("prompt", _PROMPT), ("chosen", _PROMPT), ("rejected", _PROMPT), ("margin?", int | float)),
    "reward_v1": (
        ("prompt", _PROMPT), ("response", _Text), ("reward", int | float), ("value_estimate?", int | float),
        ("advantage?", int | float), ("kl_penalty?", int | float),
    ),
}  # fmt: skip
"""The record beside its metadata, by spec; `?` ends an optional key. Specs not here go the slow way. Turns hang on the
profile (fast_turns.py)."""

FAST_SPECS = tuple(_FIELDS)


MoreRules = Callable[[list[bytes], list[int], list[Any]], list[int]]


def _without(
    odd: list[int], lines: list[bytes], doubtful: list[int], records: list[Any]
) -> tuple[list[int], list[Any]]:
    """Gives the places in doubt and the records that are left when some of these turn out odd."""
    if not odd:
        return doubtful, records
    left_out = set(doubtful)
    places = [place for place in range(len(lines)) if place not in left_out]
    doubtful = sorted([*doubtful, *(places[index] for index in odd)])
    left_out = set(odd)
    return doubtful, [record for index, record in enumerate(records) if index not in left_out]


class FastPath:
    """Sifts lines of one spec under one profile: counts those that pass, gives back those to look at again.

    Args:
        spec: one of FAST_SPECS.
        profile: the profile assistant turns must keep.
        is_guessed: the spec was read off the shape, so a line of another spec (a chat of skill `syllo`) is not for us.
        reads_text: texts are wanted, decoded.
    """

    def __init__(self, spec: str, profile: ProfileName, *, is_guessed: bool, reads_text: bool = False) -> None:
        self.spec = spec
        self.profile = profile
        self._foreign_skill = "syllo" if spec == "chat_sft_v1" and is_guessed else ""
        self._counts: Counter[tuple[Any, ...]] = Counter()
        self._tags: Counter[tuple[Any, ...]] = Counter()
        self._maker: tuple[Any, ...] | None = None
        self._always: set[str] | None = None
        self._marks: Counter[Any] = Counter()
        self._words: dict[str, set[str]] = {key: set() for key in _WORDS}
        self._refused: set[str] = set()
        self._keys: dict[str, Any] = {}
        self._turns = Turns(profile, reads_text=reads_text) if _FIELDS[spec][0][0] == "messages" else None
        self.decode = self._compile()

    def learn(self, records: Iterable[Record]) -> None:
        """Takes in the skills and metadata keys of records of this spec that passed the slow path, in their order."""
        learnt, words = dict(self._keys), {key: set(values) for key, values in self._words.items()}
        always = self._always
        for record in records:
            metadata = metadata_of(record)
            always = set(metadata) if always is None else always.intersection(metadata)
            for key, value in metadata.items():
                if key in words and len(words[key]) <= MAX_LEARNT:
                    words[key].add(value)
                if key in _METADATA:
                    learnt.setdefault(key, self._kind(key))
                elif key != "skill" and (key in learnt or len(learnt) < MAX_LEARNT) and key not in self._refused:
                    learnt[key] = _wider(learnt.get(key), value)
        if learnt == self._keys and words == self._words and always == self._always:
            return
        before, self._keys, self._words, self._always = self._keys, learnt, words, always
        try:
            self.decode = self._compile()
        except ValueError:  # a name that no typed key can have (a quote, a control character)
            self._refused |= learnt.keys() - before.keys()
            self._keys = before
            self.decode = self._compile()

    def _kind(self, key: str) -> Any:
        return Annotated[int, Meta(ge=1, le=5)] if (self.spec, key) == ("syllo_v1", "level") else _METADATA[key]

    def sift(self, lines: list[bytes], more: MoreRules | None = None) -> list[int]:
        """Counts the lines that pass and gives the places of the others, in order.

        Args:
            lines: a chunk of a file.
            more: further rules: gives, of lines, places and records that stand there, those records that may break one.
        """
        records, doubtful = self._decoded(lines)
        if self._turns and not self._turns.are_utf8(lines):
            left_out = set(doubtful)
            kept = [line for place, line in enumerate(lines) if place not in left_out]
            odd = [index for index, line in enumerate(kept) if not self._turns.are_utf8([line])]
            doubtful, records = _without(odd, lines, doubtful, records)
        doubtful, records = _without(self._odd(records), lines, doubtful, records)
        if more is not None and records:
            left_out = set(doubtful)
            places = [place for place in range(len(lines)) if place not in left_out]
            doubtful, records = _without(more(lines, places, records), lines, doubtful, records)
        self._count([record.metadata for record in records])
        return doubtful

    def _decoded(self, lines: list[bytes]) -> tuple[list[Any], list[int]]:
        """Gives the lines that the types hold for, decoded, and the places of the others."""
        records: list[Any] = []
        doubtful: list[int] = []
        rest = iter(lines)
        while True:
            try:
                # What was decoded before an exception stays in the list, and the line it is about is behind `rest`.
                records.extend(map(self.decode, rest))
            except (ValueError, RecursionError):
                doubtful.append(len(records) + len(doubtful))
            else:
                return records, doubtful

    def _odd(self, records: list[Any]) -> list[int]:
        """Gives the places of records that may break a rule of QUICK, in order."""
        if not self._turns or not records:
            return []
        odd = self._turns.odd([record.messages for record in records])
        if self._may_be_foreign and self._foreign_skill in [record.metadata.skill for record in records]:
            foreign = {place for place, record in enumerate(records) if record.metadata.skill == self._foreign_skill}
            odd = sorted(foreign.union(odd))
        return odd

    def _count(self, found: list[Any]) -> None:
        if not found:
            return
        keys = self._keys
        nothing = (UNSET,) * len(found)
        skills = [metadata.skill for metadata in found]
        levels = [metadata.level for metadata in found] if "level" in keys else nothing
        if self._maker is not None:  # as a rule, and quicker to count
            self._tags.update(zip(skills, levels, strict=True))
        else:
            makers = ([getattr(metadata, key, UNSET) for metadata in found] for key in _MAKER)
            self._counts.update(zip(skills, levels, *makers, strict=True))
        if "lineage" in keys:
            self._marks.update(metadata.lineage for metadata in found)

    def _settle(self) -> None:
        """Adds what was counted of one maker to what was counted of all."""
        if self._maker is not None:
            for tag, count in self._tags.items():
                self._counts[tag + self._maker] += count
        self._tags.clear()

    def tally(self, into: Tally) -> None:
        """Adds what was counted to a tally: tags, specs, marks of lineage."""
        self._settle()
        for (skill, level, *made), count in self._counts.items():
            into.tags[tag_of({"skill": skill} if level is UNSET else {"skill": skill, "level": level})] += count
            into.specs[self.spec] += count
            names = zip(_MAKER, made, strict=True)
            into.passed[generator_of({key: value for key, value in names if value is not UNSET})] += count
        for marks, count in self._marks.items():
            for mark in () if marks is UNSET else marks:
                into.marks[mark] += count

    def _compile(self) -> Callable[[bytes], Any]:
        kinds: dict[str, Any] = {"skill": _Text, **self._keys}
        for key, words in self._words.items():
            if key in kinds and 0 < len(words) <= MAX_LEARNT:
                kinds[key] = Literal[tuple(sorted(words))]
        self._may_be_foreign = bool(self._foreign_skill) and kinds["skill"] == _Text
        if self.spec == "syllo_v1":
            kinds["skill"] = Literal["syllo"]
        # What every line has had so far is expected of the next: one without it is looked at again, and learnt from.
        needed = {"skill", *(self._always or ())} | ({"level"} if self.spec == "syllo_v1" else set())
        self._settle()
        self._maker = self._only_maker(kinds, needed)
        fields: list[Any] = []
        for number, (key, kind) in enumerate(kinds.items()):
            is_known = key in _METADATA or key == "skill"
            name = key if is_known else f"learnt_{number}"
            default = {} if key in needed else {"default": UNSET}
            kind = kind if key in needed else kind | UnsetType
            fields.append((name, kind, msgspec.field(name=None if is_known else key, **default)))
        metadata = msgspec.defstruct("Metadata", fields, kw_only=True, **_STRUCT)
        fields = [(key, kind) for key, kind in _FIELDS[self.spec] if not key.endswith("?")]
        whole: list[Any] = [(key, self._turns.type if self._turns and not kind else kind) for key, kind in fields]
        whole.append(("metadata", metadata))
        whole += [(key[:-1], kind | UnsetType, UNSET) for key, kind in _FIELDS[self.spec] if key.endswith("?")]
        return msgspec.json.Decoder(msgspec.defstruct("Line", whole, **_STRUCT)).decode

    def _only_maker(self, kinds: dict[str, Any], needed: set[str]) -> tuple[Any, ...] | None:
        """Gives what every line that the types hold for says of its maker, None when lines may differ."""
        maker: list[Any] = []
        for key in _MAKER:
            if key not in kinds:
                maker.append(UNSET)
            elif key in needed and len(self._words[key]) == 1:
                maker += self._words[key]
            else:
                return None
        return tuple(maker)


def _wider(kind: Any, value: object) -> Any:
    """Gives a type that holds `value` and what `kind` held: the value's own at first, then any scalar, then nested."""
    if isinstance(value, list | dict):
        return _Nested
    own: Any = type(None) if value is None else type(value)
    return own if kind is None or kind is own else kind if kind == _Nested else _Scalar
