"""Wrong answers in bulk: what a right answer becomes under small edits, for the tests that no verifier takes one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

EDITS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -<>=,"


def text_mutants(answer: str, rng: Random) -> Iterator[str]:
    """Yields texts one edit from the answer without end: a character changed, lost, doubled or added, ends swapped."""
    while True:
        place, letter = rng.randrange(len(answer)), rng.choice(EDITS)
        yield answer[:place] + letter + answer[place + 1 :]
        yield answer[:place] + answer[place + 1 :]
        yield answer[:place] + answer[place] + answer[place:]
        yield answer[:place] + letter + answer[place:]
        yield answer[place:] + answer[:place]


def json_mutants(answer: str, rng: Random) -> Iterator[str]:
    """Yields an endless run of JSON documents with one leaf, key or list changed."""
    while True:
        document = json.loads(answer)
        holders = list(_holders(document))
        holder = rng.choice(holders)
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = rng.choice(keys)
        value = holder[key]
        change = rng.randrange(3)
        if change == 0:
            del holder[key]
        elif isinstance(value, int):
            holder[key] = value + rng.choice((-1, 1))
        elif isinstance(value, str):
            holder[key] = next(text_mutants(value, rng))
        elif change == 1 and isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        else:
            holder[key] = None
        yield json.dumps(document)


def _holders(value: object) -> Iterator[dict | list]:
    """Yields every object and list that holds something."""
    if isinstance(value, dict | list) and value:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


def mutants(answer: str, rng: Random) -> Iterator[str]:
    """Yields an endless run of answers that say something else than `answer`."""
    is_json = answer.startswith("{")
    for mutant in json_mutants(answer, rng) if is_json else text_mutants(answer, rng):
        if is_json and _laid_down(json.loads(mutant)) == _laid_down(json.loads(answer)):
            continue
        if is_json or mutant.strip().removesuffix(".") != answer:
            yield mutant


def _laid_down(document: object) -> object:
    """The document as far as its skill's prompt lays it down.

    Solutions and unused tiles may come in any order, words in capitals or not, and a status is any text.
    """
    if isinstance(document, dict):
        return {
            key: sorted(json.dumps(_laid_down(item)) for item in value)
            if key in ("solutions", "unused_tiles") and isinstance(value, list)
            else _free(key, value)
            for key, value in document.items()
        }
    return document


def _free(key: str, value: object) -> object:
    if isinstance(value, str) and key == "answer":
        return value.lower()
    return bool(value.strip()) if isinstance(value, str) and key == "status" else _laid_down(value)
