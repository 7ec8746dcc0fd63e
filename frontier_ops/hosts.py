"""`config/hosts.json`: which services there are, on which host and port. No address stands in the code.

    {"hosts": {"trainer": {"host": "10.0.0.5", "role": "trainer", "user": "ml", "services": {"inference": 8765}}}}

A service may also be an object: {"port": 8765, "scheme": "https", "path": "/v1", "timeout_s": 30, "max_retries": 3,
"api_key_env": "INFERENCE_API_KEY"}. The environment is stronger: INFERENCE_URL, INFERENCE_TIMEOUT_S,
INFERENCE_MAX_RETRIES, INFERENCE_API_KEY. Keys stand in the environment only. Calling a service is services.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frontier_core.errors import ConfigError
from frontier_core.nearest import did_you_mean

HOSTS_FILE = Path("config/hosts.json")
HOST_KEYS = ("name", "host", "role", "user", "port", "paths", "services")
SERVICE_KEYS = ("port", "scheme", "path", "timeout_s", "max_retries", "api_key_env")
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_MAX_RETRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How one service is reached. `timeout_s` is per try; `max_retries` comes on top of the first."""

    name: str
    url: str
    timeout_s: float = DEFAULT_TIMEOUT_S
    max_retries: int = DEFAULT_MAX_RETRIES
    api_key: str = ""

    def __repr__(self) -> str:
        return f"Service({self.name!r}, {self.url!r})"  # never the key


def load_hosts(path: Path | None = None) -> dict[str, Any]:
    """Reads the hosts file; {} when the default one is not there.

    Raises:
        ConfigError: it is no JSON, or holds a key nobody knows; names the place and the nearest key.
    """
    file = path or HOSTS_FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if path is None:
            return {}
        raise ConfigError(f"{file}: no such file", hint="cp config/hosts.example.json config/hosts.json") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not JSON: {error}") from error
    hosts = document.get("hosts") if isinstance(document, dict) else None
    if not isinstance(hosts, dict):
        raise ConfigError(f"{file}: needs an object under /hosts", hint="see config/hosts.example.json")
    for name, host in hosts.items():
        where = f"{file} /hosts/{name}"
        _check_keys(host, HOST_KEYS, where)
        if not isinstance(host.get("host"), str) or not host["host"]:
            raise ConfigError(f"{where}: 'host' is missing")
        for service, entry in (host.get("services") or {}).items():
            if isinstance(entry, dict):
                _check_keys(entry, SERVICE_KEYS, f"{where}/services/{service}")
            port = entry.get("port") if isinstance(entry, dict) else entry
            if not isinstance(port, int) or not 0 < port < 65536:
                raise ConfigError(f"{where}/services/{service}: needs a port from 1 to 65535")
    return hosts


def _check_keys(entry: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: is no object")
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}", hint=did_you_mean(str(key), known))


def find_service(name: str, *, path: Path | None = None, environ: Mapping[str, str] | None = None) -> Service:
    """Gives how a service is reached: the hosts file, then the environment over it.

    Raises:
        ConfigError: nothing says where it is, or a setting is out of range; names the variable.
    """
    environ = os.environ if environ is None else environ
    hosts = load_hosts(path)
    found = [(host, host["services"][name]) for host in hosts.values() if name in (host.get("services") or {})]
    prefix = name.upper().replace("-", "_")
    entry: dict[str, Any] = {}
    url = environ.get(f"{prefix}_URL", "")
    if found:
        host, given = found[0]
        entry = given if isinstance(given, dict) else {"port": given}
        url = url or f"{entry.get('scheme', 'http')}://{host['host']}:{entry['port']}{entry.get('path', '')}"
    if not url:
        known = sorted({service for host in hosts.values() for service in host.get("services") or {}})
        hint = f"{did_you_mean(name, known)}, or set {prefix}_URL" if known else f"set {prefix}_URL, or {HOSTS_FILE}"
        raise ConfigError(f"nothing says where the service {name!r} is", hint=hint)
    key_name = str(entry.get("api_key_env") or f"{prefix}_API_KEY")
    return Service(
        name=name,
        url=url.rstrip("/"),
        timeout_s=_number(environ, f"{prefix}_TIMEOUT_S", entry.get("timeout_s", DEFAULT_TIMEOUT_S), least=0.001),
        max_retries=int(
            _number(environ, f"{prefix}_MAX_RETRIES", entry.get("max_retries", DEFAULT_MAX_RETRIES), least=0)
        ),
        api_key=environ.get(key_name, ""),
    )


def _number(environ: Mapping[str, str], variable: str, value: Any, *, least: float) -> float:
    text = environ.get(variable, value)
    try:
        number = float(text)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{variable}: {text!r} is no number") from error
    if not number >= least:
        raise ConfigError(f"{variable}: {text} is below {least:g}")
    return number
