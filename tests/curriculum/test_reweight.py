"""Telemetry files in, policy records out: round by round, schema by schema."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import orjson
import pytest

from curriculum.reweight import reweight
from frontier_core.allocation import read_policy
from frontier_core.domains import Domain
from frontier_core.errors import ConfigError, DataError
from frontier_core.schemas import load_schema

DOMAINS = [
    Domain(name="arithmetic", skill="binary", levels=(1, 2)),
    Domain(name="syllables", skill="syllo", levels=(1,), weight=2.0),
]


def telemetry(path: Path, *rounds: int, reverse: bool = False, mark: bool = True) -> Path:
    lines = []
    for number in rounds:
        for tag, hits, loss in (
            ("skill=binary,level=1", 30 + 3 * number, 1.0 - 0.3 * number),
            ("skill=binary,level=2", 4 * number, 2.0 - 0.5 * number),
            ("skill=syllo,level=1", 1, 3.0),
        ):
            key = {"run_id": f"r{number}", "step_from": 1, "step_to": 9, "tag": tag}
            key |= {"round": number} if mark else {}
            lines += [
                key | {"metric": "accuracy", "n": 40, "sum": hits, "sum_sq": hits, "successes": hits, "trials": 40}
            ]
            lines += [
                key | {"metric": "loss", "n": 1, "sum": loss + d, "sum_sq": (loss + d) ** 2} for d in (-0.1, 0.1, 0.3)
            ]
    data = b"".join(orjson.dumps(line) + b"\n" for line in (reversed(lines) if reverse else lines))
    path.write_bytes(data)
    return path


def write(path: Path, records: list) -> Path:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def test_every_line_keeps_the_schema_and_the_weights_sum_to_one(tmp_path: Path) -> None:
    records = reweight(telemetry(tmp_path / "t.jsonl", 0, 1), DOMAINS)
    validator = jsonschema_rs.validator_for(load_schema("policy_v1"))
    assert all(validator.is_valid(orjson.loads(orjson.dumps(record))) for record in records)
    assert [record["tag"] for record in records] == [
        "skill=binary,level=1",
        "skill=binary,level=2",
        "skill=syllo,level=1",
    ]
    assert sum(record["weight"] for record in records) == pytest.approx(1, abs=1e-9)
    assert {record["round"] for record in records} == {2}


def test_three_rounds_at_once_give_what_three_calls_give_bit_for_bit(tmp_path: Path) -> None:
    at_once = reweight(telemetry(tmp_path / "all.jsonl", 0, 1, 2), DOMAINS)
    previous = None
    for number in range(3):
        records = reweight(telemetry(tmp_path / f"t{number}.jsonl", number), DOMAINS, previous)
        previous = write(tmp_path / f"p{number}.jsonl", records)
    assert orjson.dumps(records) == orjson.dumps(at_once)


def test_rounds_already_counted_are_passed_over(tmp_path: Path) -> None:
    first = write(tmp_path / "p1.jsonl", reweight(telemetry(tmp_path / "t0.jsonl", 0), DOMAINS))
    only_new = reweight(telemetry(tmp_path / "t1.jsonl", 1), DOMAINS, first)
    assert reweight(telemetry(tmp_path / "t01.jsonl", 0, 1), DOMAINS, first) == only_new
    with pytest.raises(DataError, match=r"t0.jsonl: holds rounds up to 0; the previous policy counts them already"):
        reweight(tmp_path / "t0.jsonl", DOMAINS, first)


def test_the_order_of_telemetry_lines_changes_no_bit(tmp_path: Path) -> None:
    forward = reweight(telemetry(tmp_path / "a.jsonl", 0, 1, 2), DOMAINS)
    assert reweight(telemetry(tmp_path / "b.jsonl", 0, 1, 2, reverse=True), DOMAINS) == forward


def test_lines_without_a_round_count_as_the_next_one(tmp_path: Path) -> None:
    path = telemetry(tmp_path / "t.jsonl", 0, mark=False)
    first = write(tmp_path / "p1.jsonl", reweight(path, DOMAINS))
    assert {record["round"] for record in reweight(path, DOMAINS, first)} == {2}


def test_a_bad_previous_line_is_named(tmp_path: Path) -> None:
    records = reweight(telemetry(tmp_path / "t.jsonl", 0), DOMAINS)
    records[1]["weight"] = None
    with pytest.raises(DataError, match=r"p.jsonl:2 /weight: must be a number"):
        reweight(telemetry(tmp_path / "t1.jsonl", 1), DOMAINS, write(tmp_path / "p.jsonl", records))


def test_telemetry_about_no_known_cell_and_an_unknown_policy_are_refused(tmp_path: Path) -> None:
    path = telemetry(tmp_path / "t.jsonl", 0)
    with pytest.raises(DataError, match="no line is about a cell of the domains"):
        reweight(path, [Domain(name="x", skill="other", levels=(1,))])
    with pytest.raises(ConfigError) as unknown:
        reweight(path, DOMAINS, policy="fronteer")
    assert unknown.value.hint == "did you mean 'frontier'?"


def test_the_policy_file_alone_is_enough_to_go_on(tmp_path: Path) -> None:
    first = reweight(telemetry(tmp_path / "t0.jsonl", 0), DOMAINS)
    lines = read_policy(write(tmp_path / "p.jsonl", first))
    assert [line.to_record() for line in lines] == first
