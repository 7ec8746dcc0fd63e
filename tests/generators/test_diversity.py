"""Near-duplicates are found and named, nothing else is; coverage counts what is there and names what is not."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generators.diversity import Coverage, NearDuplicates, evenness, jaccard, shingles, text_of

WORDS = [f"w{number}" for number in range(2000)]


def article(rng: random.Random) -> list[str]:
    return rng.choices(WORDS, k=100)


def test_shingles_are_word_triples_without_case() -> None:
    assert shingles("Delete EVERY file, now") == {b"delete every file", b"every file ,", b"file , now"}
    assert shingles("Hi") == {b"hi"}
    assert shingles("") == {b""}


def test_exact_repeat_names_the_first() -> None:
    seen = NearDuplicates(0.8)
    assert seen.add(1, "Delete every file now.") is None
    twin = seen.add(7, "delete every  file NOW.")
    assert twin is not None
    assert (twin.number, twin.similarity) == (1, 1.0)


def test_planted_near_duplicates_are_found_and_no_other_pair_is() -> None:
    rng = random.Random(5)
    seen, planted, found, wrong = NearDuplicates(0.7), 0, 0, 0
    kept: list[list[str]] = []
    for number in range(3000):
        copy = bool(kept) and rng.random() < 0.1
        words = list(rng.choice(kept)) if copy else article(rng)
        if copy:
            words[rng.randrange(len(words))] = "changed"
        twin = seen.add(number, " ".join(words))
        planted += copy
        found += copy and twin is not None
        wrong += not copy and twin is not None
        if not copy:
            kept.append(words)
    assert planted > 250
    assert found / planted >= 0.98
    assert wrong == 0


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50), min_size=1))
def test_jaccard_is_intersection_over_union(left: set[int], right: set[int]) -> None:
    assert jaccard(left, right) == pytest.approx(len(left & right) / len(left | right))


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


def test_coverage_counts_cells_and_names_those_without_a_record() -> None:
    counted = Coverage()
    for level, scenario in ((1, "add"), (1, "add"), (2, "compare")):
        metadata = {"skill": "binary", "level": level, "scenario": scenario, "tool_set": ["git", "bash"]}
        counted.add({"messages": [{"role": "user", "content": scenario}], "metadata": metadata})
    report = counted.report([("binary", 1), ("binary", 3)])
    assert report == {
        "num_records": 3,
        "distinct_prompts": 2,
        "cells": [
            {"skill": "binary", "level": "1", "records": 2},
            {"skill": "binary", "level": "2", "records": 1},
        ],
        "skills": [{"skill": "binary", "records": 3, "scenarios": 2, "evenness": 0.918}],
        "tool_sets": {"bash+git": 3},
        "personas": {},
        "missing": ["skill=binary,level=3"],
    }


def test_evenness_is_one_for_equal_counts_and_zero_for_one_kind() -> None:
    assert evenness(Counter(a=5, b=5, c=5)) == pytest.approx(1.0)
    assert evenness(Counter(a=5)) == 0.0
