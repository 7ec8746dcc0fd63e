from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from frontier_core.errors import ConfigError
from frontier_ops.hosts_check import check_hosts


@pytest.fixture
def healthy() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def hosts_file(folder: Path, services: dict[str, int]) -> Path:
    path = folder / "hosts.json"
    path.write_text(json.dumps({"hosts": {"box": {"host": "127.0.0.1", "role": "inference", "services": services}}}))
    return path


def test_a_service_that_answers_is_up_and_a_closed_port_is_down(healthy: int, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        path = hosts_file(tmp_path, {"inference": healthy, "vault": closed.getsockname()[1]})

        up, down = check_hosts(path, timeout_s=60)

    assert (up.what, up.is_up, up.details, up.role) == ("inference", True, "/health answers", "inference")
    assert (down.what, down.is_up) == ("vault", False)
    assert down.details.startswith("no connection: ")


def test_a_missing_or_empty_hosts_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        list(check_hosts(tmp_path / "nope.json"))
    (tmp_path / "empty.json").write_text('{"hosts": {}}')
    with pytest.raises(ConfigError, match="names no host"):
        list(check_hosts(tmp_path / "empty.json"))
