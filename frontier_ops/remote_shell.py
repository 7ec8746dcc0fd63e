"""One shell on another machine, over the user's own ssh: commands in, output and exit status out.

The shell lives as long as the connection, so a lock it holds dies with whoever sent it. The user's ssh config, agent,
jump hosts and control sockets are honoured, because it is their `ssh` that is run (FRONTIER_SSH names another).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex

from frontier_core.errors import EnvironmentMissing, FrontierError, ServiceUnavailable

SSH_VARIABLE = "FRONTIER_SSH"
CLOSE_S = 10.0
_ALIVE = ("-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3")


def ssh_command() -> list[str]:
    """Gives the ssh that is run, e.g. FRONTIER_SSH="ssh -F my_config"; EnvironmentMissing when there is none.

    A link that is cut without a word is given up after three questions without an answer, 45 s; the same options in
    FRONTIER_SSH come first and win.
    """
    command = shlex.split(os.environ.get(SSH_VARIABLE, "ssh")) or ["ssh"]
    if shutil.which(command[0]) is None:
        raise EnvironmentMissing(f"{command[0]} is not installed", hint="apt-get install openssh-client")
    return [*command, *_ALIVE]


class RemoteShell:
    """A POSIX shell on `host`; use it as a context manager.

    Args:
        host: as ssh takes it: a name of the user's ssh config, or user@address.
        options: further words for ssh, e.g. ("-p", "2222").
    Raises:
        ServiceUnavailable: no connection, or it broke; the message is ssh's own.
    """

    def __init__(self, host: str, options: Sequence[str] = ()) -> None:
        self.host = host
        self._said: deque[str] = deque(maxlen=8)
        command = [*ssh_command(), "-T", *options, "--", host, "exec sh"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._reader = threading.Thread(target=self._keep_errors, daemon=True)
        self._reader.start()

    def __enter__(self) -> RemoteShell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, script: str, *, hint: str = "") -> str:
        """Runs a script and gives what it wrote; a status other than 0 raises FrontierError with its last line."""
        output, status = self.run(script)
        if status:
            lines = output.strip().splitlines()
            raise RemoteFailure(f"{self.host}: {lines[-1] if lines else f'status {status}'}", status=status, hint=hint)
        return output

    def run(self, script: str) -> tuple[str, int]:
        """Runs a script, its standard input empty; gives its output, standard error included, and its status."""
        mark = token_hex(8)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{{\n{script}\n}} </dev/null 2>&1\nprintf '\\n{mark} %d\\n' $?\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._broken() from error
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(mark):
                output = "".join(lines)
                return output.removesuffix("\n"), int(line.split()[1])
            lines.append(line)
        raise self._broken()

    def _broken(self) -> ServiceUnavailable:
        self._process.wait()
        self._reader.join(CLOSE_S)
        why = self._said[-1] if self._said else "the connection was closed"
        return ServiceUnavailable(f"{self.host}: {why}", hint=f"does this work? ssh {self.host} true")

    def _keep_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._said.append(line.strip())

    def close(self) -> None:
        """Ends the shell, and with it the connection."""
        process = self._process
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._reader.join(CLOSE_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class RemoteFailure(FrontierError):
    """A command on the other machine failed; `status` is its own."""

    exit_code = 5

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
