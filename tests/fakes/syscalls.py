"""Kills a process at one of its system calls: the action runs in a forked child, strace is tied to it from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

STRACE = shutil.which("strace")
CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "openat", "close", "unlink",
    "unlinkat", "mkdir", "ftruncate", "link", "linkat", "flock", "fcntl",
)  # fmt: skip
"""What a commit is made of; a kill before one of them is a kill after the one before."""
PTRACE_ANY, PR_SET_PTRACER = -1, 0x59616D61
DEADLINE_S = 60.0


def killed_at(call: str, number: int, action: Callable[[], object]) -> bool:
    """Runs an action in a child that is killed at its `number`-th `call`; True when it was, False when it ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _let_be_traced()
            os.close(write)
            os.read(read, 1)
            action()
            code = 0
        finally:
            os._exit(code)
    os.close(read)
    words = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    tracer = subprocess.Popen(
        [str(STRACE), "-qq", "-o", "/dev/null", *words, "-p", str(child)], stderr=subprocess.PIPE, text=True
    )
    _wait_for_tracer(child, tracer)
    os.write(write, b"x")
    os.close(write)
    status = os.waitpid(child, 0)[1]
    tracer.communicate(timeout=DEADLINE_S)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def _let_be_traced() -> None:
    """Allows a tracer that is no ancestor, where the kernel asks for that."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(PTRACE_ANY), 0, 0, 0)


def _wait_for_tracer(child: int, tracer: subprocess.Popen[str]) -> None:
    until = time.monotonic() + DEADLINE_S
    while "TracerPid:\t0\n" in Path(f"/proc/{child}/status").read_text():
        if tracer.poll() is not None or time.monotonic() > until:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise RuntimeError(f"strace can't be tied to a process: {tracer.communicate()[1]}")
        time.sleep(0.001)
