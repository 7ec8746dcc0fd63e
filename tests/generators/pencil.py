"""What a question of arithmetic costs with pencil and paper: a solver of its own that counts the digits it writes.

Python adds numbers of any size in one step, so the lines a verifier runs through say nothing about a level of
magnitude. Here numbers are lists of digits; one step is a column added, a product of two digits looked up, a pair of
digits compared, a digit written down. Answers are found too, so that the count is that of a solution.
"""

import re
from dataclasses import dataclass


@dataclass
class Pencil:
    """Digit arithmetic; `steps` is what was done so far."""

    steps: int = 0

    def add(self, a, b):
        """Gives a + b; both may be negative."""
        if a < 0 or b < 0:
            self.steps += 1  # the sign is thought about
            return -self.add(-a, -b) if a < 0 and b < 0 else self.take(max(a, b), -min(a, b))
        total, carry, place = 0, 0, 1
        while a or b or carry:
            (a, x), (b, y) = divmod(a, 10), divmod(b, 10)
            carry, digit = divmod(x + y + carry, 10)
            total, place = total + digit * place, place * 10
            self.steps += 1
        return total

    def take(self, a, b):
        """Gives a - b."""
        if a < 0 or b < 0:
            self.steps += 1
            return self.add(a, -b) if b < 0 else -self.add(-a, b)
        sign = 1
        if self.compare(a, b) < 0:
            self.steps += 1
            a, b, sign = b, a, -1
        rest, borrowed, place = 0, 0, 1
        while a or b:
            (a, x), (b, y) = divmod(a, 10), divmod(b, 10)
            borrowed, digit = (1, x - y - borrowed + 10) if x - y - borrowed < 0 else (0, x - y - borrowed)
            rest, place = rest + digit * place, place * 10
            self.steps += 1
        return sign * rest

    def times(self, a, b):
        """Gives a * b: a row of products for each digit of b, and the rows added up."""
        if a < 0 or b < 0:
            self.steps += 1
            return self.times(abs(a), abs(b)) * (1 if a < 0 and b < 0 else -1)
        total, shift = 0, 1
        for y in map(int, reversed(str(b))):
            row, carry, place = 0, 0, shift
            for x in map(int, reversed(str(a))):
                carry, digit = divmod(x * y + carry, 10)
                row, place = row + digit * place, place * 10
                self.steps += 1
            row += carry * place
            total, shift = self.add(total, row) if total else row, shift * 10
        return total

    def divide(self, a, b):
        """Gives quotient and rest: each digit brought down, each digit of the quotient multiplied and taken away."""
        quotient, rest = 0, 0
        for digit in map(int, str(a)):
            rest = rest * 10 + digit
            self.steps += 1
            part = rest // b
            if part:
                rest = self.take(rest, self.times(b, part))
            quotient = quotient * 10 + part
        return quotient, rest

    def compare(self, a, b):
        """Gives -1, 0 or 1: lengths first, then digits from the left until two differ."""
        one, other = str(a), str(b)
        self.steps += 1
        if len(one) != len(other):
            return 1 if len(one) > len(other) else -1
        for x, y in zip(one, other, strict=True):
            self.steps += 1
            if x != y:
                return 1 if x > y else -1
        return 0

    def value(self, text):
        """Gives the value of sums, differences and products of whole numbers; one pair of parentheses at most."""
        while inner := re.search(r"\(([^()]*)\)", text):
            text = text[: inner.start()] + str(self.value(inner[1])) + text[inner.end() :]
        terms = []
        for token in re.findall(r"(?<![0-9] )-[0-9]+|[0-9]+|[-+*]", text):
            if terms and terms[-1] == "*":
                terms[-2:] = [self.times(terms[-2], int(token))]
            else:
                terms.append(token if token in "+-*" else int(token))
        total = terms[0]
        for sign, term in zip(terms[1::2], terms[2::2], strict=True):
            total = self.add(total, term) if sign == "+" else self.take(total, term)
        return total


def _sum(pencil, *numbers):
    total = numbers[0]
    for number in numbers[1:]:
        total = pencil.add(total, number)
    return total


def _to_binary(pencil, number):
    """Halves the number until nothing is left; the rests are the bits."""
    bits = ""
    while number:
        number, bit = pencil.divide(number, 2)
        bits = f"{bit}{bits}"
    return bits


