"""Coverage counts what is there and names what is not."""

from __future__ import annotations

from collections import Counter

import pytest

from generators.diversity import Coverage, evenness


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
