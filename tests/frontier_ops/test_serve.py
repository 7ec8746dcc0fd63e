"""How a server starts and ends: signals, releases that can't be loaded, taken ports."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
openai = pytest.importorskip("openai")

from model_server import DEADLINE_S, USER, open_endless, running, text_of, wait_for_end  # noqa: E402

from frontier_core.errors import DataError, UsageError  # noqa: E402
from frontier_ops.deploy import deploy  # noqa: E402
from frontier_ops.serve import ServeOptions, serve  # noqa: E402

pytestmark = pytest.mark.torch


def test_sigterm_finishes_the_running_answer_takes_no_new_one_and_exits_0(home: Path, target: Path) -> None:
    options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 300}
    with running(target, home / "sigterm") as server, server.client() as client:
        stream = client.chat.completions.create(**options, stream=True)
        chunks = [next(stream)]

        server.process.send_signal(signal.SIGTERM)
        chunks += list(stream)

        assert chunks[-1].choices[0].finish_reason == "length"
        assert server.process.wait(DEADLINE_S) == 0
        wait_for_end(server.info["worker_pid"])
        with pytest.raises(openai.APIConnectionError):
            text_of(client)
    assert server.logged()[-1]["completion_tokens"] == 300
    assert server.stderr.read_text() == ""


@pytest.mark.slow
def test_a_second_signal_ends_a_long_answer_at_once(home: Path, target: Path) -> None:
    with running(target, home / "twice", grace_s=600) as server, server.client() as client:
        stream = open_endless(client)
        server.process.send_signal(signal.SIGINT)
        while True:  # the first signal closes the door ...
            try:
                socket.create_connection(("127.0.0.1", server.info["port"])).close()
            except ConnectionError:  # refused; reset when it had stood in the queue of the door
                break

        server.process.send_signal(signal.SIGINT)  # ... the second ends what is left

        assert server.process.wait(DEADLINE_S) == 0
        wait_for_end(server.info["worker_pid"])
        stream.close()


@pytest.mark.slow
def test_a_release_that_cant_be_loaded_is_an_error_in_the_workers_words(tmp_path: Path, model: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, tmp_path / "holed")
    weights = load_file(tmp_path / "holed" / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "holed" / "model.safetensors", metadata={"format": "pt"})
    deploy(tmp_path / "holed", tmp_path / "target")

    with pytest.raises(DataError, match=r"lack 1 tensors of the model, e.g. model\.layers\.1\.mlp\.up_proj\.weight"):
        serve(tmp_path / "target", options=ServeOptions(port=0), on_ready=lambda _: None)


def test_a_damaged_release_a_missing_one_and_a_taken_port_are_refused_before_loading(
    tmp_path: Path, target: Path
) -> None:  # fmt: skip
    shutil.copytree(target, tmp_path / "target", symlinks=True)
    weights = tmp_path / "target" / "current" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(data)

    with pytest.raises(DataError, match=r"model\.safetensors: other content of the same size"):
        serve(tmp_path / "target", options=ServeOptions(port=0), on_ready=lambda _: None)
    with pytest.raises(UsageError, match="no release 'ffff'"):
        serve(target, release="ffff", options=ServeOptions(port=0), on_ready=lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UsageError, match="in use"):
        serve(target, options=ServeOptions(port=other.getsockname()[1]), on_ready=lambda _: None)


def test_importing_serve_deploy_and_ask_imports_no_heavy_module() -> None:
    code = (
        "import sys, frontier_ops.serve, frontier_ops.deploy, frontier_ops.ask;"
        "print({'torch', 'transformers', 'starlette', 'uvicorn', 'typer', 'rich'} & set(sys.modules))"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
