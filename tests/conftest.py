"""What several rooms' tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes to make says how busy the machine is (and, once, that hypothesis builds a table of letters):
# a law holds or fails by its examples alone.
settings.register_profile("house", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("house")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where FRONTIER_REQUIRE_DOCKER is set (CI), a Docker test that skips has failed."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and item.get_closest_marker("docker") and os.environ.get("FRONTIER_REQUIRE_DOCKER"):
        report.outcome = "failed"
        report.longrepr = f"a Docker test skipped: {report.longrepr}"


@pytest.fixture(scope="session", autouse=True)
def _own_index_folder(tmp_path_factory):
    """Indexes of the tests' files go into a folder of the tests' own."""
    os.environ["FRONTIER_INDEX_DIR"] = str(tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A model folder of a few thousand parameters, made by our own `model init`."""
    pytest.importorskip("torch")
    from trainer.model_init import init_model

    folder = tmp_path_factory.mktemp("models") / "tiny"
    corpus = [f"What is {a} + {b}? {a + b} EXECUTING_PLAN: mkdir" for a in range(20) for b in range(20)]
    init_model(folder, preset="tiny", corpus=corpus, seed=0)
    return folder
