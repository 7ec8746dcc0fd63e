"""The tracker sums up what was judged, counts a file once however often it is judged, and bears many writers."""

import json
import multiprocessing

import pytest

from frontier_core.errors import DataError
from frontier_core.lineage_tracker import read_tracker, summary_of, track


def run(passed, failed, *, validator="gate@1", generator="binary@1", code="bad"):
    entry = {"passed": passed, "failed": failed, "reasons": {code: failed} if failed else {}}
    return {"validator": validator, "stage": "validate", "meta_sha256": "0", "generators": {generator: entry}}


def test_totals_rates_reasons_and_offenders_above_five_percent():
    found = summary_of([run(95, 5), run(90, 10, generator="syllo@1"), run(10, 0, validator="other@1")])
    assert found["summary"] == {
        "total": 210, "passed": 195, "failed": 15, "fail_rate": 0.071429, "top_reasons": {"bad": 15},
    }  # fmt: skip
    assert {name: score["fail_rate"] for name, score in found["generators"].items()} == {
        "binary@1": 0.045455, "syllo@1": 0.1,
    }  # fmt: skip
    assert [(entry["kind"], entry["name"], entry["fail_rate"]) for entry in found["worst"]] == [
        ("generator", "syllo@1", 0.1),
        ("validator", "gate@1", 0.075),
    ]


def test_a_rate_of_exactly_five_percent_is_no_offence():
    assert summary_of([run(95, 5)])["worst"] == []


def test_a_file_judged_again_counts_once(tmp_path):
    path = tmp_path / "status" / "data_lineage.json"
    track({"a.jsonl": run(9, 1)}, path)
    track({"a.jsonl": run(10, 0), "b.jsonl": run(5, 0)}, path)
    before = path.read_bytes()
    track({"a.jsonl": run(10, 0)}, path)
    assert path.read_bytes() == before
    assert read_tracker(path)["summary"]["total"] == 15
    assert sorted(item.name for item in path.parent.iterdir()) == [".data_lineage.json.lock", "data_lineage.json"]


def write_some(path, number):
    for index in range(10):
        track({f"{number}-{index}.jsonl": run(1, 0)}, path)


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "data_lineage.json"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_some, args=(path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert read_tracker(path)["summary"]["total"] == 40


def test_an_absent_tracker_is_empty_and_a_broken_one_is_named(tmp_path):
    assert read_tracker(tmp_path / "none.json")["summary"]["total"] == 0
    for text in ("{", json.dumps({"schema": "other"})):
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(DataError, match=r"t.json: the tracker is not"):
            read_tracker(tmp_path / "t.json")
