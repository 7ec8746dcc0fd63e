"""Judges SYLLO answers: looks each clue up, spells the words with the tiles of the bank, and counts the tiles again.

The puzzle itself is judged too: every clue known, its slots fit its word, the words use the bank up, and no other
word of the lexicon can be spelled with the tiles. Puzzles over other lexicons are refused, not guessed at.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NamedTuple

from frontier_core.records import Record
from validators.base import ACCEPTED, Verdict, reject
from validators.skills.dialogue import PromptError, only_question, read_dialogue, refuse_prompt, shown
from validators.skills.lexicon import Entry, entries_by_clue, load_lexicon

_CLUE = re.compile(r"([1-9][0-9]?)\. (.+?)((?: ___)+)")
_BANK = re.compile(r"Tiles: (.+)")
_RULE = "Use every tile exactly once."


class Puzzle(NamedTuple):
    """What a prompt poses: the words its clues stand for, in order, and its tiles in bank order."""

    words: tuple[Entry, ...]
    bank: tuple[str, ...]


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
        _check_inventory(document["inventory_check"], puzzle.bank)
    except _BadAnswer as error:
        return reject(error.code, str(error), pointer=dialogue.answer_pointer)
    return ACCEPTED


def read_puzzle(prompt: str) -> Puzzle:
    """Gives the words and tiles a prompt poses.

    Raises:
        PromptError: the prompt has another form, a clue is unknown, the bank is not the words' tiles, or another word
            can be spelled with it.
    """
    lines = prompt.strip().split("\n")
    clues = [match for match in map(_CLUE.fullmatch, lines) if match]
    banks = [match for match in map(_BANK.fullmatch, lines) if match]
    if not clues or len(banks) != 1 or _RULE not in lines:
        raise PromptError("not a SYLLO puzzle: needs numbered clues, the rule and one line of tiles")
    if [int(match[1]) for match in clues] != list(range(1, len(clues) + 1)):
        raise PromptError("the clues are not numbered 1, 2, 3, ...")
    words: list[Entry] = []
    for match in clues:
        entry = entries_by_clue().get(match[2])
        if entry is None:
            raise PromptError(f"clue {match[1]} is not in the lexicon: {shown(match[2])}", "unknown_clue")
        if match[3].count("___") != len(entry.syllables):
            raise PromptError(f"clue {match[1]} has the wrong number of slots", "unknown_clue")
        words.append(entry)
    if len({entry.word for entry in words}) != len(words):
        raise PromptError("a clue comes twice")
    bank = tuple(banks[0][1].split(" | "))
    tiles = Counter(bank)
    if tiles != Counter(tile for entry in words for tile in entry.syllables):
        raise PromptError("the bank does not hold exactly the tiles of the words", "wrong_bank")
    for entry in load_lexicon():
        if not all(tile in tiles for tile in entry.syllables) or entry in words:
            continue
        if not Counter(entry.syllables) - tiles:
            raise PromptError(f"the tiles spell {entry.word} too", "ambiguous_prompt")
    return Puzzle(tuple(words), bank)


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
        if solution["answer"] != entry.word.upper():
            got = shown(solution["answer"])
            raise _BadAnswer("wrong_word", f"solution {number}: expected {entry.word.upper()}, got {got}")
        if solution["syllables"] != list(entry.syllables):
            expected, got = "-".join(entry.syllables), shown("-".join(map(str, solution["syllables"])))
            raise _BadAnswer("wrong_tiles", f"solution {number}: expected tiles {expected}, got {got}")


def _check_inventory(inventory: dict[str, Any], bank: tuple[str, ...]) -> None:
    kinds = {"total_tiles": int, "usage": dict, "used": dict, "unused_tiles": list, "status": str}
    _require_keys(inventory, "inventory_check", kinds)
    counts = dict(Counter(bank))
    for key, expected in (("total_tiles", len(bank)), ("unused_tiles", []), ("status", "ok")):
        if inventory[key] != expected:
            message = f"{key}: expected {expected}, got {shown(str(inventory[key]))}"
            raise _BadAnswer("wrong_inventory", message)
    for key in ("usage", "used"):
        got = inventory[key]
        for tile in [*counts, *got]:
            if type(got.get(tile)) is not int or got[tile] != counts.get(tile, 0):
                message = f"{key}: expected {counts.get(tile, 0)} of tile {tile!r}, got {shown(str(got.get(tile)))}"
                raise _BadAnswer("wrong_inventory", message)
