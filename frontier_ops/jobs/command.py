"""Running one job's command to its end, wherever: here under a worker, or on another machine under an executor.

Standard output and error go to `JOB.ATTEMPT.out` and `.err`; the last line of the output is the job's result. The
command finds FRONTIER_JOB_ID and FRONTIER_JOB_ATTEMPT in its environment.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from frontier_ops.jobs.job import JobSpec
from frontier_ops.jobs.process import Process, start_command
from frontier_ops.jobs.stragglers import ATTEMPT, ID, kill_processes

POLL_S = 0.1
"""How often a running command is looked after."""
GRACE_S = 10.0
"""How long a command that is asked to stop may take before it is killed."""
MAX_RESULT_BYTES = 4096
"""How much of a command's last line is kept as its result."""


class Ended(NamedTuple):
    """How a command ended.

    `code` is its exit code, 128 + signal when it was killed; `problem` says why it never began.
    """

    code: int
    was_stopped: bool = False
    problem: str = ""
    result: str = ""


def run_command(
    spec: JobSpec,
    name: tuple[str, int],
    *,
    folder: Path,
    logs: Path,
    environ: Mapping[bytes, bytes] | None = None,
    pass_fds: Sequence[int] = (),
    is_own: bool = False,
    look_after: Callable[[Process], bool] = lambda _: False,
) -> Ended:
    """Runs the command of a job and waits for its end.

    Args:
        spec: the job's spec.
        name: its id and attempt.
        folder: where it runs.
        logs: the folder of its logs, made when absent; a log that stays empty is removed.
        environ: what the spec's environment is added to; this process's by default.
        pass_fds: descriptors it inherits.
        is_own: this process was readied by `own_process`, to start commands faster.
        look_after: called every POLL_S; True when the command has been asked to stop. After GRACE_S more it is killed.
    Returns:
        How it ended. An exception in here kills the command.
    """
    job_id, attempt = name
    own = {**spec.env, ID: job_id, ATTEMPT: str(attempt)}
    whole = {**(os.environb if environ is None else environ)}
    whole.update((os.fsencode(key), os.fsencode(value)) for key, value in own.items())
    with _Log(logs, f"{job_id}.{attempt}.out") as out, _Log(logs, f"{job_id}.{attempt}.err") as err:
        try:
            process = start_command(
                spec.argv, folder=folder, environ=whole, logs=(out.descriptor, err.descriptor), pass_fds=pass_fds,
                is_own=is_own,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            return Ended(127, problem=f"{spec.argv[0]}: {getattr(error, 'strerror', None) or error}")
        was_stopped = _wait(process, look_after)
        result = out.last_line()
    code = process.wait()
    return Ended(128 - code if code < 0 else code, was_stopped=was_stopped, result=result)


class _Log:
    """One of a command's two logs, made new; it is gone again when nothing was written to it by its closing.

    Plain calls: they are a tenth of what a job that does nothing costs.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = f"{folder}/{name}"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self.descriptor = os.open(self._path, flags, 0o644)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self._path, flags, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        is_empty = not os.fstat(self.descriptor).st_size
        os.close(self.descriptor)
        if is_empty:
            os.unlink(self._path)

    def last_line(self) -> str:
        """Gives the last line that is not blank, cut to MAX_RESULT_BYTES."""
        size = os.fstat(self.descriptor).st_size
        if not size:
            return ""
        end = os.pread(self.descriptor, MAX_RESULT_BYTES, max(0, size - MAX_RESULT_BYTES))
        lines = end.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


def run_elsewhere(spec: dict[str, Any], job_id: str, attempt: int, folder: str, logs: str) -> Ended:
    """Runs a command on the machine an engine chose; what earlier attempts left running there is ended first.

    It is asked to stop by its stop file (`stop_file`): machines share that folder; an engine's own way to cancel may
    come too late or not at all.
    """
    for earlier in range(1, attempt):
        kill_processes(job_id, earlier)
    asked = stop_file(Path(logs), job_id, attempt)

    def look_after(process: Process) -> bool:
        if asked.exists():
            ask_to_stop(process)
            return True
        return False

    return run_command(
        JobSpec.from_mapping(spec), (job_id, attempt), folder=Path(folder), logs=Path(logs), look_after=look_after
    )


def stop_file(logs: Path, job_id: str, attempt: int) -> Path:
    """Gives the file whose existence asks a command on another machine to stop."""
    return logs / f"{job_id}.{attempt}.stop"


def signal_group(process: Process, number: int) -> None:
    """Sends a signal to a command and all it started (it leads a session of its own)."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def ask_to_stop(process: Process) -> None:
    """Asks a command to end, also one that is suspended."""
    signal_group(process, signal.SIGTERM)
    signal_group(process, signal.SIGCONT)


def _wait(process: Process, look_after: Callable[[Process], bool]) -> bool:
    deadline = None
    try:
        while not _has_ended(process, POLL_S):
            if deadline is None:
                if look_after(process):
                    deadline = time.monotonic() + GRACE_S
            elif time.monotonic() > deadline:
                signal_group(process, signal.SIGKILL)
    except BaseException:
        signal_group(process, signal.SIGKILL)
        process.wait()
        raise
    return deadline is not None


def _has_ended(process: Process, timeout_s: float) -> bool:
    """Waits for a command's end without polling for it; says whether it came in time."""
    descriptor = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        has_ended = bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)
    if has_ended:
        process.wait()
    return has_ended
