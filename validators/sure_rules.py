"""STANDARD's rules over lines that the fast path is sure of: which of them need to be looked at one by one after all.

For chats of the fast path. Duplicates, texts and lengths are asked of a chunk of lines at once; what may be
found somewhere goes to the rules themselves (standard_rules.py), which alone reject and warn. The rest is taken into
their books here: contents seen, lengths.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from frontier_core.jsonl import loads
from validators.content_gate import ContentGate
from validators.standard_rules import Balance, Duplicates, Lengths, content_key, turns_key
from validators.text_rules import has_signs, may_repeat, repeats, text_findings


class SureRules:
    """Looks over the lines of one file, chunk by chunk.

    Args:
        content: the gate whose rules' books are kept.
    """

    def __init__(self, content: ContentGate) -> None:
        self.first_line = 1
        self._duplicates = content.rule(Duplicates)
        self._lengths = content.rule(Lengths)
        self._balance = content.rule(Balance)
        self._encode = msgspec.json.Encoder().encode

    def odd(self, lines: list[bytes], places: list[int], records: list[Any]) -> list[int]:
        """Gives the places among `records` of those to be looked at, and takes in the others.

        Args:
            lines: a chunk of the file.
            places: where in it the records stand.
            records: decoded chats that keep QUICK's rules.
        """
        keys = [turns_key(self._encode(record.messages)) for record in records]
        seen = self._duplicates.seen
        others = _keys_of_others(lines, places)  # judged after these, wherever they stand
        odd = set()
        if len(set(keys)) != len(keys) or not others.isdisjoint(keys) or not seen.keys().isdisjoint(keys):
            counts = Counter(keys)
            odd = {index for index, key in enumerate(keys) if counts[key] > 1 or key in others or key in seen}
        odd.update(_with_findings(records))
        sizes = [len(record.messages[-1].content) for record in records]
        odd.update(self._lengths.unusual(sizes))
        kept = [index for index in range(len(records)) if index not in odd]
        seen.update((keys[index], self.first_line + places[index]) for index in kept)
        self._lengths.take([sizes[index] for index in kept])
        return sorted(odd)

    def finish(self, tags: Counter[str]) -> None:
        """Takes in the tags of all lines that were sure."""
        self._balance.tags.update(tags)


def _keys_of_others(lines: list[bytes], places: list[int]) -> set[bytes]:
    """Gives what stands for the contents of the lines that are not at these places, as far as they can be read."""
    found = set()
    for place in set(range(len(lines))).difference(places):
        try:
            record = loads(lines[place])
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.add(content_key(record))
    return found


def _with_findings(records: list[Any]) -> list[int]:
    texts = [[turn.content for turn in record.messages] for record in records]
    joined = "\n".join(["\n".join(pieces) for pieces in texts])
    has_sign, has_run = has_signs(joined.encode()), may_repeat(joined)
    odd = []
    for index, pieces in enumerate(texts) if has_sign or has_run else ():
        if (has_run and any(map(repeats, pieces))) or (has_sign and has_signs("\n".join(pieces).encode())):
            found = (finding for text in pieces for finding in text_findings(text, "", may_name_paths=False))
            if next(found, None):
                odd.append(index)
    return odd
