import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.skills.dialogue import PromptError
from validators.skills.expression import evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7 + 5", 12),
        ("3 + 4 * 5", 23),
        ("(3 + 4) * 5", 35),
        ("10 - 3 - 2", 5),
        ("-3 - 8", -11),
        ("2 * -3", -6),
        ("2^5", 32),
        ("2 * 3^2", 18),
        ("((7))", 7),
        (" 7 ", 7),
        ("0 * 5", 0),
    ],
)
def test_expressions_have_their_school_value(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7 +",
        "7 5",
        "(7",
        "7)",
        "7 / 5",
        "x + 1",
        "2^-1",
        "9^9^9",
        "((9^64)^64)^64",
        "1 +" * 60,
        "٧ + ٥",
        "()",
        "2^5000",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(PromptError):
        evaluate(text)


def test_long_products_are_bounded():
    with pytest.raises(PromptError):
        evaluate("(9^60)^20 * (9^60)^20 * (9^60)^20")


@given(st.integers(-(10**20), 10**20), st.integers(0, 10**20), st.integers(0, 10**20))
def test_large_numbers_are_exact(a, b, c):
    assert evaluate(f"{a} + {b} * {c}") == a + b * c
