"""Whole counts by weight, and what a policy file may say."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier_core.allocation import PolicyLine, allocate, natural_order, read_policy, weights_of
from frontier_core.errors import DataError, UsageError


def test_largest_remainders_get_what_is_left() -> None:
    assert allocate({"a": 0.5, "b": 0.3, "c": 0.2}, 7) == {"a": 4, "b": 2, "c": 1}  # shares 3.5, 2.1, 1.4
    assert allocate({"level=10": 1, "level=2": 1, "level=1": 1}, 5) == {"level=10": 1, "level=2": 2, "level=1": 2}
    assert allocate({"a": 2.0}, 0) == {"a": 0}


@given(
    st.dictionaries(st.text(max_size=4), st.floats(0, 1e6), min_size=1).filter(lambda w: sum(w.values()) > 1e-3),
    st.integers(0, 5000),
)
def test_counts_sum_to_the_number_stay_within_one_of_their_share_and_ignore_order(weights: dict, num: int) -> None:
    counts = allocate(weights, num)
    total = sum(weights.values())
    assert sum(counts.values()) == num
    assert all(abs(counts[tag] - num * weights[tag] / total) < 1 + 1e-6 for tag in weights)
    assert allocate(dict(reversed(weights.items())), num) == counts


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": 2.0, "b": -1.0}])
def test_weights_that_split_nothing_are_refused(weights: dict) -> None:
    with pytest.raises(ValueError, match="can't split 3 records"):
        allocate(weights, 3)


def test_level_ten_comes_after_level_two() -> None:
    assert sorted(["skill=a,level=10", "skill=a,level=2"], key=natural_order) == ["skill=a,level=2", "skill=a,level=10"]


def _write(path: Path, *records: object) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


LINE = PolicyLine(tag="skill=a", weight=0.1 + 0.2, previous=0.5, reason="because", state={"fast": 1 / 3}, round=2)
REST = {"kind": "tag", "tag": "skill=b", "weight": 0.7, "previous": 0.5, "reason": "rest", "evidence": {}}


def test_a_policy_file_reads_back_bit_for_bit(tmp_path: Path) -> None:
    lines = read_policy(_write(tmp_path / "p.jsonl", LINE.to_record(), REST))
    assert lines[0] == LINE
    assert weights_of(lines) == {"skill=a": 0.1 + 0.2, "skill=b": 0.7}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "cell"}, "p.jsonl:2 /kind: kind must be 'tag', not 'cell'"),
        ({"tag": ""}, "p.jsonl:2 /tag: must be a non-empty text"),
        ({"tag": "skill=a"}, "p.jsonl:2 /tag: tag 'skill=a' stands on line 1 already"),
        ({"weight": 1.5}, "p.jsonl:2 /weight: 1.5 is outside [0, 1]"),
        ({"weight": "0.7"}, "p.jsonl:2 /weight: must be a number"),
        ({"weight": True}, "p.jsonl:2 /weight: must be a number"),
        ({"evidence": None}, "p.jsonl:2 /evidence: must be an object"),
        ({"state": []}, "p.jsonl:2 /state: must be an object"),
        ({"limits": "step"}, "p.jsonl:2 /limits: must be a list of texts"),
        ({"round": -1}, "p.jsonl:2 /round: must be a whole number from 0"),
        ({"weight": 0.5}, "p.jsonl: the weights sum to 0.8, not 1"),
    ],
)
def test_a_bad_policy_line_is_named_by_file_line_and_key(tmp_path: Path, change: dict, message: str) -> None:
    path = _write(tmp_path / "p.jsonl", LINE.to_record(), REST | change)
    with pytest.raises(DataError) as refused:
        read_policy(path)
    assert str(refused.value) == f"{tmp_path}/{message}"


def test_a_torn_or_missing_policy_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.jsonl").write_text('{"kind":"tag","tag"')
    with pytest.raises(DataError, match=r"torn.jsonl:1: the line is cut off"):
        read_policy(tmp_path / "torn.jsonl")
    with pytest.raises(UsageError, match="no such file"):
        read_policy(tmp_path / "none.jsonl")
