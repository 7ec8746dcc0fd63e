"""A resumed run draws what an undisturbed one would, wherever its policy changed and its blocks begin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frontier_core.jsonl import write_records
from tests.trainer.conftest import chat
from trainer.config import TrainerConfig
from trainer.data import Example
from trainer.draws import StreamDraws

A, B = "skill=a,level=1", "skill=b,level=1"
Found = list[list[int]]


def write_policy(path: Path, a: float, b: float) -> None:
    lines = [
        {"kind": "tag", "tag": tag, "weight": weight, "previous": 0.5, "reason": "r", "evidence": {}}
        for tag, weight in ((A, a), (B, b))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def config(tmp_path: Path) -> TrainerConfig:
    """Sixty records of a, then sixty of b; 48 to a step, so that steps straddle the borders of 1,024."""
    records = [chat(f"{skill} {number}", "x", skill) for skill in "ab" for number in range(60)]
    write_records(tmp_path / "data.jsonl", records)
    write_policy(tmp_path / "policy.jsonl", 0.75, 0.25)
    return TrainerConfig(
        model_dir="m",
        train_files=(str(tmp_path / "data.jsonl"),),
        output_dir="o",
        batch_size=48,
        policy=str(tmp_path / "policy.jsonl"),
    )


def draws(config: TrainerConfig, run_dir: Path, first_step: int = 0) -> StreamDraws:
    run_dir.mkdir(exist_ok=True)
    place = config.train_files[0]
    units = [
        (Example(ids=[1, 2], is_supervised=[False, True], tag=A if line <= 60 else B, place=f"{place}:{line}"),)
        for line in range(1, 121)
    ]
    return StreamDraws(config, units, run_dir, first_step)


def share_of_b(steps: Found) -> float:
    places = [place for step in steps for place in step]
    return sum(place >= 60 for place in places) / len(places)


def test_a_policy_holds_from_the_next_block_a_step_reaches(config: TrainerConfig, tmp_path: Path) -> None:
    whole = draws(config, tmp_path / "run")
    before = [whole.at(step) for step in range(6)]
    write_policy(tmp_path / "policy.jsonl", 0.0, 1.0)
    after = [whole.at(step) for step in range(6, 30)]
    assert share_of_b(before + after[:15]) == pytest.approx(0.25, abs=0.01)  # steps 0 to 20, all of block 0
    assert share_of_b(after[16:]) == 1.0  # from step 22 on
    log = [json.loads(line) for line in (tmp_path / "run" / "weights.jsonl").read_text().splitlines()]
    assert [(entry["block"], entry["weights"][B]) for entry in log] == [(0, 60.0), (0, 0.25), (1, 1.0)]


@pytest.mark.parametrize("stopped", [5, 7, 20, 21, 22, 29])
@pytest.mark.parametrize("back", [0, 1, 4])
def test_a_resumed_run_takes_a_policy_where_an_undisturbed_one_does(
    config: TrainerConfig, tmp_path: Path, stopped: int, back: int
) -> None:
    def run(name: str, first: int, last: int) -> Found:
        """Draws steps; before step 6 and before step 24 the policy changes."""
        write_policy(policy, *((0.75, 0.25) if first < 6 else (0.0, 1.0) if first < 24 else (1.0, 0.0)))
        found = []
        part = draws(config, tmp_path / name, first)
        for step in range(first, last):
            if step in (6, 24):
                write_policy(policy, *((0.0, 1.0) if step == 6 else (1.0, 0.0)))
            found.append(part.at(step))
        return found

    policy = tmp_path / "policy.jsonl"
    expected = run("whole", 0, 46)
    begun = run("cut", 0, stopped)
    # What changed after the stop and before the resumption is what a run that was killed later would have left.
    resumed = run("cut", stopped - back, 46)
    assert begun[: stopped - back] + resumed == expected
    logs = [(tmp_path / name / "weights.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_border_passed_without_a_change_stays_so_when_the_run_goes_back(
    config: TrainerConfig, tmp_path: Path
) -> None:
    first = draws(config, tmp_path / "run")
    expected = [first.at(step) for step in range(24)]
    write_policy(tmp_path / "policy.jsonl", 0.0, 1.0)
    again = draws(config, tmp_path / "run", 20)
    assert [again.at(step) for step in range(20, 24)] == expected[20:]
    later = [again.at(step) for step in range(24, 46)]
    assert share_of_b(later[:18]) == pytest.approx(0.25, abs=0.02)  # block 1 was settled: steps up to 41
    assert share_of_b(later[19:]) == 1.0
