"""From runs to service by the command line: compare, the gate, deploy, and what the audit says of a forced one."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from frontier_core.jsonl import append_line, read_rows, write_records
from frontier_core.lineage import write_sidecar
from frontier_ops.releases import AUDIT, current_id, read_audit
from trainer.checkpoints import begin_checkpoint, commit_checkpoint

WAIT_S = 240.0


def add_checkpoint(run: Path, step: int, model: Path) -> Path:
    temp = begin_checkpoint(run, step)
    shutil.copytree(model, temp, dirs_exist_ok=True)
    return commit_checkpoint(temp, run, step, run_id=run.name)


@pytest.fixture
def runs(tmp_path: Path, tiny_model: Path) -> tuple[str, str]:
    """Two runs of a model that knows nothing; the first has two checkpoints."""
    for name, steps in (("one", (10, 20)), ("two", (10,))):
        (tmp_path / name).mkdir()
        for step in steps:
            add_checkpoint(tmp_path / name, step, tiny_model)
    return "one", "two"


@pytest.mark.torch
@pytest.mark.slow
def test_runs_are_ranked_drawn_and_held_against_what_is_in_service(run, runs, tmp_path: Path) -> None:
    line = "compare one two --skill binary -n 1 --profile plain --json"
    done = run(f"{line} --plot compare.svg")

    ranked = [json.loads(text) for text in done.out.splitlines()]
    assert (done.code, [entry["place"] for entry in ranked]) == (0, [1, 2, 3])
    assert {(entry["run_id"], entry["step"]) for entry in ranked} == {("one", 10), ("one", 20), ("two", 10)}
    assert all(entry["trials"] == {"all": 7, "binary": 7} for entry in ranked)
    assert all(entry["intervals"]["binary"][1] > 0.3 for entry in ranked)
    assert (tmp_path / "compare.svg").read_text().count("<circle") == 6
    assert done.err.count("evaluating") == 3
    assert "evaluating" not in run(line).err

    rows = read_rows(Path(ranked[0]["evaluation"]))
    write_records(tmp_path / "serving.jsonl", [row.record | {"correct": True} for row in rows])
    gated = run(f"{line} --against serving.jsonl")
    (worse, *_) = json.loads(gated.out.splitlines()[0])["worse"]
    assert (gated.code, worse) == (1, "all: 7 problems lost, 0 won (p = 0.00781)")
    assert run(f"{line} --best --against serving.jsonl").out == ""

    gate = f"deploy one --to release --no-probe --eval {ranked[0]['evaluation']} --against serving.jsonl"
    refused = run(gate)
    assert (refused.code, refused.error) == (1, f"error: one: {worse}")
    assert not (tmp_path / "release").exists()
    assert run(f"{gate} --force").code == 0
    told = read_audit(tmp_path / "release")
    assert [(entry["state"], entry["forced"][0]) for entry in told] == [("begin", worse), ("done", worse)]


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    return folder


def test_a_cursed_run_is_not_promoted_unless_forced_and_the_audit_says_so(run, tmp_path: Path) -> None:
    folder = tmp_path / "cursed"
    folder.mkdir()
    add_checkpoint(folder, 5, model_folder(tmp_path / "model"))
    (folder / "result.json").write_text(
        json.dumps({"success": False, "global_step": 5, "error_message": "loss is nan"})
    )
    (folder / "config.resolved.json").write_text("{}")
    write_sidecar(folder, stage="train")

    refused = run("deploy cursed --to release --no-probe")
    assert (refused.code, "the run's verdict is cursed" in refused.error) == (1, True)
    assert "hint: --force promotes it all the same" in refused.err
    assert not (tmp_path / "release").exists()

    forced = run("deploy cursed --to release --no-probe --force --json")
    assert (forced.code, json.loads(forced.out)["release"]) == (0, current_id(tmp_path / "release"))
    done = read_audit(tmp_path / "release")[-1]
    assert (done["action"], done["state"]) == ("deploy", "done")
    assert done["forced"] == ["the run's verdict is cursed: result: the run failed: loss is nan"]


@pytest.mark.parametrize(
    ("word", "code", "state"), [("serving", 0, "serving"), ("rejected", 1, "rejected"), ("loading", 1, "")]
)
def test_waiting_makes_the_exit_code_the_servers_word(run, tmp_path: Path, word: str, code: int, state: str) -> None:
    model_folder(tmp_path / "model")
    target = tmp_path / "release"

    def server() -> None:
        pause = threading.Event()
        for _ in range(int(WAIT_S / 0.01)):
            if current_id(target):
                break
            pause.wait(0.01)
        entry = {"action": "serve", "release": current_id(target), "state": word, "reason": "a reason"}
        append_line(target / AUDIT, {"time": "2999-01-01T00:00:00.000+00:00", **entry})

    thread = threading.Thread(target=server)
    thread.start()
    done = run(f"deploy model --to release --no-probe --json --wait {0.5 if word == 'loading' else WAIT_S}")
    thread.join()

    told = json.loads(done.out)["server"]
    assert (done.code, told["state"], told["reason"]) == (code, state, "a reason" if state else "")
