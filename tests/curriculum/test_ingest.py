"""Logs of each known format become telemetry; what can't be used is said or refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curriculum.ingest import ingest, read_telemetry
from frontier_core.errors import DataError, UsageError
from frontier_core.events import Key, TelemetryLine
from frontier_core.records import TagStats

EVENT = {"run_id": "r0", "step_from": 1, "step_to": 10, "tag": "skill=a,level=1", "metric": "loss", "n": 4, "sum": 6.0,
         "sum_sq": 10.0, "tokens": 30, "round": 0}  # fmt: skip


def item(correct: bool, code: str = "ok", **more: Any) -> dict[str, Any]:
    base = {"kind": "eval_item", "run_id": "r0", "step": 10, "round": 0, "tag": "skill=a,level=1", "skill": "a"}
    return base | {"level": 1, "item_id": "x", "correct": correct, "code": code, "prompt": "p", "answer": "y"} | more


def write(path: Path, *records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def read(*sources: Path | str) -> tuple[list[TelemetryLine], list[str]]:
    notes: list[str] = []
    return list(ingest(sources, on_note=notes.append)), notes


def totals(lines: list[TelemetryLine]) -> dict[Key, TagStats]:
    sums: dict[Key, TagStats] = {}
    for line in lines:
        sums[line.key] = sums.get(line.key, TagStats()) + line.stats
    return sums


def test_evaluation_items_become_accuracy_and_error_counts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "eval.jsonl", item(True), item(False, "wrong_answer"), item(False, "not_a_number"), item(True)
    )
    lines, notes = read(path)
    assert [(line.key.metric, line.stats.n) for line in lines] == [
        ("accuracy", 4),
        ("error:not_a_number", 1),
        ("error:wrong_answer", 1),
        ("refusal", 4),
    ]
    assert lines[0].stats == TagStats(n=4, total=2.0, total_sq=2.0, successes=2, trials=4)
    assert lines[0].key == Key("r0", 10, 10, "skill=a,level=1", "accuracy")
    assert (lines[0].round, lines[0].source, notes) == (0, str(path), [])


def test_events_of_a_run_folder_are_summed_by_key(tmp_path: Path) -> None:
    write(tmp_path / "run" / "events.jsonl", EVENT, EVENT | {"step_from": 11, "step_to": 20}, EVENT)
    lines, _ = read(tmp_path / "run")
    assert [(line.key.step_to, line.stats.n, line.stats.total, line.stats.tokens) for line in lines] == [
        (10, 8, 12.0, 60),
        (20, 4, 6.0, 30),
    ]


def test_a_trainer_state_gives_loss_of_all_data_and_drops_what_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text(
        '{\n "global_step": 30,\n "log_history": [{"step": 10, "loss": 2.5, "lr": 0.1}, {"step": 20, "loss": NaN},'
        ' {"step": 20, "eval_loss": 2.25}, {"step": 30, "loss": 1.5}]}'
    )
    lines, notes = read(path)
    assert [(*line.key[1:], line.stats.total) for line in lines] == [
        (1, 20, "all", "eval_loss", 2.25),
        (1, 10, "all", "loss", 2.5),
        (11, 30, "all", "loss", 1.5),
    ]
    assert notes == [
        f"{path}: 1 other metrics not read (lr)",
        f"{path}: 1 values of loss that are no finite number dropped",
    ]


def test_the_same_content_twice_counts_once_under_any_name(tmp_path: Path) -> None:
    first, copy = write(tmp_path / "a.jsonl", EVENT), write(tmp_path / "b.jsonl", EVENT)
    once, _ = read(first)
    twice, notes = read(first, copy, first)
    assert twice == once
    assert notes == [f"{name}: the same content was read before; counted once" for name in (copy, first)]


def test_a_log_and_the_telemetry_made_from_it_count_once(tmp_path: Path) -> None:
    log, other = write(tmp_path / "run" / "events.jsonl", EVENT), write(tmp_path / "eval.jsonl", item(True))
    lines, _ = read(log, other)
    telemetry = write(tmp_path / "telemetry.jsonl", *(line.to_record() for line in lines))
    again, _ = read(telemetry)
    assert again == lines
    both, notes = read(telemetry, log.parent, other)
    assert both == lines
    assert len(notes) == 2
    reverse, notes = read(other, log, telemetry)
    assert reverse == lines
    assert len(notes) == 2


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.sampled_from("ab"), st.booleans()), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_changes_no_bit(tmp_path: Path, rows: list, random: Any) -> None:
    records = [EVENT | {"sum": total, "tag": f"skill={tag}"} for total, tag, _ in rows]
    records += [item(correct, "wrong_answer") for _, _, correct in rows]
    shuffled = random.sample(records, len(records))
    one, _ = read(write(tmp_path / "one.jsonl", *records))
    two, _ = read(write(tmp_path / "two.jsonl", *shuffled))
    assert [(line.key, line.stats, line.round) for line in one] == [(line.key, line.stats, line.round) for line in two]


def test_the_order_of_sources_changes_nothing(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.jsonl", EVENT), write(tmp_path / "b.jsonl", EVENT | {"sum": 7.0})
    assert read(a, b)[0] == read(b, a)[0]
    assert totals(read(a, b)[0])[read(a)[0][0].key].total == 13.0


def test_a_torn_last_line_is_dropped_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", EVENT)
    with path.open("ab") as file:
        file.write(b'{"run_id":"r0","st')
    lines, notes = read(path)
    assert len(lines) == 1
    assert notes == [f"{path}:2: the last line is cut off; dropped, the lines before it are read"]


def test_a_sum_that_is_no_number_is_dropped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", EVENT)
    for bad in ("NaN", "Infinity"):
        with path.open("a") as file:
            file.write(orjson.dumps(EVENT).decode().replace('"sum":6.0', f'"sum":{bad}') + "\n")
    lines, notes = read(path)
    assert lines[0].stats.n == 4
    assert notes == [f"{path}: 2 lines with a sum that is no finite number dropped"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b"[1]", "x.jsonl:2: the row is an array, not a JSON object"),
        (b'{"hello": 1}', "x.jsonl:2: a line of no known format"),
        (b'{"a": \xff}', "x.jsonl:2: invalid UTF-8 at byte 7 of the line"),
        (orjson.dumps(EVENT | {"n": -1}), "x.jsonl:2 /n: must be a whole number from 0"),
        (orjson.dumps(EVENT | {"sum": "6"}), "x.jsonl:2 /sum: must be a finite number"),
        (orjson.dumps(EVENT | {"sum_sq": -1.0}), "x.jsonl:2 /sum_sq: must be at least 0"),
        (orjson.dumps(EVENT | {"step_from": 11}), "x.jsonl:2 /step_from: is after step_to (10)"),
        (orjson.dumps(EVENT | {"trials": 1, "successes": 2}), "x.jsonl:2 /successes: 2 successes of 1 trials"),
        (orjson.dumps({k: v for k, v in EVENT.items() if k != "run_id"}), "x.jsonl:2 /run_id: is missing"),
        (orjson.dumps(item(True) | {"correct": 1}), "x.jsonl:2 /correct: must be true or false"),
        (orjson.dumps(item(True) | {"run_id": ""}), "x.jsonl:2 /run_id: must be a non-empty text"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(tmp_path: Path, second: bytes, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(orjson.dumps(EVENT) + b"\n" + second + b"\n")
    with pytest.raises(DataError) as refused:
        read(path)
    assert str(refused.value) == f"{tmp_path}/{message}"


def test_a_missing_file_an_empty_one_and_a_folder_that_is_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path / "empty.jsonl")
    with pytest.raises(UsageError, match="is no run's folder"):
        read(tmp_path)


def test_reading_telemetry_refuses_a_line_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", EVENT, item(True))
    with pytest.raises(DataError, match=r"t.jsonl:2 /step_from: is missing"):
        list(read_telemetry(path))


def _telemetry(num: int) -> list[bytes]:
    rows = [
        {"run_id": "r", "step_from": i % 3, "step_to": 9, "tag": f"skill=s{i % 5}", "metric": "loss", "n": 1,
         "sum": 0.1 * i, "sum_sq": 0.01 * i * i, "tokens": i, "round": i % 2}
        for i in range(num)
    ]  # fmt: skip
    return [orjson.dumps(row) for row in rows]


@pytest.mark.parametrize("block", [64, 700, 1 << 20])
@pytest.mark.parametrize(
    "odd", [None, b'{"run_id":"r","step_from":0,"step_to":9,"tag":"skill=s0","metric":"m","n":1,"sum":NaN}']
)
def test_reading_in_blocks_gives_what_reading_by_lines_gives(tmp_path, monkeypatch, block, odd):
    lines = _telemetry(60)
    if odd:
        lines.insert(31, odd)
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    monkeypatch.setattr("curriculum.bulk.BLOCK_BYTES", block)
    fast_notes, slow_notes = [], []
    fast = list(ingest([path], on_note=fast_notes.append))
    monkeypatch.setattr("curriculum.ingest.read_bulk", lambda *_: False)
    slow = list(ingest([path], on_note=slow_notes.append))
    assert fast == slow
    assert fast_notes == slow_notes
    assert sum(line.stats.n for line in fast) == 60


def test_a_telemetry_file_torn_at_any_byte_of_its_last_line_keeps_the_lines_before(tmp_path):
    lines = _telemetry(8)
    path = tmp_path / "t.jsonl"
    whole = b"\n".join(lines)
    for cut in range(len(whole) - len(lines[-1]) + 1, len(whole) + 1):
        path.write_bytes(whole[:cut])
        notes: list[str] = []
        found = list(ingest([path], on_note=notes.append))
        assert sum(line.stats.n for line in found) == (8 if cut == len(whole) else 7)
        assert bool(notes) == (cut != len(whole))


def test_a_bad_line_in_a_block_is_named_with_its_number(tmp_path):
    lines = _telemetry(20)
    lines[13] = lines[13].replace(b'"n":1', b'"n":-1')
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(DataError, match=r"t\.jsonl:14 /n: must be a whole number from 0"):
        list(ingest([path], on_note=lambda _: None))
