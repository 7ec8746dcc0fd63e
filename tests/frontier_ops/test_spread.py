"""`--engine ray` of the data stages: the bytes of this process alone. One Ray of this machine for all of it."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from frontier_core.errors import ConfigError, DataError, UsageError
from frontier_ops import parallel_validate
from frontier_ops.spread import open_spread
from frontier_ops.stage_diversity import dedup
from frontier_ops.stage_files import Target
from frontier_ops.stage_generate import choose_domains, gen
from frontier_ops.stage_import import import_files
from frontier_ops.stage_validate import validate
from generators.synth import Plan, plan_requests
from validators.base import GateSettings


@pytest.fixture(scope="module")
def spread():
    pytest.importorskip("ray")
    with open_spread("ray", workers=2) as spread:
        yield spread


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two hundred records, some twice, some that are no records."""
    path = tmp_path_factory.mktemp("spread") / "in.jsonl"
    plan = Plan(requests=plan_requests(choose_domains("", ["binary", "shell_git"]), 200), seed=3)
    gen(plan, Target(output=str(path), pipe=None))
    lines = path.read_bytes().splitlines(keepends=True)
    broken = [b'{"messages": 7}\n', b"{torn\n", b'{"messages":[{"role":"user","content":"a"}]}\n', b"[]\n"]
    path.write_bytes(b"".join([*lines[:90], *broken, *lines[60:], *lines[:5]]))
    return str(path)


def test_work_on_ray_comes_back_in_order_and_is_read_as_it_is_needed(spread):
    read = []

    def parts():
        for number in range(1000):
            read.append(number)
            yield number

    squares = spread.map(lambda number: number * number, parts(), ahead=4)
    assert [next(squares) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(read) <= 9
    squares.close()


def test_a_part_whose_process_dies_is_done_again_and_our_errors_come_back_as_they_were(spread, tmp_path):
    assert list(spread.map(partial(_die_once, str(tmp_path / "mark")), [1, 2, 3])) == [2, 4, 6]
    with pytest.raises(DataError) as error:
        list(spread.map(_refuse, [1]))
    assert (error.value.code, error.value.line, error.value.path) == ("bad", 7, "a.jsonl")


def _die_once(mark, number):
    if number == 2 and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 2


def _refuse(_part):
    raise DataError("no", path="a.jsonl", line=7, code="bad")


@pytest.mark.parametrize("stage", ["gen", "validate", "import", "dedup"])
def test_a_stage_on_ray_gives_the_bytes_of_a_stage_here(spread, records, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(parallel_validate, "MIN_PART_BYTES", 20_000)
    results = []
    for place, where in (("here", None), ("ray", spread)):
        (tmp_path / place).mkdir()
        complaints: list[str] = []
        result = _run(stage, records, tmp_path / place, where, complaints.append)
        files = {path.name: path.read_bytes() for path in (tmp_path / place).glob("*.jsonl")}
        results.append((files, complaints, result.num_in, result.num_out, result.tally.rejects))
    assert results[0] == results[1]
    files, _, num_in, num_out, _ = results[0]
    assert num_out == files["out.jsonl"].count(b"\n")
    assert (stage == "gen") == ("out.rejects.jsonl" not in files)
    assert num_in == (200 if stage == "gen" else 239)


def _run(stage: str, records: str, folder: Path, spread, complain):
    target = Target(output=str(folder / "out.jsonl"), pipe=None)
    if stage == "gen":
        plan = Plan(requests=plan_requests(choose_domains("", ["binary", "shell_git"]), 200), seed=5)
        return gen(plan, target, spread=spread)
    if stage == "validate":
        settings = GateSettings(level="quick")
        return validate(
            records, target, settings=settings, spread=spread, on_reject=lambda line: complain(line.complaint())
        )
    if stage == "import":
        return import_files([records], target, spread=spread, on_reject=complain)
    return dedup(records, target, threshold=0.8, by="record", spread=spread)


def test_a_wrong_engine_and_an_address_without_ray_are_named():
    with pytest.raises(ConfigError, match="unknown engine 'rya'"), open_spread("rya"):
        pass
    with pytest.raises(UsageError, match="--ray-address is for --engine ray"), open_spread("local", address="a:1"):
        pass
