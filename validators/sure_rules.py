"""STANDARD's rules over lines that the fast path is sure of: which of them need to be looked at one by one after all.

For chats whose metadata stands last. Duplicates, texts and lengths are asked of a chunk of lines at once; what may be
found somewhere goes to the rules themselves (standard_rules.py), which alone reject and warn. The rest is taken into
their books here: contents seen, lengths.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from validators.content_gate import ContentGate
from validators.standard_rules import Balance, Duplicates, Lengths, is_plain_chat, key_of_line
from validators.text_rules import has_signs, repeats, text_findings


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

    def odd(self, lines: list[bytes], places: list[int], records: list[Any]) -> list[int]:
        """Gives the places among `records` of those to be looked at, and takes in the others.

        Args:
            lines: a chunk of the file.
            places: where in it the records stand.
            records: decoded chats that keep QUICK's rules.
        """
        keys = [key_of_line(line) for line in lines]
        seen = self._duplicates.seen
        again: set[int] = set()
        if len(set(keys)) != len(keys) or not seen.keys().isdisjoint(keys):
            counts = Counter(keys)
            again = {key for key in keys if counts[key] > 1 or key in seen}
        odd = {index for index, place in enumerate(places) if keys[place] in again or not is_plain_chat(lines[place])}
        odd.update(_with_findings(records))
        sizes = [len(record.messages[-1].content) for record in records]
        odd.update(self._lengths.unusual(sizes))
        kept = [index for index in range(len(records)) if index not in odd]
        seen.update((keys[places[index]], self.first_line + places[index]) for index in kept)
        self._lengths.take([sizes[index] for index in kept])
        return sorted(odd)

    def finish(self, tags: Counter[str]) -> None:
        """Takes in the tags of all lines that were sure."""
        self._balance.tags.update(tags)


def _with_findings(records: list[Any]) -> list[int]:
    texts = [[turn.content for turn in record.messages] for record in records]
    has_any = has_signs("\n".join(["\n".join(pieces) for pieces in texts]).encode())
    odd = []
    for index, pieces in enumerate(texts):
        if any(map(repeats, pieces)) or (has_any and has_signs("\n".join(pieces).encode())):
            found = (finding for text in pieces for finding in text_findings(text, "", may_name_paths=False))
            if next(found, None):
                odd.append(index)
    return odd
