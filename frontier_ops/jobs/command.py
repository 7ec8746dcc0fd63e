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
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from frontier_ops.jobs.job import JobSpec
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
    pass_fds: Sequence[int] = (),
    look_after: Callable[[subprocess.Popen[bytes]], bool] = lambda _: False,
) -> Ended:
    """Runs the command of a job and waits for its end.

    Args:
        spec: the job's spec.
        name: its id and attempt.
        folder: where it runs.
        logs: the folder of its logs; one that stays empty is removed.
        pass_fds: descriptors it inherits.
        look_after: called every POLL_S; True when the command has been asked to stop. After GRACE_S more it is killed.
    Returns:
        How it ended. An exception in here kills the command.
    """
    job_id, attempt = name
    environ = {**os.environ, **spec.env, ID: job_id, ATTEMPT: str(attempt)}
    paths = [logs / f"{job_id}.{attempt}.{kind}" for kind in ("out", "err")]
    with paths[0].open("wb") as out, paths[1].open("wb") as err:
        try:
            process = subprocess.Popen(
                spec.argv, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                pass_fds=tuple(pass_fds), start_new_session=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            return Ended(127, problem=f"{spec.argv[0]}: {getattr(error, 'strerror', None) or error}")
    was_stopped = _wait(process, look_after)
    result = _last_line(paths[0])
    for path in paths:
        if not path.stat().st_size:
            path.unlink()
    code = process.returncode
    return Ended(128 - code if code < 0 else code, was_stopped=was_stopped, result=result)


def run_elsewhere(spec: dict[str, Any], job_id: str, attempt: int, folder: str, logs: str) -> Ended:
    """Runs a command on the machine an engine chose; what earlier attempts left running there is ended first.

    It is asked to stop by its stop file (`stop_file`): machines share that folder; an engine's own way to cancel may
    come too late or not at all.
    """
    for earlier in range(1, attempt):
        kill_processes(job_id, earlier)
    asked = stop_file(Path(logs), job_id, attempt)

    def look_after(process: subprocess.Popen[bytes]) -> bool:
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


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Sends a signal to a command and all it started (it leads a session of its own)."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """Asks a command to end, also one that is suspended."""
    signal_group(process, signal.SIGTERM)
    signal_group(process, signal.SIGCONT)


def _wait(process: subprocess.Popen[bytes], look_after: Callable[[subprocess.Popen[bytes]], bool]) -> bool:
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


def _has_ended(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
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


def _last_line(log: Path) -> str:
    """Gives the last line of a log that is not blank, cut to MAX_RESULT_BYTES."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_RESULT_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
