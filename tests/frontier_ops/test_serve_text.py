from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_ops.serve_text import MAX_HELD_TOKENS, UNFINISHED, StopFilter, TokenText


def bytes_to_text(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")


def pieces_of(data: bytes) -> list[str]:
    text = TokenText(bytes_to_text)
    return [*(text.push(byte) for byte in data), text.flush()]


def filtered(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    stop = StopFilter(stops)
    shown = "".join(stop.push(piece) for piece in pieces)
    return shown + stop.flush(), stop.is_stopped


def test_a_character_split_over_tokens_comes_whole() -> None:
    assert pieces_of("🤔é!".encode()) == ["", "", "", "🤔", "", "é", "!", ""]


@given(st.text())
def test_pieces_joined_are_the_text_and_no_piece_is_broken(text: str) -> None:
    pieces = pieces_of(text.encode())

    assert "".join(pieces) == text
    assert UNFINISHED in text or all(UNFINISHED not in piece for piece in pieces)


def test_a_token_without_text_costs_the_next_one_no_space() -> None:
    words = ["one", "", "two"]
    text = TokenText(lambda ids: " ".join(words[i] for i in ids if words[i]))

    assert [text.push(0), text.push(1), text.push(2)] == ["one", "", " two"]


def test_bytes_that_never_make_a_character_are_shown_after_a_while_and_at_the_end() -> None:
    pieces = pieces_of(b"\xff" * (MAX_HELD_TOKENS + 1))

    assert pieces == [""] * (MAX_HELD_TOKENS - 1) + [UNFINISHED * MAX_HELD_TOKENS, "", UNFINISHED]


def test_a_decoder_that_drops_a_leading_space_loses_none_between_pieces() -> None:
    words = ["▁one", "▁two", "three"]
    text = TokenText(lambda ids: "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" "))

    assert [text.push(0), text.push(1), text.push(2)] == ["one", " two", "three"]


@pytest.mark.parametrize(
    ("stops", "pieces", "shown", "is_stopped"),
    [
        (["END"], ["one E", "N", "D two"], "one ", True),
        (["END"], ["one E", "N", "X"], "one ENX", False),
        (["END"], ["one EN"], "one EN", False),
        ([], ["one", " two"], "one two", False),
        (["\n\n", "b"], ["a\n", "b\n\n"], "a\n", True),
        (["aab"], ["aa", "ab"], "a", True),
    ],
)
def test_text_ends_before_the_first_stop_string(
    stops: list[str], pieces: list[str], shown: str, is_stopped: bool
) -> None:
    assert filtered(stops, pieces) == (shown, is_stopped)


def test_only_what_could_become_a_stop_string_is_held_back() -> None:
    stop = StopFilter(["<end>"])

    assert [stop.push("a<e"), stop.push("x<"), stop.push("end")] == ["a", "<ex", ""]


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), st.lists(st.text("abc", max_size=4), max_size=8)
)  # fmt: skip
def test_where_the_text_ends_does_not_depend_on_how_it_was_cut_up(stops: list[str], pieces: list[str]) -> None:
    text = "".join(pieces)
    shown, is_stopped = text, False
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            shown, is_stopped = text[: end - max(map(len, complete))], True
            break

    assert filtered(stops, pieces) == (shown, is_stopped)
    assert filtered(stops, [text]) == (shown, is_stopped)
