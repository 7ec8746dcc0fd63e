"""A deploy that is killed, or whose disk fails, at any system call: the old release or the new one, never a mix."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from itertools import count, takewhile
from pathlib import Path

import pytest

from frontier_ops.deploy import deploy
from frontier_ops.releases import current_id, list_releases, verify

STRACE = shutil.which("strace")
DEADLINE_S = 600.0
CALLS = ("write", "fsync", "rename", "link", "symlink", "mkdir", "chmod", "unlink", "rmdir", "sendfile")
SOME = {
    "signal=KILL": [
        ("write", 2),
        ("fsync", 3),
        ("rename", 1),
        ("rename", 5),
        ("link", 2),
        ("symlink", 1),
        ("mkdir", 2),
    ],
    "error=ENOSPC": [("write", 1), ("fsync", 4), ("symlink", 1)],
    "error=EIO": [("sendfile", 1), ("fsync", 6)],
}
"""What every run hits; FRONTIER_SWEEP=1 hits every one of CALLS until a deploy has no further one."""
SHIP = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from frontier_core.errors import FrontierError
from frontier_ops.deploy import deploy
try:
    deploy(Path(sys.argv[2]), Path(sys.argv[3]))
except FrontierError as error:
    sys.exit(error.message)
"""


def checkpoint(folder: Path, weight: int) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen3"}')
    (folder / "tokenizer.json").write_text("{}")
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<ff", weight, 0))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_a_fault_at_any_system_call_of_a_deploy_leaves_the_old_release_or_the_new(tmp_path: Path, fault: str) -> None:
    old, new = checkpoint(tmp_path / "old", 1), checkpoint(tmp_path / "new", 2)
    pristine, target = tmp_path / "pristine", tmp_path / "target"
    old_id, new_id = deploy(old, pristine).release, deploy(new, tmp_path / "elsewhere").release
    num_hit, seen = 0, set()

    def ship(call: str, number: int) -> bool:
        shutil.copytree(pristine, target, symlinks=True)
        is_hit, status, said = ship_under_fault(new, target, call, f"inject={call}:{fault}:when={number}")
        where = (call, number, status, said)
        seen.add(current_id(target))
        assert current_id(target) in (old_id, new_id), where
        assert all(verify(target, release.id).ok for release in list_releases(target)), where
        assert is_hit or (status, current_id(target)) == (0, new_id), where
        assert current_id(target) == new_id or status != 0, where
        assert "Traceback" not in said, where
        assert deploy(new, target).release == new_id == current_id(target), where
        assert verify(target).ok, where
        assert list(target.rglob(".*")) == [], where
        shutil.rmtree(target)
        return is_hit

    if os.environ.get("FRONTIER_SWEEP"):
        for call in CALLS:
            num_hit += sum(1 for _ in takewhile(lambda number, call=call: ship(call, number), count(1)))
        assert num_hit > 20
        assert seen == {old_id, new_id}
    else:
        assert all(ship(call, number) for call, number in SOME[fault])


def ship_under_fault(new: Path, target: Path, call: str, inject: str) -> tuple[bool, int, str]:
    """Deploys with one call failing; gives whether there was such a call, the status, and what was said."""
    trace = target.with_suffix(".trace")
    done = subprocess.run(
        [str(STRACE), "-f", "-qq", "-o", str(trace), "-e", f"trace={call}", "-e", inject,
         sys.executable, "-B", "-c", SHIP, str(Path(__file__).parents[2]), str(new), str(target)],
        capture_output=True, timeout=DEADLINE_S, check=False, text=True,
    )  # fmt: skip
    seen = trace.read_text()
    return "INJECTED" in seen or "SIGKILL" in seen, done.returncode, done.stderr
