"""A real server of a real (tiny) model on loopback, and what tests ask of it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from queue import Queue
from typing import Any

DEADLINE_S = 600.0
CONTEXT_TOKENS = 30_000
MAX_WAITING = 2
USER = [{"role": "user", "content": "hi"}]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SERVER = """
import dataclasses, json, sys
from pathlib import Path
from frontier_ops.serve import ServeOptions, serve
target, log, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
def say(info): print(json.dumps(dataclasses.asdict(info)), flush=True)
def note(text): print(text, file=sys.stderr, flush=True)
serve(target, options=ServeOptions(port=0, **options), on_ready=say, request_log=log, on_note=note)
"""


def make_model(folder: Path, *, seed: int) -> Path:
    """A random two-layer Qwen3 (8,864 parameters) with one token per byte, saved as an ordinary directory."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"], chat_template=TEMPLATE,
    )  # fmt: skip
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=CONTEXT_TOKENS, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
        # With tied embeddings a zero row scores zero: the end mark is never the likeliest, so answers run to the limit.
        model.get_input_embeddings().weight[tokenizer.eos_token_id] = 0
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def one_thread() -> Iterator[None]:
    """Two threads of a tiny model wait for each other longer than they count."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def greedy_by_transformers(folder: Path, text: str, num_tokens: int) -> str:
    """What transformers' own generate says: the yard-stick for our decoding loop."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with one_thread():
        made = model.generate(ids, do_sample=False, max_new_tokens=num_tokens, attention_mask=ids.new_ones(ids.shape))
    return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))


@dataclass
class Running:
    process: subprocess.Popen[str]
    info: dict[str, Any]
    log: Path
    stderr: Path

    @property
    def url(self) -> str:
        return str(self.info["url"])

    def client(self, **options: Any) -> Any:
        import openai

        options = {"max_retries": 0, "timeout": DEADLINE_S} | options
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", **options)

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running(target: Path, folder: Path, **options: Any) -> Iterator[Running]:
    """A server that answers; whatever happens, it is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    log, stderr = folder / "requests.jsonl", folder / "stderr"
    with stderr.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(target), str(log), json.dumps(options)],
            stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        lines: Queue[str] = Queue()
        reader = threading.Thread(target=lambda: lines.put(process.stdout.readline()))
        reader.start()
        line = lines.get(timeout=DEADLINE_S)
        reader.join()
        assert line, stderr.read_text()
        yield Running(process, json.loads(line), log, stderr)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        process.stdout.close()


def wait_for_end(pid: int) -> None:
    """Returns when the process is gone; fails after the deadline."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], DEADLINE_S)[0], f"process {pid} still lives"
    finally:
        os.close(descriptor)


def text_of(client: Any, **options: Any) -> str:
    options = {"model": "model", "messages": USER, "temperature": 0, "max_tokens": 24} | options
    return str(client.chat.completions.create(**options).choices[0].message.content)


def open_endless(client: Any) -> Any:
    """A stream that would take minutes to end, its first text already here."""
    stream = client.chat.completions.create(
        model="model", messages=USER, temperature=0, max_tokens=CONTEXT_TOKENS - 100, stream=True
    )
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    return stream


def http(server: Running, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", server.info["port"], timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def nursery_of(server: Running) -> int:
    """The process that the server's workers are forked from, its only child."""
    front = server.info["front_pid"]
    (child,) = Path(f"/proc/{front}/task/{front}/children").read_text().split()
    return int(child)


def workers_of(server: Running) -> set[int]:
    """The model processes of a server."""
    nursery = nursery_of(server)
    return {int(child) for child in Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()}


def worker_of(server: Running) -> int:
    (worker,) = workers_of(server)
    return worker


def ready_state(server: Running) -> dict[str, Any]:
    return dict(json.loads(http(server, "GET", "/readyz")[2]))


def wait_for_release(server: Running, release: str) -> None:
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if ready_state(server)["release"] == release:
            return
        pause.wait(0.05)
    raise AssertionError(ready_state(server))


def wait_for_rejection(server: Running, release: str) -> None:
    pause = threading.Event()
    for _ in range(int(DEADLINE_S / 0.05)):
        if release in ready_state(server)["rejected"]:
            return
        pause.wait(0.05)
    raise AssertionError(ready_state(server))
