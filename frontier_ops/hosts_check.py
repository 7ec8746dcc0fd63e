"""`frontier hosts check`: does each host of config/hosts.json answer, by ssh and by its services?

Only looks: a TCP connection, GET /healthz where a service has one, and with `use_ssh` one `true` over ssh.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from frontier_core.errors import ConfigError, FrontierError
from frontier_core.records import Record
from frontier_ops.hosts import HOSTS_FILE, Service, find_service, load_hosts

TIMEOUT_S = 5.0
HEALTH_PATHS = ("/healthz", "/health")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: `what` is ssh, or a service's name; `is_up` None when it was not tried."""

    host: str
    role: str
    what: str
    where: str
    is_up: bool | None
    details: str

    def to_record(self) -> Record:
        """Gives the finding as a JSON object."""
        return asdict(self)


def check_hosts(path: Path | None = None, *, use_ssh: bool = False, timeout_s: float = TIMEOUT_S) -> Iterator[Finding]:
    """Yields what each host and service says, in the file's order.

    Args:
        path: the hosts file; None is config/hosts.json.
        use_ssh: also log in with ssh (keys or an agent; never asks for a password).
        timeout_s: for each try.
    Raises:
        ConfigError: there is no hosts file, or a mistake in it.
    """
    hosts = load_hosts(path)
    if not hosts:
        file = path or HOSTS_FILE
        raise ConfigError(f"{file}: names no host", hint="cp config/hosts.example.json config/hosts.json")
    for name, host in hosts.items():
        role = str(host.get("role", ""))
        if use_ssh:
            yield _ssh(name, role, host, timeout_s)
        for service in host.get("services") or {}:
            yield _service(name, role, find_service(service, path=path), timeout_s)


def _ssh(name: str, role: str, host: dict[str, Any], timeout_s: float) -> Finding:
    from frontier_ops.remote_shell import ssh_command

    address = f"{host['user']}@{host['host']}" if host.get("user") else str(host["host"])
    port = ["-p", str(host["port"])] if host.get("port") else []
    options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={max(1, round(timeout_s))}", *port]
    try:
        done = subprocess.run(
            [*ssh_command(), *options, "--", address, "true"],
            capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=timeout_s + 5,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding(host=name, role=role, what="ssh", where=address, is_up=False, details="no answer in time")
    said = [line for line in done.stderr.splitlines() if line.strip()]
    details = "logs in" if done.returncode == 0 else said[-1] if said else f"status {done.returncode}"
    return Finding(host=name, role=role, what="ssh", where=address, is_up=done.returncode == 0, details=details)


def _service(host: str, role: str, service: Service, timeout_s: float) -> Finding:
    def found(is_up: bool, details: str) -> Finding:
        return Finding(host=host, role=role, what=service.name, where=service.url, is_up=is_up, details=details)

    parts = urlsplit(service.url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=timeout_s).close()
    except (OSError, ValueError) as error:
        return found(False, f"no connection: {getattr(error, 'strerror', None) or error}")
    from dataclasses import replace

    from frontier_ops.services import ServiceClient

    with ServiceClient(replace(service, timeout_s=timeout_s, max_retries=0)) as client:
        for path in HEALTH_PATHS:
            try:
                client.request("GET", path)
            except FrontierError as error:
                if getattr(error, "status", 0) == 404:
                    continue
                return found(False, error.message)
            return found(True, f"{path} answers")
    return found(True, "accepts connections; has no health page")
