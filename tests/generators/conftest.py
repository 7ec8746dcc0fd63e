"""The sandbox that plans of the shell domains are tried in."""

import pytest

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import open_sandbox


@pytest.fixture(scope="module")
def sandbox():
    try:
        opened = open_sandbox("native-ns")
    except EnvironmentMissing:
        try:
            opened = open_sandbox("docker-run")
        except EnvironmentMissing as error:
            pytest.skip(f"no sandbox here: {error.message}")
    yield opened
    opened.close()
