"""Words and n-grams of many texts at once are those of each text alone, whatever the script."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators.shingles import blocks, hash_words, ngrams, shingle


def words(text: str) -> list[int]:
    return hash_words([text]).values.tolist()


@pytest.mark.parametrize(
    ("left", "right", "num"),
    [
        ("Delete EVERY file, now", "delete  every\tfile , now\n", 5),
        ("snake_case a1", "SNAKE_CASE A1", 2),
        ("É", "e\u0301", 1),
        ("北京天气", "北 京 天 气", 4),
        ("“Fine” — yes…", "“ fine ” — YES …", 6),
        ("a\u00a0b\u2003c", "a b c", 3),
        ("a\0b", "a b", 2),
    ],
)
def test_spellings_of_the_same_words_have_the_same_hashes(left: str, right: str, num: int) -> None:
    assert words(left) == words(right)
    assert len(words(left)) == num


@pytest.mark.parametrize(("left", "right"), [("7 + 5", "7 - 5"), ("ab c", "a bc"), ("ab", "ba"), ("straße", "strase")])
def test_different_words_have_different_hashes(left: str, right: str) -> None:
    assert words(left) != words(right)


def test_a_text_has_the_n_grams_inside_it_and_a_short_one_is_one() -> None:
    found = shingle(hash_words(["a b c d", "a b", "", "b c d", "a"]), 3)
    assert found.starts.tolist() == [0, 2, 3, 3, 4, 5]
    abc, bcd, ab, again, a = found.values.tolist()
    assert again == bcd
    assert len({abc, bcd, ab, a}) == 4


TEXTS = st.lists(st.text(st.sampled_from("ab .É北🤔\n+\0"), max_size=12), min_size=1, max_size=8)


@settings(max_examples=60)
@given(TEXTS)
def test_texts_do_not_touch_each_other(texts: list[str]) -> None:
    together = hash_words(texts)
    alone = [hash_words([text]).values.tolist() for text in texts]
    assert [together.values[a:b].tolist() for a, b in zip(together.starts, together.starts[1:], strict=False)] == alone
    both = shingle(together, 2)
    assert [both.values[a:b].tolist() for a, b in zip(both.starts, both.starts[1:], strict=False)] == [
        shingle(hash_words([text]), 2).values.tolist() for text in texts
    ]


def test_hashes_are_the_same_on_every_machine() -> None:
    found = hash_words(["Hello, world"])
    assert [f"{value:016x}" for value in found.values.tolist()] == [
        "6a25d73bfd39bd62",
        "6134f5f0869a04d1",
        "5d1eb61335089424",
    ]
    assert [f"{value:016x}" for value in ngrams(found, 2).tolist()][:1] == ["19b95a2612ad5a31"]


def test_blocks_cover_every_text_once() -> None:
    texts = ["x" * 10] * 25
    assert [(part.start, part.stop) for part in blocks(texts, 100)] == [(0, 10), (10, 20), (20, 25)]
    assert list(blocks([], 100)) == []
