"""A lake as training data: the state a run began with, its order, and a policy over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("torch")

from frontier_core import lake_write
from frontier_core.allocation import PolicyLine
from frontier_core.errors import ConfigError, UsageError
from frontier_core.jsonl import write_records
from frontier_ops.training import resolve_config, train
from tests.trainer.conftest import chat, sums
from trainer.config import TrainingResult
from trainer.dry_run import plan_run
from trainer.sources import pinned, rows_of, stream_source

pytestmark = pytest.mark.torch


def add(folder: Path, records: list[Any]) -> None:
    file = folder / "new.jsonl"
    write_records(file, records)
    lake_write.add(folder / "lake", [str(file)])


def run(folder: Path, model: Path, name: str, **settings: Any) -> TrainingResult:
    given = {"batch_size": 4, "max_steps": 4, "device": "cpu", "num_threads": 1, "profile": "plain"} | settings
    output = str(folder / name)
    config, origins = resolve_config(files=[str(folder / "lake")], model=str(model), output=output, overrides=given)
    return train(config, origins=origins)


def tokens_by_tag(run_dir: Path) -> dict[str, int]:
    lines = map(orjson.loads, (run_dir / "events.jsonl").read_bytes().splitlines())
    found: dict[str, int] = {}
    for line in lines:
        if line["metric"] == "loss":
            found[line["tag"]] = found.get(line["tag"], 0) + line["n"]
    return found


def test_a_run_reads_the_state_of_the_lake_it_began_with(model_dir: Path, tmp_path: Path) -> None:
    add(tmp_path, sums(10))
    whole = run(tmp_path, model_dir, "run", save_every_steps=2, keep_last=3)
    (tmp_path / "run" / "checkpoint-4" / "optimizer.pt").write_bytes(b"torn")
    add(tmp_path, sums(10, seed=9))
    resumed = run(tmp_path, model_dir, "run", save_every_steps=2, keep_last=3)
    assert resumed.summary["resumed_from_step"] == 2
    assert resumed.final_loss == whole.final_loss
    sidecar = orjson.loads((tmp_path / "run.meta.json").read_bytes())
    assert sidecar["params"]["config"]["train_files"] == [f"{tmp_path / 'lake'}@1"]
    assert any(entry["path"].endswith("00000001.json") for entry in sidecar["inputs"])
    newer, _ = resolve_config(
        files=[str(tmp_path / "lake")], model=str(model_dir), output=str(tmp_path / "newer"), overrides={}
    )
    assert plan_run(newer)["config"]["train_files"]["value"] == [f"{tmp_path / 'lake'}@2"]


def test_a_policy_draws_from_a_lake(model_dir: Path, tmp_path: Path) -> None:
    add(
        tmp_path,
        [chat(f"{a} + 1?", str(a + 1)) for a in range(20)] + [chat(f"Say {a}", "x", "say", 2) for a in range(20)],
    )
    policy = tmp_path / "policy.jsonl"
    lines = [
        PolicyLine(tag=tag, weight=weight, previous=0.5, reason="by hand")
        for tag, weight in (("skill=add,level=1", 0.0), ("skill=say,level=2", 1.0))
    ]
    write_records(policy, [line.to_record() for line in lines])
    assert run(tmp_path, model_dir, "run", policy=str(policy)).success
    assert tokens_by_tag(tmp_path / "run") == {"all": 16, "skill=say,level=2": 16}
    assert (tmp_path / "run" / "weights.jsonl").is_file()


def test_rows_of_a_lake_name_their_shard_and_line(tmp_path: Path) -> None:
    records = [chat("1 + 2?", "3"), chat("2 + 2?", "4")]
    add(tmp_path, records)
    rows = list(rows_of(tmp_path / "lake"))
    assert [row.record["messages"] for row in rows] == [record["messages"] for record in records]
    assert [row.number for row in rows] == [1, 2]
    assert Path(rows[0].path).is_file()


def test_folders_that_are_no_lake_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(UsageError, match="is a folder, but no lake"):
        pinned([str(tmp_path / "other")], tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="the lake is empty"):
        list(rows_of(pinned([str(tmp_path / "empty")], tmp_path / "run")[0]))


def test_a_stream_has_one_lake_or_files(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    lake = str(tmp_path / "lake")
    assert stream_source(["a.jsonl", "b.jsonl"]) == {"files": ["a.jsonl", "b.jsonl"]}
    assert stream_source([lake]) == {"lake": lake}
    with pytest.raises(ConfigError, match="a stream draws from one lake, or from files"):
        stream_source([lake, "a.jsonl"])
