"""Judges answers to the reasoning-gym tasks of our allow-list by solving each question again, in our own few lines.

Reads the question alone: neither that library nor a stored key is needed, and answers are held to exactness (there, a
part of the answer, or a number within one percent, may earn points). Its texts are those of version 0.1.25.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm

from frontier_core.records import Record, metadata_of
from validators.base import Verdict
from validators.skills.dialogue import (
    PromptError,
    judge_text,
    only_question,
    read_dialogue,
    refuse_prompt,
    shown,
    tidy,
)
from validators.skills.expression import evaluate

Grid = list[list[int]]


def verify(record: Record, answer: str) -> Verdict:
    """Judges `answer` to the question of a task `rg_NAME`. Codes: wrong_answer, unparsable_prompt."""
    try:
        dialogue = read_dialogue(record)
        expected = solve(str(metadata_of(record).get("skill", "")).removeprefix("rg_"), only_question(dialogue))
    except PromptError as error:
        return refuse_prompt(error)
    return judge_text(expected, tidy(answer), dialogue.answer_pointer)


def solve(task: str, question: str) -> str:
    """Gives the canonical answer to one question of a task.

    Raises:
        PromptError: not a task of the list, or another question than it asks.
    """
    if task not in SOLVERS:
        raise PromptError(f"no such task: {task!r}")
    pattern, solver = SOLVERS[task]
    match = pattern.search(question.strip())
    if match is None:
        raise PromptError(f"not a question of {task}: {shown(question)}")
    return solver(match)


def _integers(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", text)]


def _words(text: str) -> list[str]:
    return text.strip().split(", ")


def _grid(text: str) -> Grid:
    return [[int(cell) for cell in row.split()] for row in text.strip().splitlines()]


def _rows(grid: Grid) -> str:
    return "\n".join(" ".join(map(str, row)) for row in grid)


def _base(name: str) -> int:
    return {"binary": 2, "hexadecimal": 16}.get(name) or int(name.removeprefix("base-"))


def _convert(match: re.Match[str]) -> str:
    value, base, digits = int(match[2], _base(match[1])), _base(match[3]), ""
    while value:
        value, digit = divmod(value, base)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


def _factors(match: re.Match[str]) -> str:
    rest, divisor, found = int(match[1]), 2, []
    while divisor * divisor <= rest:
        if rest % divisor:
            divisor += 1
        else:
            found.append(divisor)
            rest //= divisor
    return " × ".join(map(str, [*found, rest]))


def _primes(match: re.Match[str]) -> str:
    low, high = int(match[1]), int(match[2])
    is_prime = bytearray([0, 0] + [1] * (high - 1))
    for number in range(2, int(high**0.5) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = bytes(len(range(number * number, high + 1, number)))
    return str(sum(is_prime[low : high + 1]))


def _fraction(match: re.Match[str]) -> str:
    value = Fraction(int(match[1]), int(match[2]))
    return f"{value.numerator}/{value.denominator}"


def _sorted_words(match: re.Match[str]) -> str:
    return ", ".join(sorted(_words(match[2]), reverse=match[1] == "descending"))


def _filtered(match: re.Match[str]) -> str:
    verb, side, bound = match[1], match[2], Decimal(match[3])
    numbers = re.findall(r"'(-?[0-9.]+)'", match[4])
    beyond = [Decimal(number) > bound if side == "larger" else Decimal(number) < bound for number in numbers]
    return str([number for number, is_beyond in zip(numbers, beyond, strict=True) if is_beyond == (verb == "Keep")])


def _can_take_all(match: re.Match[str]) -> str:
    """Takes courses as long as one is free of open prerequisites; all can be taken unless some wait for each other."""
    needs: dict[int, set[int]] = {course: set() for course in range(int(match[1]))}
    for course, first in re.findall(r"\(([0-9]+), ([0-9]+)\)", match[2]):
        needs.setdefault(int(course), set()).add(int(first))
    taken: set[int] = set()
    while ready := {course for course, before in needs.items() if course not in taken and before <= taken}:
        taken |= ready
    return str(len(taken) == len(needs))


def _spiral(match: re.Match[str]) -> str:
    grid, found = _grid(match[1]), []
    while grid:
        found += grid.pop(0)
        grid = [list(row) for row in zip(*grid, strict=True)][::-1]  # what is left, turned so that its right edge is up
    return " ".join(map(str, found))


def _rotated(match: re.Match[str]) -> str:
    grid = _grid(match[2])
    for _ in range(int(match[1]) // 90 % 4):
        grid = [list(row) for row in zip(*grid[::-1], strict=True)]
    return _rows(grid)


def _spread(grid: Grid, starts: list[tuple[int, int]], over: int) -> dict[tuple[int, int], int]:
    """Gives the steps to each cell of value `over` that the starts lead to, and of the starts."""
    steps = dict.fromkeys(starts, 0)
    queue = deque(starts)
    while queue:
        y, x = queue.popleft()
        for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= place[0] < len(grid) and 0 <= place[1] < len(grid[0])
            if inside and place not in steps and grid[place[0]][place[1]] == over:
                steps[place] = steps[y, x] + 1
                queue.append(place)
    return steps


def _cells(grid: Grid, value: int) -> list[tuple[int, int]]:
    return [(y, x) for y, row in enumerate(grid) for x, cell in enumerate(row) if cell == value]


def _distances(match: re.Match[str]) -> str:
    grid = _grid(match[1])
    steps = _spread(grid, _cells(grid, 0), 1)
    if len(steps) != len(grid) * len(grid[0]):
        raise PromptError("the matrix holds no 0")
    return _rows([[steps[y, x] for x in range(len(grid[0]))] for y in range(len(grid))])


def _largest(match: re.Match[str]) -> str:
    grid, seen, most = _grid(match[1]), set[tuple[int, int]](), 0
    for cell in _cells(grid, 1):
        if cell not in seen:
            island = _spread(grid, [cell], 1)
            seen |= island.keys()
            most = max(most, len(island))
    return str(most)


_MATRIX = r"((?:[0-9 ]+\n?)+)$"
Solver = Callable[[re.Match[str]], str]
_TASKS: dict[str, tuple[str, Solver]] = {
    "chain_sum": (r"problem: ([-+ 0-9]+) =$", lambda m: str(evaluate(m[1]))),
    "products": (r"multiplication: ([* 0-9]+)\.", lambda m: str(evaluate(m[1]))),
    "basic_arithmetic": (r"^Calculate ([-+*() 0-9]+)\.$", lambda m: str(evaluate(m[1]))),
    "base_conversion": (r"convert the (\S+) number ([0-9a-z]+) to (\S+)$", _convert),
    "gcd": (r"of these numbers: ([0-9, ]+)\.", lambda m: str(gcd(*_integers(m[1])))),
    "lcm": (r"of these numbers: ([0-9, ]+)$", lambda m: str(lcm(*_integers(m[1])))),
    "count_bits": (r"of the number ([0-9]+)\?$", lambda m: str(sum(int(m[1]) >> n & 1 for n in range(64)))),
    "count_primes": (r"between ([0-9]+) and ([0-9]+) \(inclusive\)", _primes),
    "prime_factorization": (r"factorization of ([0-9]+)\.", _factors),
    "fraction_simplification": (r"fraction ([0-9]+)/([0-9]+) to", _fraction),
    "letter_counting": (r'letter "(.)" appear in the text: "(.*)"\?$', lambda m: str(m[2].lower().count(m[1].lower()))),
    "spell_backward": (r"sun -> nus\): (\S+)$", lambda m: m[1][::-1]),
    "word_sequence_reversal": (r"list of words: (.+)$", lambda m: ", ".join(_words(m[1])[::-1])),
    "word_sorting": (r"words in (ascending|descending) order \(using [^:]+: (.+)$", _sorted_words),
    "number_filtering": (
        r"(Keep|Remove) all numbers (larger|smaller) than (-?[0-9.]+) in this list: (\[[^]]*\])",
        _filtered,
    ),
    "course_schedule": (r"(?s)total of ([0-9]+) courses.*a_i:\n(\[[^]]*\])", _can_take_all),
    "spiral_matrix": (rf"spiral order\?\n{_MATRIX}", _spiral),
    "rotate_matrix": (rf"by ([0-9]+) degrees clockwise:\n{_MATRIX}", _rotated),
    "binary_matrix": (rf"matrix below:\n{_MATRIX}", _distances),
    "largest_island": (r"matrix grid:\n((?:[01 ]+\n)+)\n", _largest),
}
SOLVERS = {task: (re.compile(pattern), solver) for task, (pattern, solver) in _TASKS.items()}
"""Task -> what its question looks like, and who answers it."""
