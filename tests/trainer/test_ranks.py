"""Two processes on a CPU train what one would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

pytest.importorskip("torch")

from tests.trainer.conftest import sums

pytestmark = [pytest.mark.torch, pytest.mark.slow]
ROOT = Path(__file__).parent.parent.parent


def test_two_processes_train_what_one_does(model_dir: Path, write: Callable[..., Path], tmp_path: Path) -> None:
    file = write(sums(24))
    settings = "max_steps=3 batch_size=6 device=cpu num_threads=1 learning_rate=0.005 surprise_metric=entropy"
    words = [word for setting in settings.split() for word in ("--set", setting)]
    command = ["-m", "frontier_cli.main", "train", str(file), "--model", str(model_dir), *words, "--json", "-o"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    sums_of = {}
    for name, start in (("one", []), ("two", launcher)):
        line = [sys.executable, *start, *command, str(tmp_path / name)]
        done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        (said,) = done.stdout.splitlines()
        assert orjson.loads(said)["status"] == "finished"
        lines = map(orjson.loads, (tmp_path / name / "events.jsonl").read_bytes().splitlines())
        sums_of[name] = {(one["tag"], one["metric"]): one for one in lines if one["metric"] == "loss"}
    assert sums_of["one"].keys() == sums_of["two"].keys()
    for key, expected in sums_of["one"].items():
        found = sums_of["two"][key]
        assert (found["n"], found["tokens"]) == (expected["n"], expected["tokens"])
        assert found["sum"] == pytest.approx(expected["sum"], rel=1e-4)
