"""Releases that come and go under load, over HTTP and with real models: only good ones take over."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("openai")

from model_server import (
    USER,
    greedy_by_transformers,
    make_model,
    running,
    text_of,
    wait_for_rejection,
    wait_for_release,
)

from frontier_ops.deploy import deploy, prepare, rollback
from frontier_ops.probe import probe_folder
from frontier_ops.releases import find_release

pytestmark = pytest.mark.torch


@pytest.mark.slow
def test_a_deployed_release_takes_over_under_load_and_a_wrong_one_never_does(home: Path, model: Path) -> None:
    """The same with 100 swaps, four clients and six kinds of bad release: benchmarks/serving.py."""
    target = home / "swap"
    second = make_model(home / "swap2", seed=2)
    first_release = deploy(model, target, shipment=prepare(model, probe=lambda at, how: probe_folder(at, profile=how)))
    with running(target, home / "swapping") as server, server.client() as client:
        old, new = text_of(client), greedy_by_transformers(second, "hi", 24)
        stop = threading.Event()

        def load(stream: bool) -> list[str]:
            said = []
            while not stop.is_set():
                options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 24}
                answer = client.chat.completions.create(**options, stream=stream)
                if stream:
                    said.append("".join(chunk.choices[0].delta.content or "" for chunk in answer))
                else:
                    said.append(answer.choices[0].message.content)
            return said

        with ThreadPoolExecutor(2) as pool:
            clients = [pool.submit(load, stream) for stream in (False, True)]
            try:
                release = deploy(second, target).release
                wait_for_release(server, release)
                assert text_of(client) == new
                # The first model's probe with the second's weights: what a stale or foreign file would be.
                spoilt = home / "spoilt"
                shutil.copytree(second, spoilt)
                (spoilt / "generation_config.json").unlink(missing_ok=True)
                (spoilt / "probe.json").write_text(json.dumps(find_release(target, first_release.release).probe))
                bad = deploy(spoilt, target).release
                wait_for_rejection(server, bad)
                assert text_of(client) == new
                rollback(target, first_release.release)
                wait_for_release(server, first_release.release)
            finally:
                stop.set()
            answers = [text for future in clients for text in future.result()]
        assert set(answers) <= {old, new}
        assert text_of(client) == old
        assert {entry["status"] for entry in server.logged()} == {200}
    assert "does not reproduce its golden probe: probe 1: token" in server.stderr.read_text()
