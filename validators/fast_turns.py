"""Chats as the fast path decodes them, and the QUICK rules of turns over many chats at once.

The rules are those of quick_rules.py, only narrower: what is passed here passes there (tests/validators/
test_fast_path.py); what is not passed here may still be fine. They run for every line of a file, so they go column by
column: a loop over lines and turns costs three times as much.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from frontier_core.profiles import EMOJI_PREFIX, ProfileName, violation

_TAGGED: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False, "tag_field": "role"}
_TEXT = Annotated[str, Meta(min_length=1)]
_SYSTEM: Any = msgspec.defstruct("System", [("content", _TEXT)], tag="system", **_TAGGED)
_USER: Any = msgspec.defstruct("User", [("content", _TEXT)], tag="user", **_TAGGED)
_ANSWER: Any = msgspec.defstruct("Answer", [("content", _TEXT)], tag="assistant", **_TAGGED)
_RAW_ANSWER: Any = msgspec.defstruct("RawAnswer", [("content", Raw)], tag="assistant", **_TAGGED)

_RAW_PREFIX = b'\n"' + msgspec.json.encode(EMOJI_PREFIX)[1:-1]
_MAY_SPELL_A_BRACKET = b"\\u003"
_read_text = msgspec.json.Decoder(str).decode


class Turns:
    """The turns of chats under one profile.

    Answers of `emoji_think` are not decoded: four emoji make Python keep a text in four bytes a character, which costs
    a third of the whole. msgspec has then checked their form as JSON, all but their UTF-8, and that is made up for.

    Args:
        profile: the profile assistant turns must keep.
        reads_text: answers are decoded all the same, for rules that read them.
    """

    def __init__(self, profile: ProfileName, *, reads_text: bool = False) -> None:
        self.profile = profile
        self._answer: Any = _RAW_ANSWER if profile == "emoji_think" and not reads_text else _ANSWER
        kinds = _SYSTEM | _USER | self._answer
        self.type: Any = Annotated[list[kinds], Meta(min_length=2)]  # type: ignore[valid-type]

    def are_utf8(self, lines: list[bytes]) -> bool:
        """Says whether lines are UTF-8 in whole, where decoding them did not show it: raw answers, repeated keys."""
        if self._answer is not _RAW_ANSWER:
            return True
        joined = b"".join(lines)
        try:
            return joined.isascii() or bool(joined.decode())
        except UnicodeDecodeError:
            return False

    def odd(self, talks: list[Any]) -> list[int]:
        """Gives the places of chats that may break a rule, in order; their UTF-8 is `are_utf8`'s business."""
        answer = self._answer
        odd = [place for place, turns in enumerate(talks) if type(turns[-1]) is not answer]
        if odd:  # the most common fault; the rest may still be in order
            talks = [turns for turns in talks if type(turns[-1]) is answer]
            places = iter(sorted(set(range(len(talks) + len(odd))) - set(odd)))
            return sorted([*odd, *(place for place, is_odd in zip(places, self._odd(talks), strict=True) if is_odd)])
        return [place for place, is_odd in enumerate(self._odd(talks)) if is_odd]

    def _odd(self, talks: list[Any]) -> list[bool]:
        """Says of each chat that ends with an answer whether it may break a rule, [] for none."""
        if self._are_fine(talks):
            return [False] * len(talks)
        return [not self._is_fine(turns) for turns in talks]

    def _are_fine(self, talks: list[Any]) -> bool:
        systems = [turns[0].content for turns in talks if type(turns[0]) is _SYSTEM]
        if systems:
            talks = [turns[1:] if type(turns[0]) is _SYSTEM else turns for turns in talks]
        turns = list(chain.from_iterable(talks))
        # Each chat ends with an answer, so if users and answers take turns over all of them, they do in each.
        if [type(turn) for turn in turns] != [_USER, self._answer] * (len(turns) // 2):
            return False
        asked = [turn.content for turn in turns[::2]]
        return not any(map(str.isspace, chain(systems, asked))) and self._keep([turn.content for turn in turns[1::2]])

    def _keep(self, answers: list[Any]) -> bool:
        """Says whether every answer keeps the profile."""
        if self.profile == "plain":
            return not any(map(str.isspace, answers))
        if self.profile == "regime3":
            return all(violation(answer, "regime3") is None for answer in answers)
        if self._answer is _ANSWER:
            sure = [text.startswith(EMOJI_PREFIX) and ">" not in text for text in answers]
            return all(sure) or all(map(self._keeps, answers))
        # One piece of bytes, each answer behind a line feed, which no JSON text can hold.
        joined = b"\n".join([b"", *answers])
        may_hold_a_tag = b">" in joined and (b"think>" in joined or b"\\u" in joined)
        if joined.count(_RAW_PREFIX) == len(answers) and not may_hold_a_tag and _MAY_SPELL_A_BRACKET not in joined:
            return True
        return all(map(self._keeps, answers))

    def _keeps(self, answer: Any) -> bool:
        if isinstance(answer, Raw):
            try:
                answer = _read_text(answer)
            except ValueError:  # no text, or no UTF-8
                return False
        return bool(answer.strip()) and violation(answer, self.profile) is None

    def _is_fine(self, turns: list[Any]) -> bool:
        """As `_are_fine`, for one chat; less strict: a user may say two things in a row."""
        last: Any = None
        for turn in turns:
            kind = type(turn)
            if kind is self._answer:
                if last is not _USER or not self._keeps(turn.content):
                    return False
            elif turn.content.isspace() or (kind is _SYSTEM and last is not None):
                return False
            last = kind
        return last is self._answer
