"""A two-layer model made once per test session, and small data files."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

from frontier_core.jsonl import write_records
from frontier_core.records import Record


def chat(user: str, answer: str, skill: str = "add", level: int = 1) -> Record:
    """One chat record without a profile."""
    return {
        "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}],
        "metadata": {"skill": skill, "level": level},
    }


def sums(num: int, seed: int = 0) -> list[Record]:
    """Chats of two skills and unlike lengths."""
    rng = random.Random(seed)
    records = []
    for _ in range(num):
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        if rng.random() < 0.5:
            records.append(chat(f"{a} + {b}?", str(a + b)))
        else:
            records.append(chat(f"Say {a} times the word tree, please.", "tree " * (a - 1) + "tree", "say", 2))
    return records


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small products on several threads cost more than they save, most of all when tests run side by side."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two layers, 32 wide, with a tokenizer trained on the sums."""
    pytest.importorskip("torch")
    from trainer import model_init

    shape = model_init.Preset(
        vocab_size=320, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=64
    )
    model_init.PRESETS["test"] = shape
    try:
        folder = tmp_path_factory.mktemp("models") / "two-layers"
        texts = [turn["content"] for record in sums(50) for turn in record["messages"]]
        model_init.init_model(folder, preset="test", corpus=["\N{THINKING FACE}" * 4, *texts], seed=5)
    finally:
        del model_init.PRESETS["test"]
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Iterable[Record]], Path]:
    """Writes records to a file and gives its path."""

    def write_file(records: Iterable[Record], name: str = "train.jsonl") -> Path:
        write_records(tmp_path / name, records)
        return tmp_path / name

    return write_file


@pytest.fixture(scope="session")
def trained_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of sixty steps over the sums: a model whose answers depend on the question."""
    from trainer.config import TrainerConfig
    from trainer.engine import TrainerEngine

    folder = tmp_path_factory.mktemp("trained")
    write_records(folder / "train.jsonl", sums(80, seed=1))
    TrainerEngine().run_job(
        TrainerConfig(
            model_dir=str(model_dir),
            train_files=(str(folder / "train.jsonl"),),
            output_dir=str(folder / "run"),
            batch_size=8,
            max_steps=60,
            learning_rate=1e-2,
            device="cpu",
            num_threads=1,
        )
    )
    return folder / "run"
