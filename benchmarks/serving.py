"""Swapping releases under load: failed requests, torn streams, bad releases that got through, time to go back.

    python benchmarks/serving.py            100 swaps, 4 clients of the openai package, half of them streaming
    python benchmarks/serving.py --quick    4 swaps

Three models of one shape; every answer must be that of the release its header names, letter for letter. Then six kinds
of bad release, each of which must be rejected with the old one serving; then rollbacks; then the time from a finished
checkpoint to its first served answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

QUESTION = [{"role": "user", "content": "What is 3 + 4?"}]
MAX_TOKENS = 24
DEADLINE_S = 180.0
REQUEST_LOG = "requests.jsonl"
SERVER = """
import sys
from pathlib import Path
from frontier_ops.serve import ServeOptions, serve
serve(Path(sys.argv[1]), options=ServeOptions(port=0, max_waiting=64, soak_s=float(sys.argv[2])),
      on_ready=lambda info: print(info.url, info.front_pid, flush=True), request_log=Path(sys.argv[3]),
      on_note=lambda text: print(text, file=sys.stderr, flush=True))
"""


def main() -> int:
    """Runs all of it and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--loads", type=int, default=100, help="how many of them load a release that is not loaded")
    parser.add_argument("--quick", action="store_true", help="4 swaps, 2 of them loads")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), 4 if options.quick else options.swaps, 2 if options.quick else options.loads)
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:24} {value}")
    return int(any(result[key] for key in ("num_failed", "num_torn", "num_wrong", "num_bad_let_through")))


def is_load(number: int, num_swaps: int, num_loads: int) -> bool:
    """Says whether the n-th swap is to a release that is not loaded."""
    return number == 1 or (number * num_loads) // num_swaps != ((number - 1) * num_loads) // num_swaps


def plan(models: list[Path], num_swaps: int, num_loads: int) -> Iterator[Path]:
    """Gives what to swap to: spread among swaps between the two loaded releases, `num_loads` to one that is not."""
    active, warm = models[0], models[1]
    for number in range(1, num_swaps + 1):
        if is_load(number, num_swaps, num_loads):
            fresh = next(model for model in models if model not in (active, warm)) if number > 1 else models[1]
            active, warm = fresh, active
        else:
            active, warm = warm, active
        yield active


