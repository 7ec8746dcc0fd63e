"""The fault matrix of docs/faults.md: each test it names exists; and the faults that no other file tries."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import shutil
import signal
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from frontier_core.errors import FrontierError
from frontier_core.jsonl import read_rows
from frontier_core.lake import Lake, verify
from frontier_core.lake_write import add
from frontier_core.lineage import chain
from frontier_ops.jobs.job import JobSpec, State
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore
from frontier_ops.stage_files import StageWriter, Target

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))
from syscalls import CALLS, STRACE, killed_at

needs_strace = pytest.mark.skipif(STRACE is None, reason="no strace on this machine (apt-get install strace)")
ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w/]+\.py)`::(test_\w+)")


def test_every_row_names_tests_that_exist():
    text = (ROOT / "docs/faults.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 21))
    known: dict[str, set[str]] = {}
    for row in rows:
        named = NAMED.findall(row)
        assert len(named) == row.count("::") > 0, row
        for file, test in named:
            if file not in known:
                tree = ast.parse((ROOT / "tests" / file).read_text())
                known[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert test in known[file], f"{file}::{test}"


def _write(folder: Path, word: str) -> None:
    with StageWriter(Target(output=str(folder / "out.jsonl"), pipe=None), "synth gen", [], producer="x") as writer:
        for number in range(3):
            content = [{"role": "user", "content": f"{word} {number}"}]
            writer.accept({"messages": content, "metadata": {"skill": "s"}})


def _complaint(action) -> str:
    try:
        action()
    except (FrontierError, OSError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_call_of_a_commit_leaves_the_old_file_and_no_temp_file(tmp_path, monkeypatch, call, code):
    _write(tmp_path, "old")
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = getattr(os, call)
    for number in range(1, 20):
        count = 0

        def failing(*arguments, number=number, **more):
            nonlocal count
            count += 1
            if count == number:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            message = _complaint(lambda: _write(tmp_path, "new"))
        if not message:
            break
        assert "out.jsonl" in message or os.strerror(code) in message
        now = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert sorted(now) == sorted(old)  # no temp file
        # The data may be new already: then the sidecar, written last, does not fit, and the verification says so.
        assert now["out.jsonl.meta.json"] == old["out.jsonl.meta.json"] or b"new 0" in now["out.jsonl"]
    assert number > 2
    assert b"new 0" in (tmp_path / "out.jsonl").read_bytes()


def test_a_tail_of_nul_bytes_costs_its_line_only(tmp_path):
    """What ext4 and xfs leave of an append when the power goes: the length, and zeros for bytes."""
    path = tmp_path / "a.jsonl"
    line = b'{"messages":[{"role":"user","content":"a"}]}\n'
    for tail in (b"\0" * 30, line[:20] + b"\0" * 25, b"\0"):
        path.write_bytes(line * 2 + tail)
        rows = list(read_rows(str(path)))
        assert [row.problem is None for row in rows] == [True, True, False]
        assert rows[2].number == 3


def test_a_file_cut_at_a_line_border_no_longer_fits_its_sidecar(tmp_path):
    _write(tmp_path, "old")
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    assert [link.status for link in chain(path)] == ["changed"]


def test_a_worker_that_stood_still_is_alive_and_ends_its_job_itself(tmp_path):
    """SIGSTOP for as long as anybody likes: there is no time-out that could take the job away."""
    store = JobStore(tmp_path)
    store.submit([JobSpec(type=JobType.REPORT, argv=("true",))])
    read, write = os.pipe()
    worker = os.fork()
    if worker == 0:
        mine = JobStore(tmp_path)
        claim = mine.claim("w")
        os.write(write, b"x")
        os.kill(os.getpid(), signal.SIGSTOP)
        mine.finish(claim, State.COMPLETED)
        os._exit(0)
    os.read(read, 1)
    os.waitpid(worker, os.WUNTRACED)
    assert store.reclaim() == []
    assert store.claim("other") is None
    os.kill(worker, signal.SIGCONT)
    os.waitpid(worker, 0)
    assert (store.get("report-1").state, store.get("report-1").attempt) == ("completed", 1)
    store.close()
    os.close(read)
    os.close(write)


@needs_strace
def test_a_commit_killed_at_any_system_call_leaves_the_old_file_or_the_new_and_the_next_one_cleans_up(tmp_path):
    _write(tmp_path, "old")
    names, old = {path.name for path in tmp_path.iterdir()}, (tmp_path / "out.jsonl").read_bytes()
    seen = set()
    for call in CALLS:
        number = 1
        while killed_at(call, number, lambda: _write(tmp_path, "new")):
            data = (tmp_path / "out.jsonl").read_bytes()
            described = json.loads((tmp_path / "out.jsonl.meta.json").read_bytes())["data"]["sha256"]
            fits = described == sha256(data).hexdigest()
            # Data moves first: new data under the old sidecar is seen for what it is; the reverse can't be.
            assert fits or data != old
            assert [link.status for link in chain(tmp_path / "out.jsonl")] == ["ok" if fits else "changed"]
            seen.add((data == old, fits))
            for path in tmp_path.iterdir():
                assert path.name in names or re.fullmatch(r"\.out\.jsonl(\.meta\.json)?\.\d+\.tmp", path.name)
            _write(tmp_path, "old")
            assert {path.name for path in tmp_path.iterdir()} == names
            assert (tmp_path / "out.jsonl").read_bytes() == old
            number += 1
        _write(tmp_path, "old")
    assert seen == {(True, True), (False, False), (False, True)}


@needs_strace
def test_a_lake_s_writer_killed_at_any_system_call_leaves_one_of_its_two_states(tmp_path):
    """Every seventh call of each kind, its neighbours are alike; FRONTIER_SWEEP=1 takes all."""
    stride = 1 if os.environ.get("FRONTIER_SWEEP") else 7
    for name in ("old", "new"):
        _write(tmp_path, name)
        os.rename(tmp_path / "out.jsonl", tmp_path / f"{name}.jsonl")
    lake, victim, states = tmp_path / "lake", tmp_path / "victim", set()
    add(lake, [str(tmp_path / "old.jsonl")])
    num_kills = 0
    for call in CALLS:
        number = 1 + len(call) % stride
        while True:
            shutil.copytree(lake, victim)
            is_hit = killed_at(call, number, lambda: add(victim, [str(tmp_path / "new.jsonl")]))
            assert verify(victim, deep=True).problems == []
            states.add(Lake.open(victim).num_records)
            add(victim, [str(tmp_path / "new.jsonl")])
            assert (Lake.open(victim).num_records, verify(victim).leftovers) == (6, [])
            shutil.rmtree(victim)
            if not is_hit:
                break
            num_kills += 1
            number += stride
    assert states == {3, 6}
    assert num_kills > 5
