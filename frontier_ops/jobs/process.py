"""Starting a job's command: a session of its own, its logs as its output, nothing of ours open but the job's lock.

In a process that does nothing else (`own_process`, a worker's), with the job's folder and search path its own, the C
library starts it in one call: a fifth less than `subprocess` takes for a command that does nothing. Everywhere else
`subprocess` does it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_AS_BY_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores and a command expects not to be ignored."""


class Spawned:
    """A command that the C library started; as much of `subprocess.Popen` as is needed here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        """Waits for its end and gives its exit code, minus the signal when it was killed."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


Process = Spawned | subprocess.Popen[bytes]


def start_command(
    argv: tuple[str, ...],
    *,
    folder: Path,
    environ: Mapping[bytes, bytes],
    logs: tuple[int, int],
    pass_fds: Sequence[int] = (),
    is_own: bool = False,
) -> Process:
    """Starts a command.

    Args:
        argv: the command.
        folder: where it runs.
        environ: its whole environment.
        logs: descriptors of its standard output and error.
        pass_fds: other descriptors it inherits.
        is_own: this process was readied by `own_process`.
    Raises:
        OSError, subprocess.SubprocessError: it can't be started.
    """
    is_plain = os.getcwdb() == os.fsencode(folder) and environ.get(b"PATH") == os.environb.get(b"PATH")
    if not (is_own and is_plain):
        return subprocess.Popen(
            argv, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=logs[0], stderr=logs[1],
            pass_fds=tuple(pass_fds), start_new_session=True,
        )  # fmt: skip
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, logs[0], 1),
        (os.POSIX_SPAWN_DUP2, logs[1], 2),
        *((os.POSIX_SPAWN_DUP2, descriptor, descriptor) for descriptor in pass_fds),
    ]
    return Spawned(os.posix_spawnp(argv[0], argv, environ, file_actions=actions, setsid=True, setsigdef=_AS_BY_DEFAULT))


def own_process(folder: Path) -> None:
    """Readies a process that does nothing but start commands: they run in `folder`, and inherit only what they must."""
    os.chdir(folder)
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one the folder was listed with is closed by now
            os.set_inheritable(int(name), int(name) <= 2)
