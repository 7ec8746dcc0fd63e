"""Releases that come and go under load, over HTTP and with real models: good ones take over, bad ones never do.

The same with 100 swaps, four clients and timings: benchmarks/serving.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("openai")

from model_server import (
    DEADLINE_S,
    USER,
    Running,
    greedy_by_transformers,
    make_model,
    ready_state,
    running,
    text_of,
    wait_for_rejection,
    wait_for_release,
    workers_of,
)

from frontier_cli.main import main
from frontier_core.errors import DataError
from frontier_ops.deploy import deploy, prepare, rollback
from frontier_ops.probe import probe_folder
from frontier_ops.releases import current_id, read_audit

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def probed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with its golden probe exported beside it."""
    folder = tmp_path_factory.mktemp("probed") / "model"
    shutil.copytree(model, folder)
    (folder / "probe.json").write_text(json.dumps(probe_folder(folder)))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("swap") / "target"


@pytest.fixture(scope="module")
def swapping(probed: Path, place: Path) -> Iterator[Running]:
    deploy(probed, place)
    with running(place, place.parent / "server", soak_s=DEADLINE_S, max_waiting=8) as server:
        yield server


@contextmanager
def load(server: Running) -> Iterator[set[str]]:
    """Two clients that ask all the time, one of them streaming; every answer must be complete. Gives the texts."""
    stop, texts = threading.Event(), set[str]()

    def work(stream: bool) -> None:
        with server.client() as client:
            is_over = False
            while not is_over:
                is_over = stop.is_set()  # so that at least one answer comes after all that happened
                options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 24}
                answer = client.chat.completions.create(**options, stream=stream)
                if stream:
                    chunks = list(answer)
                    assert chunks[-1].choices[0].finish_reason == "length"
                    texts.add("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
                else:
                    texts.add(answer.choices[0].message.content)

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(work, stream) for stream in (False, True)]
        try:
            yield texts
        finally:
            stop.set()
        for client in clients:
            client.result()


def wait_for_text(texts: set[str], text: str) -> None:
    """Until one of the clients of `load` was answered with `text`: what this test asked itself says nothing of them."""
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if text in texts:
            return
        pause.wait(0.05)
    raise AssertionError(f"no client was answered {text!r}: {texts}")


def served(server: Running) -> str:
    with server.client() as client:
        return text_of(client)


def test_what_is_deployed_takes_over_under_load_and_going_back_loads_nothing(
    swapping: Running, place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    second = make_model(tmp_path / "second", seed=2)
    old_id, old, new = current_id(place), served(swapping), greedy_by_transformers(second, "hi", 24)

    with load(swapping) as texts:
        wait = ["--wait", str(DEADLINE_S), "--no-probe", "--json"]
        assert main(["deploy", str(second), "--to", str(place), *wait]) == 0
        told = json.loads(capfd.readouterr().out)
        assert (told["server"]["state"], told["release"]) == ("serving", current_id(place))
        assert served(swapping) == new
        wait_for_text(texts, new)
        rollback(place, old_id)
        wait_for_release(swapping, old_id)
        assert served(swapping) == old

    assert texts == {old, new}
    assert {entry["status"] for entry in swapping.logged()} == {200}


def truncate(release: Path) -> None:
    rewrite(release / "model.safetensors", lambda data: data[:-1])


def flip(release: Path) -> None:
    rewrite(release / "model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]))


def take_away(release: Path) -> None:
    (release / "tokenizer.json").unlink()


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.unlink()  # it may be a hard link to a blob
    path.write_bytes(change(data))


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def other_tokenizer(folder: Path) -> None:
    def exchange(document: dict[str, Any]) -> None:
        vocabulary = document["model"]["vocab"]
        vocabulary["W"], vocabulary["i"] = vocabulary["i"], vocabulary["W"]

    change_json(folder / "tokenizer.json", exchange)


def other_template(folder: Path) -> None:
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_start|>", "<|im_start|>the "))
    # A probe of an older export does not know the template's digest.
    change_json(folder / "probe.json", lambda probe: probe.pop("template_sha256"))


def no_numbers(folder: Path) -> None:
    """Weights that load, and fail at the first token."""
    from safetensors.torch import load_file, save_file

    weights = {name: tensor * float("nan") for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "model.safetensors: 37863 bytes, not 37864"),
        (flip, "model.safetensors: other content of the same size"),
        (take_away, "tokenizer.json: missing"),
    ],
    ids=["truncated", "bit-flip", "missing-file"],
)
def test_a_release_that_was_damaged_after_it_was_shipped_is_rejected(
    swapping: Running, probed: Path, place: Path, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    good, expected = current_id(place), served(swapping)
    shipment = prepare(probed, name=damage.__name__)
    deploy(probed, tmp_path / "elsewhere", shipment=shipment)
    release = place / "releases" / shipment.release
    shutil.copytree(tmp_path / "elsewhere" / "releases" / shipment.release, release)
    damage(release)

    with load(swapping) as texts:
        os.symlink(f"releases/{shipment.release}", place / ".bad")
        os.replace(place / ".bad", place / "current")
        wait_for_rejection(swapping, shipment.release)

    assert reason in ready_state(swapping)["rejected"][shipment.release]
    assert texts == {expected}
    wait_for_current(place, good)
    shutil.rmtree(release)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (other_tokenizer, "the prompt becomes other token ids: another tokenizer or chat template"),
        (other_template, "the prompt becomes other token ids: another tokenizer or chat template"),
        (no_numbers, "the model could not answer a probe: the model's scores are not finite"),
    ],
    ids=["tokenizer", "template", "crash-after-load"],
)
def test_a_release_that_is_not_the_model_its_probe_was_made_of_is_rejected(
    swapping: Running, probed: Path, place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None], reason: str,
) -> None:  # fmt: skip
    good, expected = current_id(place), served(swapping)
    shutil.copytree(probed, tmp_path / "spoilt")
    spoil(tmp_path / "spoilt")

    with load(swapping) as texts:
        wait = ["--wait", str(DEADLINE_S), "--json"]
        assert main(["deploy", str(tmp_path / "spoilt"), "--to", str(place), *wait]) == 1

    server = json.loads(capfd.readouterr().out)["server"]
    assert server["state"] == "rejected"
    assert reason in server["reason"]
    assert texts == {expected}
    wait_for_current(place, good)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's
