"""A run that follows a changing policy, killed and resumed, equals one that was left alone, bit for bit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import resume

pytestmark = [pytest.mark.torch, pytest.mark.slow]
SETTINGS = {"num_steps": 20, "batch_size": 64, "save_every_steps": 3}


def test_killed_run_equals_the_undisturbed_one_across_a_policy_change(tmp_path: Path) -> None:
    import trainer.hf_trainer  # noqa: F401 - once, before forking

    resume.prepare(tmp_path)
    rng = random.Random(1)
    assert resume.wait(resume.in_fork(lambda: resume.train(tmp_path, "undisturbed", **SETTINGS)), 300, rng) == 0
    expected = resume.fingerprint(tmp_path / "undisturbed", 20)
    log = (tmp_path / "undisturbed" / "weights.jsonl").read_text().splitlines()
    assert ['"block":0' in line for line in log] == [True, True, False]
    found = resume.torment(tmp_path, "killed", rng, 2.0, 3, **SETTINGS)
    assert (found["failed"], found["print"]) == (0, expected)
    assert found["kills"] >= 1
