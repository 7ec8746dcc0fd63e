"""A deployed tiny model and a server of it, for the tests of serving."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "fakes"))

from model_server import MAX_WAITING, Running, make_model, running

from frontier_ops.deploy import deploy


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="session")
def model(home: Path) -> Path:
    return make_model(home / "model", seed=1)


@pytest.fixture(scope="session")
def target(home: Path, model: Path) -> Path:
    deploy(model, home / "target")
    return home / "target"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, target: Path) -> Iterator[Running]:
    with running(target, tmp_path_factory.mktemp("server"), max_waiting=MAX_WAITING) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with server.client() as client:
        yield client