def test_an_adapter_is_a_release_and_when_it_dies_in_its_soak_the_one_before_answers(
    swapping: Running, model: Path, place: Path, tmp_path: Path
) -> None:
    good, expected = current_id(place), served(swapping)
    adapter, merged = make_adapter(tmp_path, model)
    known = workers_of(swapping)

    with load(swapping) as texts:
        release = deploy(adapter, place).release
        wait_for_release(swapping, release)
        (worker,) = workers_of(swapping) - known
        wait_for_text(texts, merged)
        os.kill(worker, signal.SIGKILL)
        wait_for_release(swapping, good)
        assert served(swapping) == expected

    assert texts == {expected, merged}
    assert merged != expected
    assert "failed within its soak" in ready_state(swapping)["rejected"][release]
    wait_for_current(place, good)
    states = [entry["state"] for entry in read_audit(place) if entry["release"] == release and entry.get("state")]
    assert states[-2:] == ["serving", "rolled_back"]
    assert {entry["status"] for entry in swapping.logged()} == {200}


def make_adapter(folder: Path, base: Path) -> tuple[Path, str]:
    """A LoRA of rank 2 that changes what the base says, and what the two merged say by transformers' own account."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with torch.random.fork_rng():
        torch.manual_seed(5)
        options = LoraConfig(r=2, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), options)
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "merged")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder / "merged")
    return folder / "adapter", greedy_by_transformers(folder / "merged", "hi", 24)


def wait_for_current(target: Path, release: str) -> None:
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if current_id(target) == release and not (target / ".lock").exists():
            return
        pause.wait(0.05)
    raise AssertionError(current_id(target))


@pytest.mark.parametrize("holder", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_template_that_changed_since_the_probe_was_exported_is_refused_before_it_is_shipped(
    probed: Path, tmp_path: Path, holder: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(probed, folder)
    template = (folder / "chat_template.jinja").read_text()
    changed = template + "{% if tools %}x{% endif %}"  # nothing the probe's prompts would show
    if holder == "tokenizer_config.json":
        (folder / "chat_template.jinja").unlink()
        change_json(folder / holder, lambda config: config.update(chat_template=template))
        deploy(folder, tmp_path / "same")  # the same text in another file is the same template
        # What tools become is nothing the probe's prompts would show.
        change_json(
            folder / holder, lambda config: config.update(chat_template=template + "{% if tools %}x{% endif %}")
        )
    else:
        (folder / holder).write_text(changed)

    with pytest.raises(DataError, match="the chat template is not the one its golden probe was made with"):
        deploy(folder, tmp_path / "target")
    assert not (tmp_path / "target").exists()