def _from_binary(pencil, bits):
    """Doubles and adds, bit by bit."""
    value = 0
    for bit in bits:
        value = pencil.add(pencil.times(value, 2), int(bit))
    return value


def _extreme(pencil, sign, numbers):
    best = numbers[0]
    for number in numbers[1:]:
        best = number if pencil.compare(number, best) == sign else best
    return best


def _blank(pencil, first, sign, second, total):
    if first == "___":
        return pencil.add(int(total), int(second)) if sign == "-" else pencil.take(int(total), int(second))
    return pencil.take(int(first), int(total)) if sign == "-" else pencil.take(int(total), int(first))


def _wrong_step(pencil, *steps):
    wrong = None
    for number, (left, right) in enumerate(zip(steps[::2], steps[1::2], strict=True), 1):
        if pencil.compare(pencil.value(left), int(right)):
            wrong = number
    return wrong


def _claim(pencil, left, right):
    return "true" if pencil.compare(pencil.value(left), int(right)) == 0 else "false"


def _relate(pencil, left, right):
    return "=><"[pencil.compare(pencil.value(left), pencil.value(right))]


def _backwards(pencil, digits):
    pencil.steps += 2 * len(digits)  # each is read and written
    return digits[::-1]


def _percent(pencil, percent, whole):
    product = pencil.times(int(whole), int(percent))
    pencil.steps += 2  # a hundredth: two digits dropped
    return product // 100


def _fraction(pencil, top, bottom, whole):
    return pencil.times(pencil.divide(int(whole), int(bottom))[0], int(top))


def _equation(pencil, factor, constant, total):
    return pencil.divide(pencil.take(int(total), int(constant)), int(factor))[0]


def _next_to(pencil, where, number):
    return pencil.add(int(number), 1) if where == "after" else pencil.take(int(number), 1)


def _average(pencil, *numbers):
    return pencil.divide(_sum(pencil, *map(int, numbers)), 3)[0]


def _largest(pencil, kind, *numbers):
    return _extreme(pencil, 1 if kind.startswith("larg") else -1, [int(number) for number in numbers if number])


_STEP = r"[0-9]\) ([^=]+) = (\d+)"
FORMS = [
    (r"What comes (after|before) (\d+)\?", _next_to),
    (r"What is the remainder of (\d+) divided by (\d+)\?", lambda p, a, b: p.divide(int(a), int(b))[1]),
    (r"What is the average of (\d+), (\d+) and (\d+)\?", _average),
    (r"What is (\d+)% of (\d+)\?", _percent),
    (r"What is (\d+)/(\d+) of (\d+)\?", _fraction),
    (r"What is ([-0-9+*() ]+)\?", lambda p, text: p.value(text)),
    (r"Which number makes \? \+ (\d+) = (\d+) true\?", lambda p, a, total: p.take(int(total), int(a))),
    (r"If (\d+)x \+ (\d+) = (\d+), what is x\?", _equation),
    (r"Which number is (largest|smallest)\? (-?\d+) (-?\d+) (-?\d+) (-?\d+)", _largest),
    (r"Which is (larger|smaller), (\d+) or (\d+)\?", _largest),
    (r"Which is (largest|smallest), (\d+), (\d+) or (\d+)\?", _largest),
    (r"Write (\d+) in binary\.", lambda p, number: _to_binary(p, int(number))),
    (r"Write binary ([01]+) in decimal\.", _from_binary),
    (r"Write the digits of (\d+) backwards\.", _backwards),
    (r"True or false: ([^=]+) = (\d+)", _claim),
    (r"Fill in the blank: (___|\d+) ([-+]) (___|\d+) = (\d+)", _blank),
    (rf"Find the wrong step: {_STEP} {_STEP} {_STEP}", _wrong_step),
    (r"Put <, > or = between ([^<>=]+) and ([^.]+)\.", _relate),
]
"""Forms of questions of `binary` and `math_mc`, the latter's without options, and how each is solved."""


def solve(question: str) -> tuple[str, int]:
    """Gives the answer to a question, as text, and the steps it took."""
    for form, solver in FORMS:
        match = re.fullmatch(form, question)
        if match:
            pencil = Pencil()
            answer = solver(pencil, *match.groups())
            return str(answer), pencil.steps
    raise ValueError(f"not a question of arithmetic: {question}")
