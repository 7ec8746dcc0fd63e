"""What must not stand in a text, and what may."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.text_rules import has_signs, repeats, text_findings


def found(text):
    return [(finding.code, finding.severity) for finding in text_findings(text, "/p", may_name_paths=False)]


WARNED = [("personal_data", "warning")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.lee+x@mail.acme.co.uk please", WARNED),
        ("call +49 30 1234 5678 today", WARNED),
        ("call (415) 867-5309 today", WARNED),
        ("the card is 4111 1111 1111 1111.", WARNED),
        ("the card is 3782-822463-10005.", WARNED),
        ("pay to DE89 3704 0044 0532 0130 00", WARNED),
        ("pay to GB82WEST12345698765432", WARNED),
        ("token ghp_" + "a1" * 18, [("secret", "error")]),
        ("key AIza" + "b" * 35, [("secret", "error")]),
        ("xoxb-" + "1234567890-" * 3 + "x", [("secret", "error")]),
        ("hf_" + "Q" * 34, [("secret", "error")]),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", [("secret", "error")]),
        ("C:\\Users\\ann\\notes.txt", [("outside_file", "error")]),
        ("a \N{REPLACEMENT CHARACTER} here", [("encoding_damage", "error")]),
        ("donâ€™t", [("encoding_damage", "error")]),
        ("It began well. " + "and so on " * 20, []),
        ("It began well. " + "again " * 20, [("degenerate", "error")]),
        ("x" * 300 + " " + "again " * 60 + "y" * 300, [("degenerate", "error")]),
        ("the same line\n" * 9, [("degenerate", "error")]),
    ],
)
def test_what_is_found(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "write to ann@example.org, bob@mail.example.com or x@shop.test",
        "@property\ndef area(self): return self.w @ self.h",
        "call +1 415 555 0134",
        "the card is 4111 1111 1111 1112",
        "pay to DE88 3704 0044 0532 0130 00",
        "4532015112830366 + 1 = 4532015112830367",
        "101101 110100 000111 101010 = ?",
        "on 2024-01-31 12:30:45 it was 3.14159265358979",
        "192.168.100.200 and 10.0.0.1",
        "1 2 3 4 5 6 7 8 9 10 11 12",
        "Ärger mit Café, naïve Ämter: São Paulo — “quoted” 🤔🤔🤔🤔",
        "see docs/home/x and https://example.org/media/a.png",
        "ha ha ha, no no no",
        "sk-learn, gh_pages, task-list, disk-usage, a-b-c",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
        "-" * 60,
        "for i in range(10):\n    print(i)\n    print(i)\n    print(i)\n",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert found(text) == []


@given(
    st.lists(st.sampled_from(["a", "b@c.de", "x", "\N{REPLACEMENT CHARACTER}", "+49 30 1234567", "AKIA"]), max_size=5)
)
def test_a_piece_of_many_texts_has_the_signs_of_each(texts):
    joined = "\n".join(texts).encode()
    assert has_signs(joined) >= any(has_signs(text.encode()) for text in texts)


PROSE = " ".join(f"word{number}" for number in range(200))


@pytest.mark.parametrize("place", [0, 1, 7, 63, 100, 101, 102, 103, 104, 105, 106, 107, 199])
def test_a_word_eight_times_in_a_row_is_seen_wherever_it_stands(place):
    words = PROSE.split()
    assert found(" ".join([*words[:place], *["no"] * 8, *words[place:]])) == [("degenerate", "error")]
    assert found(" ".join([*words[:place], *["no"] * 7, *words[place:]])) == []


def test_a_line_eight_times_in_a_row_is_seen_wherever_it_stands_and_blank_lines_do_not_count():
    lines = [f"line {number}" for number in range(20)]
    assert repeats("\n".join([*lines, *["so it goes"] * 8, *lines]))
    assert repeats("\n".join([*lines, *["so it goes", ""] * 8, *lines]))
    assert not repeats("\n".join([*lines, *["so it goes"] * 7, *lines]))
    assert not repeats("\n" * 60)


@given(st.lists(st.sampled_from(["a", "b", "x" * 40, "y" * 41]), min_size=20, max_size=40), st.sampled_from(" \n\t"))
def test_repetition_is_what_the_pattern_says(words, gap):
    text = gap.join(words) + gap + "and forty more characters, all of them different"
    pattern = r"(?:^|\s)(\S{1,40})(?:\s+\1){7,}(?=\s|$)"
    has_lines = gap == "\n" and "\n".join(["y" * 41] * 8) in text
    assert repeats(text) == (bool(re.search(pattern, text)) or has_lines)
