"""The terminal goes away under a command, as when an ssh connection drops: a real pseudo-terminal is closed."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from pathlib import Path

import pytest

from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.kinds import JobType
from frontier_ops.jobs.store import JobStore

FRONTIER = Path(sys.executable).parent / "frontier"
DEADLINE_S = 120.0

pytestmark = pytest.mark.skipif(not FRONTIER.exists(), reason="frontier is not installed beside this python")


def on_a_terminal(folder: Path, *words: str) -> tuple[int, int]:
    """Starts a command that leads a session on a terminal of its own; gives its process and the other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
            os.chdir(folder)
            os.execv(words[0], words)
        finally:
            os._exit(126)
    return pid, terminal


def until(is_so, pid=None):
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline
        assert pid is None or os.waitpid(pid, os.WNOHANG) == (0, 0)
        time.sleep(0.005)


def code_of(pid: int) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            pytest.fail("the command did not end")
        time.sleep(0.005)


def test_a_job_that_runs_when_the_terminal_goes_away_comes_to_its_end_once(tmp_path):
    store = JobStore(tmp_path)
    script = "touch begun; read word < go; echo $word"
    store.submit([JobSpec(type=JobType.REPORT, argv=("sh", "-c", script)) for _ in range(2)])
    os.mkfifo(tmp_path / "go")
    pid, terminal = on_a_terminal(tmp_path, str(FRONTIER), "jobs", "work")
    until(lambda: (tmp_path / "begun").exists(), pid)

    os.close(terminal)

    assert code_of(pid) == -signal.SIGHUP
    with open(tmp_path / "go", "w") as go:
        go.write("done\n")
    until(lambda: store.get("report-1").state.is_final)
    first, second = store.get("report-1"), store.get("report-2")
    assert (first.state, first.result, first.attempt, first.deaths) == ("completed", "done", 1, 0)
    assert (second.state, second.attempt) == ("queued", 0)  # nobody wants its worker any more
    store.close()


def test_a_stage_whose_terminal_goes_away_ends_with_143_and_no_leftovers(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    command = [str(FRONTIER), "validate", "fifo", "-o", "out.jsonl", "--profile", "plain"]
    pid, terminal = on_a_terminal(tmp_path, *command)
    with open(tmp_path / "fifo", "w") as fifo:
        fifo.write("[]\n")
        fifo.flush()
        assert b"fifo:1" in os.read(terminal, 1000)  # it is at work now
        os.close(terminal)
        assert code_of(pid) == 143
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


def test_under_nohup_a_stage_goes_on_without_its_terminal(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    command = f"trap '' HUP; exec {FRONTIER} validate fifo -o out.jsonl --profile plain"
    pid, terminal = on_a_terminal(tmp_path, "/bin/sh", "-c", command)
    with open(tmp_path / "fifo", "w") as fifo:
        fifo.write("[]\n")
        fifo.flush()
        assert b"fifo:1" in os.read(terminal, 1000)
        os.close(terminal)
        fifo.write('{"messages":[]}\n')
    assert code_of(pid) == 1
    assert len((tmp_path / "out.rejects.jsonl").read_bytes().splitlines()) == 2
