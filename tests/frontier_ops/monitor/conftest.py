"""A home folder of two rounds, made of the files that the loop leaves."""

from __future__ import annotations

import json

import pytest

from frontier_core.jsonl import write_records
from frontier_core.lineage import write_sidecar
from frontier_ops.jobs.job import JobSpec, State
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore


def item(number, skill, correct):
    return {"kind": "eval_item", "round": number, "skill": skill, "level": 1, "correct": correct}


def weight(number, skill, value, before, reason):
    return {
        "kind": "tag", "tag": f"skill={skill},level=1", "weight": value, "previous": before, "prior": 0.5, "floor": 0.1,
        "cap": 1.0, "reason": reason, "evidence": {}, "factors": {}, "limits": [], "state": {}, "round": number,
    }  # fmt: skip


@pytest.fixture
def home(tmp_path):
    for number, hits in ((1, 1), (2, 3)):
        folder = tmp_path / f"rounds/{number:04}"
        (folder / "run/checkpoint-20").mkdir(parents=True)
        write_records(folder / "train.jsonl", [{"text": str(number)}])
        write_sidecar(folder / "train.jsonl", stage="synth format", inputs=[])
        items = [item(number, "binary", place < hits) for place in range(4)] + [item(number, "syllo", False)]
        write_records(folder / "eval.jsonl", items)
        write_sidecar(folder / "eval.jsonl", stage="eval", inputs=[folder / "train.jsonl"])
        share = 0.5 + 0.1 * number
        lines = [
            weight(number, "binary", share, share - 0.1, f"reason {number}"),
            weight(number, "syllo", 1 - share, 1.1 - share, "less of it"),
        ]
        write_records(folder / "policy.jsonl", lines)
        events = [
            {"run_id": "r", "step_from": step - 10, "step_to": step, "tag": "all", "metric": "loss", "n": 2, "sum": 4.0}
            for step in (10, 20)
        ]
        write_records(folder / "run/events.jsonl", events)
        result = {"success": True, "global_step": 20, "final_loss": 2.0}
        (folder / "run/result.json").write_text(json.dumps(result))
    store = JobStore(tmp_path)
    store.submit([JobSpec(type=JobType.REPORT, argv=("true",)) for _ in range(2)])
    store.finish(store.claim("w"), State.FAILED, exit_code=3, reason="exit code 3")
    store.close()
    return tmp_path
