"""Judges SYLLO answers: finds the words the clues stand for among those the bank spells, and counts the tiles again.

The puzzle itself is judged too: it must have exactly one solution. The solver here tries out which spelled word goes to
which clue; a puzzle whose bank spells a further word of the lexicon, or a word in two ways, is refused as well.
Puzzles over other lexicons are refused, not guessed at.

What the prompt leaves open is free: words in capitals or not, any `status` that says something, and a `usage` that
counts either the whole bank or the tiles used. `used` counts the tiles used.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from frontier_core.records import Record
from validators.base import ACCEPTED, Verdict, reject
from validators.skills.dialogue import PromptError, only_question, read_dialogue, refuse_prompt, shown
from validators.skills.lexicon import Entry, entries_by_anchor, entries_by_clue

_CLUE = re.compile(r"([1-9][0-9]?)\. (.+?)((?: ___)+)")
_BANK = re.compile(r"Tiles: (.+)")
_ALL = "Use every tile exactly once."
_SOME = re.compile(r"Use a tile at most once; ([1-9][0-9]?) tiles are red herrings and stay unused\.")


class Puzzle(NamedTuple):
    """What a prompt poses: the words its clues stand for, in order, its tiles in bank order, and those of no word."""

    words: tuple[Entry, ...]
    bank: tuple[str, ...]
    herrings: tuple[str, ...] = ()


class _BadAnswer(Exception):
    """An answer that is refused, with its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer`, the JSON object {solutions, inventory_check}.

    Codes: bad_json, wrong_shape, wrong_count, wrong_word, wrong_tiles, wrong_inventory; unparsable_prompt,
    unknown_clue, wrong_bank, ambiguous_prompt for a puzzle that is itself at fault.
    """
    try:
        dialogue = read_dialogue(record)
        puzzle = read_puzzle(only_question(dialogue))
    except PromptError as error:
        return refuse_prompt(error)
    try:
        document = _parse(answer)
        _check_solutions(document["solutions"], puzzle.words)
        _check_inventory(document["inventory_check"], puzzle)
    except _BadAnswer as error:
        return reject(error.code, str(error), pointer=dialogue.answer_pointer)
    return ACCEPTED


def read_puzzle(prompt: str) -> Puzzle:
    """Gives the words and tiles a prompt poses.

    Raises:
        PromptError: the prompt has another form; a clue is unknown (`unknown_clue`); the bank does not hold the tiles
            of the words and as many others as it says (`wrong_bank`); there is more than one solution
            (`ambiguous_prompt`).
    """
    lines = prompt.strip().split("\n")
    clues = [match for match in map(_CLUE.fullmatch, lines) if match]
    banks = [match for match in map(_BANK.fullmatch, lines) if match]
    rules = [line for line in lines if line == _ALL or _SOME.fullmatch(line)]
    if not clues or len(banks) != 1 or len(rules) != 1:
        raise PromptError("not a SYLLO puzzle: needs numbered clues, the rule and one line of tiles")
    if [int(match[1]) for match in clues] != list(range(1, len(clues) + 1)):
        raise PromptError("the clues are not numbered 1, 2, 3, ...")
    if len({match[2] for match in clues}) != len(clues):
        raise PromptError("a clue comes twice")
    bank = tuple(banks[0][1].split(" | "))
    tiles = Counter(bank)
    spelled = list(_spelled(tiles))
    words = _solve([_candidates(match, spelled) for match in clues], tiles)
    for entry in spelled:
        if entry not in words:
            raise PromptError(f"the tiles spell {entry.word} too", "ambiguous_prompt")
        if _ways(entry.word, len(entry.syllables), tiles) != 1:
            raise PromptError(f"the tiles spell {entry.word} in two ways", "ambiguous_prompt")
    left = tiles - Counter(tile for entry in words for tile in entry.syllables)
    declared = _SOME.fullmatch(rules[0])
    if left.total() != (int(declared[1]) if declared else 0):
        raise PromptError(f"{left.total()} tiles belong to no word, which is not what the rule says", "wrong_bank")
    return Puzzle(words, bank, tuple(left.elements()))


def _spelled(tiles: Counter[str]) -> Iterator[Entry]:
    """Yields the words of the lexicon that the tiles spell."""
    anchored = entries_by_anchor()
    for tile in tiles:
        for entry in anchored.get(tile, ()):
            if Counter(entry.syllables) <= tiles:
                yield entry


def _candidates(clue: re.Match[str], spelled: Sequence[Entry]) -> list[Entry]:
    """Gives the spelled words that a clue can stand for."""
    admitted = entries_by_clue().get(clue[2])
    if admitted is None:
        raise PromptError(f"clue {clue[1]} is not in the lexicon: {shown(clue[2])}", "unknown_clue")
    slots = clue[3].count("___")
    if not any(len(entry.syllables) == slots for entry in admitted):
        raise PromptError(f"clue {clue[1]} has the wrong number of slots", "unknown_clue")
    return [entry for entry in admitted if entry in spelled and len(entry.syllables) == slots]


def _solve(candidates: Sequence[Sequence[Entry]], tiles: Counter[str]) -> tuple[Entry, ...]:
    """Gives the one way to give each clue a word of its own within the tiles.

    Raises:
        PromptError: there is none (`wrong_bank`), or a second one (`ambiguous_prompt`).
    """
    found = list(islice(_assignments(candidates, tiles, ()), 2))
    if not found:
        raise PromptError("the bank does not hold the tiles of the words", "wrong_bank")
    if len(found) > 1:
        raise PromptError("the clues and the bank admit two solutions", "ambiguous_prompt")
    return found[0]


def _assignments(
    candidates: Sequence[Sequence[Entry]], tiles: Counter[str], words: tuple[Entry, ...]
) -> Iterator[tuple[Entry, ...]]:
    if len(words) == len(candidates):
        yield words
        return
    for entry in candidates[len(words)]:
        need = Counter(entry.syllables)
        if entry not in words and need <= tiles:
            yield from _assignments(candidates, tiles - need, (*words, entry))


def _ways(word: str, parts: int, tiles: Counter[str]) -> int:
    """Counts the ways to put a word together from so many tiles."""
    if not word or not parts:
        return int(not word and not parts)
    return sum(
        _ways(word[len(tile) :], parts - 1, tiles - Counter([tile])) for tile in tiles if tile and word.startswith(tile)
    )


def _parse(answer: str) -> dict[str, Any]:
    try:
        document = json.loads(answer, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _BadAnswer("bad_json", "the answer is nested too deep") from error
    except ValueError as error:
        raise _BadAnswer("bad_json", f"the answer is not one JSON object: {error}") from error
    _require_keys(document, "the answer", {"solutions": list, "inventory_check": dict})
    assert isinstance(document, dict)
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        raise ValueError("a key comes twice")
    return whole


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _require_keys(value: Any, where: str, types: dict[str, type]) -> None:
    """Refuses anything but an object of exactly these keys, each of exactly that type (true is no number)."""
    if not isinstance(value, dict) or set(value) != set(types):
        raise _BadAnswer("wrong_shape", f"{where} must be an object of {', '.join(types)} and nothing else")
    for key, kind in types.items():
        if type(value[key]) is not kind:
            raise _BadAnswer("wrong_shape", f"{where}: {key} must be of type {kind.__name__}")


def _check_solutions(solutions: list[Any], words: tuple[Entry, ...]) -> None:
    for solution in solutions:
        _require_keys(solution, "a solution", {"ans_num": int, "syllables": list, "answer": str})
    numbers = sorted(solution["ans_num"] for solution in solutions)
    if numbers != list(range(1, len(words) + 1)):
        raise _BadAnswer("wrong_count", f"expected solutions 1 to {len(words)}, got {shown(str(numbers))}")
    for solution in solutions:
        number, entry = solution["ans_num"], words[solution["ans_num"] - 1]
        if solution["answer"].lower() != entry.word:
            got = shown(solution["answer"])
            raise _BadAnswer("wrong_word", f"solution {number}: expected {entry.word.upper()}, got {got}")
        if solution["syllables"] != list(entry.syllables):
            expected, got = "-".join(entry.syllables), shown("-".join(map(str, solution["syllables"])))
            raise _BadAnswer("wrong_tiles", f"solution {number}: expected tiles {expected}, got {got}")


def _check_inventory(inventory: dict[str, Any], puzzle: Puzzle) -> None:
    kinds = {"total_tiles": int, "usage": dict, "used": dict, "unused_tiles": list, "status": str}
    _require_keys(inventory, "inventory_check", kinds)
    if all(isinstance(tile, str) for tile in inventory["unused_tiles"]):
        inventory = {**inventory, "unused_tiles": sorted(inventory["unused_tiles"])}  # their order says nothing
    wanted = {"total_tiles": len(puzzle.bank), "unused_tiles": sorted(puzzle.herrings)}
    for key, expected in wanted.items():
        if inventory[key] != expected:
            message = f"{key}: expected {expected}, got {shown(str(inventory[key]))}"
            raise _BadAnswer("wrong_inventory", message)
    if not inventory["status"].strip():
        raise _BadAnswer("wrong_inventory", "status: expected a word, got nothing")
    used = Counter(tile for entry in puzzle.words for tile in entry.syllables)
    usage = used if set(inventory["usage"]) <= set(used) else Counter(puzzle.bank)
    for key, counts in (("usage", usage), ("used", used)):
        got = inventory[key]
        for tile in [*counts, *got]:
            if type(got.get(tile)) is not int or got[tile] != counts.get(tile, 0):
                message = f"{key}: expected {counts.get(tile, 0)} of tile {tile!r}, got {shown(str(got.get(tile)))}"
                raise _BadAnswer("wrong_inventory", message)
