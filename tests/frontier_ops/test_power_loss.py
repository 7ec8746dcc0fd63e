"""Power loss at any moment of a commit: every state that the disk may be left in holds the old or the new, never a mix.

The commits are a file with its sidecar, a checkpoint, a release, and the history of jobs; see tests/fakes/power.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from struct import pack

import pytest

from frontier_ops.deploy import deploy
from frontier_ops.jobs.store import HISTORY, JobStore
from frontier_ops.releases import verify
from trainer.checkpoints import begin_checkpoint, commit_checkpoint, damage, newest_committed

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from power import STRACE, crash_states

pytestmark = pytest.mark.skipif(STRACE is None, reason="no strace on this machine (apt-get install strace)")

JOBS = """
import sys
from pathlib import Path
from frontier_ops.jobs.job import JobSpec, State
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore, Taker
store = JobStore(Path(sys.argv[1]))
store.submit([JobSpec(type=JobType.REPORT, argv=("true",))] * 2)
print("submitted", flush=True)
_, following = store.finish(store.claim("w"), State.COMPLETED, taker=Taker(worker="w"), result="once")
print("first", flush=True)
store.finish(following, State.COMPLETED, is_urgent=False, result="once")
"""
FILE = """
import sys
from pathlib import Path
from frontier_ops.stage_files import StageWriter, Target
with StageWriter(Target(output=sys.argv[1] + "/out.jsonl", pipe=None), "synth gen", [], producer="test") as writer:
    for number in range(3):
        writer.accept({"messages": [{"role": "user", "content": f"new {number}"}], "metadata": {"skill": "s"}})
"""
CHECKPOINT = """
import sys
from pathlib import Path
from trainer.checkpoints import begin_checkpoint, commit_checkpoint
run = Path(sys.argv[1])
temp = begin_checkpoint(run, 2)
(temp / "model.safetensors").write_bytes(b"new weights")
(temp / "state.json").write_text("{}")
commit_checkpoint(temp, run, 2, run_id="r")
print("committed", flush=True)
"""
RELEASE = """
import sys
from pathlib import Path
from frontier_ops.deploy import deploy
deploy(Path(sys.argv[2]), Path(sys.argv[1]))
print("deployed", flush=True)
"""


def test_the_job_store_keeps_what_it_said_and_makes_nothing_up(tmp_path):
    home, after = tmp_path / "home", tmp_path / "after"
    home.mkdir()
    count, before = 0, b""
    for state in crash_states(JOBS, home):
        count += 1
        history = state.files.get(HISTORY, b"")
        if history == before and count % 12:  # only the index differs: every twelfth of those
            continue
        before = history
        state.lay(after)
        store = JobStore(after)
        jobs = [(job.state, job.result) for job in store.jobs()]
        assert store.rebuild() == len(jobs)
        assert [(job.state, job.result) for job in store.jobs()] == jobs
        assert len(jobs) in ((2,) if "submitted" in state.said else (0, 1, 2))
        assert "first" not in state.said or jobs[0] == ("completed", "once")
        assert all((result == "once") == (name == "completed") for name, result in jobs)
        store.close()
    assert count > 50


def test_a_file_is_old_or_new_and_no_new_sidecar_describes_old_bytes(tmp_path):
    folder, after = tmp_path / "data", tmp_path / "after"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", FILE.replace("new ", "old "), str(folder)], check=True)
    old = {name: (folder / name).read_bytes() for name in ("out.jsonl", "out.jsonl.meta.json")}
    states = list(crash_states(FILE, folder))
    new = {name: (folder / name).read_bytes() for name in old}
    assert len(states) > 5
    for state in states:
        state.lay(after)
        data, sidecar = ((after / name).read_bytes() for name in old)
        assert data in (old["out.jsonl"], new["out.jsonl"])
        assert sidecar in (old["out.jsonl.meta.json"], new["out.jsonl.meta.json"])
        assert sidecar == old["out.jsonl.meta.json"] or data == new["out.jsonl"]


def test_the_newest_checkpoint_is_whole(tmp_path):
    run, after = tmp_path / "run", tmp_path / "after"
    run.mkdir()
    temp = begin_checkpoint(run, 1)
    (temp / "model.safetensors").write_bytes(b"old weights")
    commit_checkpoint(temp, run, 1, run_id="r")
    count = 0
    for state in crash_states(CHECKPOINT, run):
        state.lay(after)
        newest = newest_committed(after)
        assert newest is not None
        assert damage(newest) == ""
        weights = (newest / "model.safetensors").read_bytes()
        assert weights == b"new weights" or (weights == b"old weights" and "committed" not in state.said)
        count += 1
    assert count > 10


def _model(folder, weight):
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    (folder / "model.safetensors").write_bytes(pack("<Q", len(header)) + header + pack("<ff", weight, 0))
    return folder


def test_current_points_at_a_whole_release(tmp_path):
    target, after = tmp_path / "target", tmp_path / "after"
    first = deploy(_model(tmp_path / "a", 1), target).release
    _model(tmp_path / "b", 2)
    count = 0
    for state in crash_states(RELEASE, target, str(tmp_path / "b")):
        state.lay(after)
        found = verify(after)
        assert found.ok
        assert "deployed" not in state.said or found.release != first
        count += 1
    assert count > 20
