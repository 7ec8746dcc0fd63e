"""A real sshd on loopback with throw-away keys and config, and an ssh config that knows it as `far`."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
START_S = 120.0
PORTS_TRIED = 5


def is_available() -> bool:
    """Says whether a test may start one here."""
    return os.access(SSHD, os.X_OK) and shutil.which("ssh") is not None and shutil.which("ssh-keygen") is not None


@contextlib.contextmanager
def running_sshd(folder: Path, *, path: str = "") -> Iterator[str]:
    """Gives the ssh command that reaches it, for FRONTIER_SSH.

    Args:
        folder: for keys, config and log.
        path: PATH of commands run over there; "" leaves it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for _ in range(PORTS_TRIED):
        port = _free_port()
        _configure(folder, port, path)
        server = subprocess.Popen([SSHD, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")])
        try:
            if _answers(server, folder / "log"):
                yield f"ssh -F {folder}/ssh_config"
                return
        finally:
            server.terminate()
            server.wait(START_S)
    raise RuntimeError((folder / "log").read_text())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _answers(server: subprocess.Popen[bytes], log: Path) -> bool:
    """Waits until it listens; False when it ended, since somebody else had taken the port meanwhile."""
    deadline = time.monotonic() + START_S
    while server.poll() is None:
        if log.exists() and "Server listening on" in log.read_text():
            return True
        if time.monotonic() > deadline:
            raise RuntimeError(log.read_text() if log.exists() else "no log")
        time.sleep(0.02)
    return False


def _configure(folder: Path, port: int, path: str) -> None:
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host_key", f"PidFile {folder}/pid",
        f"AuthorizedKeysFile {folder}/authorized_keys", "StrictModes no", "UsePAM no", "PasswordAuthentication no",
        "PermitRootLogin prohibit-password", "MaxStartups 100", *([f"SetEnv PATH={path}"] if path else []),
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    (folder / "ssh_config").write_text(
        f"Host far\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityFile {folder}/user_key\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking accept-new\n"
    )