def measure(home: Path, num_swaps: int, num_loads: int) -> dict[str, Any]:
    """Gives the figures; see the module."""
    models = make_models(home)
    target = home / "target"
    started = time.monotonic()
    put(models[0], target)
    with running(target, home, soak_s=5.0) as server:
        first_s = until_answered(server) - started
        with under_load(server) as load:
            loads, flips = [], []
            for number, model in enumerate(plan(models, num_swaps, num_loads), 1):
                num_loaded = len(workers(server))
                seconds = swap(server, model, target)
                (loads if is_load(number, num_swaps, num_loads) else flips).append(seconds)
                if number % 5 == 0 or num_swaps < 10:
                    words = f"swap {number}: {seconds:.2f} s, {num_loaded} processes, {dict(load.counts)}"
                    print(words, file=sys.stderr, flush=True)
            bad = {name: reject(server, make, models, target, home) for name, make in BAD.items()}
            bad["crash in soak"] = crash(server, models, target)
            # The one that crashed is gone; going back is timed between two that are loaded.
            swap(server, next(model for model in models if put_id(model) not in _loaded(server)), target)
            back = [rollback_s(server, target) for _ in range(6)]
        counts = load.counts
    lines = (home / REQUEST_LOG).read_text().splitlines()
    statuses = dict(Counter(str(json.loads(line)["status"]) for line in lines))
    return {
        "num_swaps": num_swaps,
        "num_requests": counts["requests"],
        "num_failed": counts["failed"],
        "num_streams": counts["streams"],
        "num_torn": counts["torn"],
        "server_statuses": statuses,
        "num_wrong": counts["wrong"],
        "bad_rejected": {name: reason for name, (_, reason) in bad.items()},
        "num_bad_let_through": sum(not ok for ok, _ in bad.values()),
        "num_loads": len(loads),
        "swap_with_load_median_s": round(sorted(loads)[len(loads) // 2], 3),
        "swap_to_warm_median_s": round(sorted(flips)[len(flips) // 2], 3) if flips else None,
        "rollback_max_s": round(max(serves for serves, _ in back), 3),
        "rollback_median_s": round(sorted(serves for serves, _ in back)[3], 3),
        "rollback_answered_max_s": round(max(answered for _, answered in back), 3),
        "checkpoint_to_answer_s": round(first_s, 2),
        "errors": load.errors[:5],
    }


def make_models(home: Path) -> list[Path]:
    """Makes three small models of one shape, each with its golden probe exported beside it."""
    from trainer.model_init import init_model

    corpus = [f"What is {a} + {b}? {a + b}" for a in range(30) for b in range(30)]
    models = []
    for seed in range(3):
        folder = home / f"model{seed}"
        init_model(folder, preset="tiny", corpus=corpus, seed=seed)
        models.append(folder)
    asyncio.run(export_probes(models))
    return models


async def export_probes(models: list[Path]) -> None:
    """Writes each model's golden probe beside it, as `frontier deploy` would; one import of torch serves all."""
    from frontier_ops.probe import probe_of
    from frontier_ops.serve_nursery import Nursery

    nursery = Nursery()
    try:
        for folder in models:
            (folder / "probe.json").write_bytes(orjson.dumps(await probe_of(folder, nursery=nursery)))
    finally:
        await nursery.close()


def put(model: Path, target: Path, *, name: str = "model") -> str:
    """Deploys and gives the release's id."""
    from frontier_ops.deploy import deploy

    return deploy(model, target, name=name).release


@dataclass
class Server:
    """A running server and what its answers must be, by release."""

    url: str
    pid: int
    stderr: Path
    texts: dict[str, str] = field(default_factory=dict)

    def client(self) -> Any:
        """Gives a true openai client without retries of its own."""
        import openai

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=DEADLINE_S)

    def state(self) -> dict[str, Any]:
        """Gives /readyz."""
        answer: dict[str, Any] = self.http.get(f"{self.url}/readyz").json()
        return answer

    @cached_property
    def http(self) -> Any:
        """One client for all the looking: making one costs more than the answer."""
        import httpx

        return httpx.Client(timeout=DEADLINE_S)


@contextmanager
def running(target: Path, home: Path, *, soak_s: float) -> Iterator[Server]:
    """A server that answers; it is gone afterwards."""
    stderr = home / "server.stderr"
    with stderr.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(target), str(soak_s), str(home / REQUEST_LOG)],
            stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert process.stdout is not None
    try:
        words = process.stdout.readline().split()
        assert len(words) == 2, stderr.read_text()
        server = Server(words[0], int(words[1]), stderr)
        with server.http:
            yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.stdout.close()


def ask(client: Any, *, stream: bool = False) -> tuple[str, str]:
    """Gives (release, text) of one greedy answer; a stream must come to its finish reason and end."""
    create = client.chat.completions.with_raw_response.create
    raw = create(model="model", messages=QUESTION, temperature=0, max_tokens=MAX_TOKENS, stream=stream)
    release = raw.headers["x-frontier-release"]
    if not stream:
        return release, raw.parse().choices[0].message.content
    chunks = list(raw.parse())
    if not chunks or chunks[-1].choices[0].finish_reason is None:
        raise RuntimeError("torn stream")
    return release, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@dataclass
class Load:
    """What the clients saw."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def told(error: BaseException) -> str:
    """Gives an error with what caused it: a client's own words tell only that something failed."""
    words = []
    cause: BaseException | None = error
    while cause is not None:
        words.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    return " <- ".join(words)


@contextmanager
def under_load(server: Server) -> Iterator[Load]:
    """Four clients that ask without pause, every second one streaming."""
    load, stop = Load(), threading.Event()

    def work(number: int) -> None:
        streams = number % 2 == 0
        with server.client() as client:
            while not stop.is_set():
                load.counts["requests"] += 1
                load.counts["streams"] += streams
                try:
                    release, text = ask(client, stream=streams)
                except Exception as error:  # whatever it is, it is a failed request
                    load.counts["torn" if "torn" in str(error) else "failed"] += 1
                    load.errors.append(told(error))
                    print(f"client {number}: {load.errors[-1]}", file=sys.stderr, flush=True)
                    continue
                load.counts["wrong"] += text != server.texts.setdefault(release, text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until_answered(server: Server) -> float:
    """Asks once and gives when the answer was here."""
    with server.client() as client:
        ask(client)
    return time.monotonic()


def until(server: Server, is_so: Callable[[dict[str, Any]], bool]) -> float:
    """Waits until /readyz says so; gives how long that took."""
    started = time.monotonic()
    while not is_so(server.state()):
        if time.monotonic() - started > DEADLINE_S:
            raise TimeoutError(f"{server.state()}\n{server.stderr.read_text()[-2000:]}")
        time.sleep(0.02)
    return time.monotonic() - started


def swap(server: Server, model: Path, target: Path) -> float:
    """Deploys a model and waits until it serves; gives the seconds."""
    started = time.monotonic()
    release = put(model, target)
    until(server, lambda state: state["release"] == release and state["loading"] is None)
    return time.monotonic() - started


def truncated(release: Path) -> None:
    """Cuts the weights short."""
    weights = writable(release / "model.safetensors")
    os.truncate(weights, weights.stat().st_size - 100)


def bit_flip(release: Path) -> None:
    """Flips one bit of the weights."""
    weights = writable(release / "model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-9] ^= 4
    weights.write_bytes(data)


def missing_file(release: Path) -> None:
    """Takes the tokenizer away."""
    (release / "tokenizer.json").unlink()


def wrong_tokenizer(model: Path) -> None:
    """Puts two tokens in each other's place: everything loads, everything is wrong."""
    document = json.loads((model / "tokenizer.json").read_text())
    vocabulary = document["model"]["vocab"]
    one, other = "What" if "What" in vocabulary else "W", "i"
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (model / "tokenizer.json").write_text(json.dumps(document))


def wrong_template(model: Path) -> None:
    """Lets the chat template say another word."""
    for path in (model / "chat_template.jinja", model / "tokenizer_config.json"):
        if path.is_file():
            path.write_text(path.read_text().replace("<|im_start|>", "<|im_start|>the "))
    # With the template's digest in the probe it would not even be shipped; the server must find it out by itself.
    probe = json.loads((model / "probe.json").read_text())
    del probe["template_sha256"]
    (model / "probe.json").write_text(json.dumps(probe))


def crash_after_load(model: Path) -> None:
    """Makes every weight no number: it loads, and fails at the first token."""
    from safetensors.torch import load_file, save_file

    weights = {name: tensor * float("nan") for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


BAD: dict[str, Callable[[Path], None]] = {
    "truncated safetensors": truncated,
    "bit flip": bit_flip,
    "wrong tokenizer": wrong_tokenizer,
    "wrong template": wrong_template,
    "missing file": missing_file,
    "crash after load": crash_after_load,
}
_ON_TARGET = (truncated, bit_flip, missing_file)
"""Damage done to a release that lies on the target; the others are shipped like any checkpoint."""


def writable(path: Path) -> Path:
    """Gives a file of a release that may be written, and is no longer its blob."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path


def reject(
    server: Server, spoil: Callable[[Path], None], models: list[Path], target: Path, home: Path
) -> tuple[bool, str]:
    """Puts a bad release in place; gives whether it was rejected with the old one serving, and the reason."""
    from frontier_ops.releases import CURRENT, current_id

    before = server.state()["release"]
    if spoil in _ON_TARGET:
        elsewhere = home / "elsewhere"
        shutil.rmtree(elsewhere, ignore_errors=True)
        # Under a name of its own it is another release than those that are loaded, which would serve from memory.
        release = put(models[2], elsewhere, name=spoil.__name__)
        folder = target / "releases" / release
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(elsewhere / "releases" / release, folder)
        spoil(folder)
        os.symlink(f"releases/{release}", target / ".bad")
        os.replace(target / ".bad", target / CURRENT)
    else:
        copy = home / "spoilt"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(models[2], copy)
        spoil(copy)
        release = put(copy, target)
    until(server, lambda state: release in state["rejected"] or state["release"] == release)
    state = server.state()
    until(server, lambda _: current_id(target) == before)
    return state["release"] == before and until_answered(server) > 0, str(state["rejected"].get(release, ""))


def crash(server: Server, models: list[Path], target: Path) -> tuple[bool, str]:
    """Puts a good release in service and kills its process within the soak; the one before must take over."""
    from frontier_ops.releases import current_id

    before = server.state()["release"]
    known = set(workers(server))
    release = put(next(model for model in models if put_id(model) not in _loaded(server)), target)
    until(server, lambda state: state["release"] == release)
    for child in set(workers(server)) - known:
        os.kill(child, signal.SIGKILL)
    until(server, lambda state: state["release"] == before)
    until(server, lambda _: current_id(target) == before)
    return until_answered(server) > 0, str(server.state()["rejected"].get(release, ""))


def _loaded(server: Server) -> tuple[str, str]:
    state = server.state()
    return state["release"], state["warm"]


def put_id(model: Path) -> str:
    """Gives the id a model's release has."""
    from frontier_ops.deploy import prepare

    return prepare(model).release


def children(pid: int) -> list[int]:
    """Gives the child processes of a process, of all its threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def workers(server: Server) -> list[int]:
    """Gives the model processes: forks of the server's only child."""
    return [worker for child in children(server.pid) for worker in children(child)]


def rollback_s(server: Server, target: Path) -> tuple[float, float]:
    """Goes back one release under load; gives the seconds until new requests go to it, and until one was answered.

    The second stands in the queue behind the other clients' requests.
    """
    from frontier_ops.deploy import rollback

    wanted = server.state()["warm"]
    assert wanted, "nothing is loaded to go back to"
    with server.client() as client:
        started = time.monotonic()
        rollback(target, wanted)
        until(server, lambda state: state["release"] == wanted)
        serves_s = time.monotonic() - started
        assert ask(client)[0] == wanted
        return serves_s, time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
