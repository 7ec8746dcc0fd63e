"""The Makefile in miniature: the chain closes, nothing is done twice, a lost file rebuilds what hangs on it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
VENV = Path(sys.executable).parent.parent
DOMAINS = """\
domains:
  - {name: arithmetic, skill: binary, levels: [1, 2]}
  - {name: sequences, skill: sequence_predict, levels: [1]}
"""


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """`loop("target")` runs make on a small table and returns its output; the same folder for the whole module."""
    if not shutil.which("make") or not (VENV / ".ready").exists():
        pytest.skip("needs make and an environment that make setup made")
    folder = tmp_path_factory.mktemp("loop")
    (folder / "domains.yaml").write_text(DOMAINS)
    (folder / "train.json").write_text('{"max_steps": 4, "batch_size": 4, "num_threads": 1}')
    settings = {"OUT": folder / "out", "DOMAINS": folder / "domains.yaml", "CONFIG": folder / "train.json"}
    settings |= {"VENV": VENV, "NUM": 45, "EVAL": 8, "SANDBOX": "native-ns"}
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FRONTIER_")}

    def make(target="loop"):
        command = ["make", "--no-print-directory", target, *(f"{key}={value}" for key, value in settings.items())]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    make.out = folder / "out"
    return make


def ran(output):
    """The frontier commands that make ran, by their words and the round they are for."""
    lines = [line for line in output.splitlines() if "bin/frontier " in line and not line.startswith("@")]
    return [" ".join(line.split("bin/frontier ", 1)[1].split()[:2]) for line in lines]


def test_the_loop_closes_and_ends_with_a_table(loop):
    output = loop()
    assert "mean over skills" in output
    assert ran(output).count("reweight " + str(loop.out / "round1/telemetry.jsonl")) == 1
    page = (loop.out / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert (loop.out / "answer.txt").exists()
    assert (loop.out / "release" / "current").resolve().is_dir()
    for name in ("round0/train", "round1/policy", "round2/eval"):
        meta = json.loads((loop.out / f"{name}.jsonl.meta.json").read_text())
        assert meta["data"]["num_records"] > 0


def test_a_second_make_has_nothing_to_do(loop):
    loop()
    assert "Nothing to be done for 'loop'" in loop()


def test_a_lost_file_rebuilds_only_what_hangs_on_it(loop):
    loop()
    (loop.out / "round2" / "valid.jsonl").unlink()
    words = ran(loop())
    assert [word.split()[0] for word in words][:2] == ["validate", "synth"]
    assert not any(word.startswith(("synth gen", "synth verify", "reweight", "telemetry", "model")) for word in words)
    assert "Nothing to be done for 'loop'" in loop()


def test_the_lineage_of_the_last_run_goes_back_to_the_seeds(loop):
    loop()
    command = [VENV / "bin" / "frontier", "lineage", "show", str(loop.out / "round2" / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "round0/candidates.jsonl  synth gen seed 0" in done.stdout
    assert "round2/policy.jsonl  reweight" in done.stdout
    assert "model  model init seed 0" in done.stdout
