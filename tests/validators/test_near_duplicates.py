"""Near-duplicates are found and named, nothing else is, and the order of the texts changes nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontier_core.errors import ConfigError
from validators.near_duplicates import NearDuplicateFilter, NearDuplicates, Twin, bands_for, grouped, jaccard, text_of

WORDS = [f"w{number}" for number in range(2000)]


def article(rng: random.Random, num: int = 100) -> list[str]:
    return rng.choices(WORDS, k=num)


def similarity(left: str, right: str, length: int) -> float:
    sets = []
    for text in (left, right):
        words = text.split()
        sets.append({tuple(words[at : at + length]) for at in range(max(1, len(words) - length + 1))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def planted(num: int, seed: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Texts, a fifth of them copies of an earlier one with up to eight words changed."""
    rng = random.Random(seed)
    texts: list[str] = []
    copies = []
    for number in range(num):
        if number and rng.random() < 0.2:
            source = rng.randrange(number)
            words = texts[source].split()
            for _ in range(rng.randrange(9)):
                words[rng.randrange(len(words))] = rng.choice(WORDS)
            copies.append((source, number))
            texts.append(" ".join(words))
        else:
            texts.append(" ".join(article(rng, rng.randint(20, 150))))
    return texts, copies


@pytest.mark.parametrize(("threshold", "bands"), [(0.8, (12, 5)), (0.5, (17, 2)), (1.0, (4, 5)), (0.01, (128, 1))])
def test_bands_find_what_is_at_the_threshold(threshold: float, bands: tuple[int, int]) -> None:
    assert tuple(bands_for(threshold)) == bands


@pytest.mark.parametrize("threshold", [0, -1, 1.01])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="not above 0 and at most 1"):
        NearDuplicates(threshold)


def test_planted_copies_are_found_and_no_other_pair_is() -> None:
    texts, copies = planted(4000, 5)
    with_near = [pair for pair in copies if similarity(texts[pair[0]], texts[pair[1]], 2) >= 0.8]
    found = NearDuplicates(0.8, length=2)
    found.add(texts)
    pairs, scores = found.pairs()
    group_of = {one: place for place, group in enumerate(grouped(pairs)) for one in group}
    num_found = sum(group_of.get(left, -1) == group_of.get(right, -2) for left, right in with_near)
    assert len(with_near) > 300
    assert num_found / len(with_near) >= 0.98
    for (left, right), score in zip(pairs.tolist(), scores.tolist(), strict=True):
        assert score == pytest.approx(similarity(texts[left], texts[right], 2))
        assert score >= 0.8
    assert found.num_compared < 2 * len(copies)


def test_a_clean_collection_has_none() -> None:
    rng = random.Random(3)
    found = NearDuplicates(0.8)
    found.add([" ".join(article(rng)) for _ in range(2000)])
    assert found.twins() == {}
    assert found.groups() == []


def test_the_order_of_the_texts_changes_no_pair() -> None:
    texts, _ = planted(1500, 8)
    texts += texts[:40]
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    plain, shuffled = NearDuplicates(0.7), NearDuplicates(0.7)
    plain.add(texts)
    for at in range(0, len(order), 100):  # in other portions too
        shuffled.add([texts[place] for place in order[at : at + 100]])
    names = [sorted(texts[one] for one in group) for group in plain.groups()]
    others = [sorted(texts[order[one]] for one in group) for group in shuffled.groups()]
    assert sorted(names) == sorted(others)
    assert len(plain.twins()) == len(shuffled.twins()) == sum(len(group) - 1 for group in names)


def test_a_thousand_copies_are_one_group_of_linear_cost() -> None:
    found = NearDuplicates(0.8)
    found.add(
        ["The same text, again and again."] * 600 + ["the SAME text , again and again ."] * 400 + ["Another one."]
    )
    assert found.groups() == [list(range(1000))]
    assert len(found.pairs()[0]) == 999
    assert found.num_compared == 0
    assert found.twins()[1] == Twin(number=0, similarity=1.0)


def test_a_crowd_just_below_the_threshold_does_not_cost_its_square() -> None:
    rng = random.Random(4)
    frame = article(rng, 60)
    texts = [" ".join([*frame, *article(rng, 22)]) for _ in range(300)]  # every two are alike by about 0.57
    found = NearDuplicates(0.6)
    found.add(texts)
    assert found.groups() == []
    assert found.num_compared < 300 * 299 // 4


def test_texts_without_words_are_like_none() -> None:
    found = NearDuplicates(0.8)
    found.add(["", " \n", "", "?"])
    found.add([""])
    assert (len(found), found.groups()) == (5, [])


def test_nothing_added_nothing_found() -> None:
    assert NearDuplicates(0.8).groups() == []


def test_the_filter_names_the_first_that_a_text_repeats() -> None:
    seen = NearDuplicateFilter(0.8)
    assert seen.add(1, "Delete every file now.") is None
    assert seen.add(2, "Keep every file.") is None
    assert seen.add(7, "delete every  file NOW .") == Twin(number=1, similarity=1.0)
    assert seen.add(8, "") is None


def test_the_filter_finds_what_the_collection_finds() -> None:
    texts, _ = planted(600, 6)
    seen, found = NearDuplicateFilter(0.8), NearDuplicates(0.8)
    found.add(texts)
    flagged = {number for number, text in enumerate(texts) if seen.add(number, text) is not None}
    assert flagged == set(found.twins())


@settings(max_examples=50)
@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50), min_size=1))
def test_jaccard_is_intersection_over_union(left: set[int], right: set[int]) -> None:
    arrays = [np.array(sorted(side), np.uint32) for side in (left, right)]
    assert jaccard(*arrays) == pytest.approx(len(left & right) / len(left | right))


def test_text_of_a_plan_a_chat_and_a_pair() -> None:
    plan = {"instruction": "List.", "output": [{"command": "ls"}]}
    chat = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}
    pair = {"prompt": "2+2?", "chosen": "4", "rejected": "5"}
    assert [text_of(r, "prompt") for r in (plan, chat, pair)] == ["List.", "2+2?", "2+2?"]
    assert [text_of(r, "record") for r in (plan, chat, pair)] == [
        'List.\n[{"command":"ls"}]',
        "2+2?\n4",
        "2+2?\n4\n5",
    ]
