"""Evaluates the arithmetic that prompts hold: whole numbers, + - * ^, unary minus, parentheses; exact.

Not Python's eval: the text may come from anywhere, so its length, its nesting and the size of its powers are bounded.
"""

from __future__ import annotations

import re

from validators.skills.dialogue import PromptError

MAX_CHARS = 100
MAX_BITS = 4096
_TOKEN = re.compile(r"\s*(?:([0-9]{1,30})|([-+*^()]))")


def evaluate(text: str) -> int:
    """Gives the value of an expression; `*` binds before `+` and `-`, `^` before `*`, equals from left to right.

    Raises:
        PromptError: not an expression, longer than 100 characters, or a value beyond 4096 bits.
    """
    if len(text) > MAX_CHARS:
        raise PromptError("the expression is too long")
    parser = _Parser(_tokens(text))
    value = parser.sum()
    if parser.peek():
        raise PromptError(f"unexpected {parser.peek()!r} in the expression")
    return value


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise PromptError("not an arithmetic expression")
        tokens.append(match[1] or match[2])
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent, one method a level of precedence."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self.peek()
        self._next += 1
        return token

    def sum(self) -> int:
        value = self._product()
        while self.peek() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> int:
        value = self._power()
        while self.peek() == "*":
            self._take()
            value *= self._power()
            if value.bit_length() > MAX_BITS:
                raise PromptError("the expression's value is too large")
        return value

    def _power(self) -> int:
        base = self._unary()
        if self.peek() != "^":
            return base
        self._take()
        exponent = self._unary()
        if exponent < 0 or max(1, base.bit_length()) * exponent > MAX_BITS:
            raise PromptError("the power is negative or too large")
        return int(base**exponent)

    def _unary(self) -> int:
        token = self._take()
        if token == "-":
            return -self._unary()
        if token == "(":
            value = self.sum()
            if self._take() != ")":
                raise PromptError("a parenthesis is left open")
            return value
        if token.isdigit():
            return int(token)
        raise PromptError("not an arithmetic expression")
