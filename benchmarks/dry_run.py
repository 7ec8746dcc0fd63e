"""What `frontier train --help` and `--dry-run` cost, and how near the dry run's memory comes to the run's own.

    python benchmarks/dry_run.py [--quick] [--json] [--shapes NAME...]

`help_ratio` is CPU beside `python -c pass` in turns (goal 8), `dry_run_cpu_s` and `dry_run_s` (by the clock) of the
whole command over 400 chats (goal 1). `memory` has for each model shape the estimated and the measured bytes of twelve
steps: the most a process held above what it held with torch loaded and no model (after three it is up to a tenth
less). `memory_error` is the worst relative error (goal 0.1). `has_torch` says whether the dry run loaded torch.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

GOALS = {"help_ratio": 8.0, "dry_run_cpu_s": 1.0, "memory_error": 0.1}
STEPS = 12
LORA, DPO = {"adapter": "lora"}, {"method": "dpo"}
SHAPES: dict[str, tuple[int, int, int, int, dict[str, str]]] = {
    "4x256": (8192, 256, 4, 8, {}),
    "4x256, adapter": (8192, 256, 4, 8, LORA),
    "4x256, pairs": (8192, 256, 4, 8, DPO),
    "2x64, one chat": (2048, 64, 2, 1, {}),
    "2x256, one chat": (8192, 256, 2, 1, {}),
    "4x256, 24 chats": (8192, 256, 4, 24, {}),
    "12x256": (8192, 256, 12, 8, {}),
    "3x384": (8192, 384, 3, 6, {}),
    "6x384": (8192, 384, 6, 8, {}),
    "4x384, pairs": (8192, 384, 4, 4, DPO),
    "6x512, two chats": (8192, 512, 6, 2, {}),
    "8x512": (8192, 512, 8, 4, {}),
    "4x512, adapter": (8192, 512, 4, 8, LORA),
    "6x640, adapter": (8192, 640, 6, 4, LORA),
    "2x512, wide head": (30000, 512, 2, 16, {}),
    "8x768": (8192, 768, 8, 4, {}),
}
"""Vocabulary, width, layers, chats or pairs a step, and further settings."""


def cpu_s(command: list[str]) -> float:
    """Gives the CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def settings_of(root: Path, name: str) -> dict[str, Any]:
    """Gives the config of a shape's run."""
    *_, batch, more = SHAPES[name]
    return {
        "model_dir": str(root / name),
        "train_files": [str(root / ("pairs.jsonl" if more == DPO else "chats.jsonl"))],
        "output_dir": str(root / f"run {name}"),
        "profile": "plain",
        "batch_size": batch,
        "max_steps": STEPS,
        "device": "cpu",
        "num_threads": 1,
        **more,
    }


def in_fork(action: Callable[[], int]) -> int:
    """Gives what an action gives in a fork of this process, which stays as it is."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, str(action()).encode())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        found = told.read()
    os.waitpid(pid, 0)
    return int(found)


def held_bytes() -> int:
    """Gives the bytes this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def estimate_bytes(root: Path, name: str) -> int:
    """Makes the model of a shape and gives what the dry run says of its memory."""
    from train import chats

    from trainer import model_init
    from trainer.config import TrainerConfig
    from trainer.dry_run import plan_run

    vocabulary, width, layers, *_ = SHAPES[name]
    texts = [turn["content"] for record in chats(400, 18) for turn in record["messages"]]
    sizes = {"num_heads": width // 64, "num_kv_heads": max(1, width // 128), "head_dim": 64}
    model_init.PRESETS["shape"] = model_init.Preset(
        vocab_size=vocabulary, hidden_size=width, num_layers=layers, intermediate_size=3 * width, **sizes
    )
    model_init.init_model(root / name, preset="shape", corpus=texts, seed=0)
    config = TrainerConfig.from_mapping(settings_of(root, name))
    return int(plan_run(config)["memory_bytes"]["peak"])


def run_bytes(root: Path, name: str) -> int:
    """Gives the most bytes three steps hold above what the process holds before them."""
    from trainer.config import TrainerConfig
    from trainer.engine import TrainerEngine

    held = held_bytes()
    result = TrainerEngine().run_job(TrainerConfig.from_mapping(settings_of(root, name)))
    if not result.success:
        raise RuntimeError(result.error_message)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held


def measure_memory(root: Path, shapes: list[str]) -> dict[str, dict[str, float]]:
    """Gives estimate, measurement and error of each shape; each is made and run in forks that have computed nothing."""
    import torch

    import trainer.hf_trainer  # noqa: F401 - loaded once, before forking

    torch.set_num_threads(1)
    found = {}
    for name in shapes:
        estimate = in_fork(lambda name=name: estimate_bytes(root, name))  # type: ignore[misc]
        measured = in_fork(lambda name=name: run_bytes(root, name))  # type: ignore[misc]
        found[name] = {"estimate": estimate, "measured": measured, "error": round(estimate / measured - 1, 3)}
        print(f"{name}: {found[name]}", file=sys.stderr)
    return found


def measure(root: Path, shapes: list[str], *, is_quick: bool) -> dict[str, Any]:
    """Measures everything."""
    from train import chats, pairs

    for name, records in (("chats", chats(400, 18)), ("pairs", pairs(60))):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    memory = measure_memory(root, shapes or list(SHAPES)[: 3 if is_quick else None])
    frontier = [sys.executable, "-m", "frontier_cli.main"]
    plain, helped, dry, wall = [], [], [], []
    model = str(root / next(iter(memory)))
    planned = [*frontier, "train", str(root / "chats.jsonl"), "--model", model, "--dry-run", "-o", str(root / "none")]
    for _ in range(3 if is_quick else 9):
        plain.append(cpu_s([sys.executable, "-c", "pass"]))
        helped.append(cpu_s([*frontier, "train", "--help"]))
        start = time.perf_counter()
        dry.append(cpu_s(planned))
        wall.append(time.perf_counter() - start)
    imports = subprocess.run(
        [sys.executable, "-X", "importtime", *planned[1:]], capture_output=True, text=True, check=True
    ).stderr
    return {
        "help_ratio": round(statistics.median(b / a for a, b in zip(plain, helped, strict=True)), 2),
        "dry_run_cpu_s": round(statistics.median(dry), 3),
        "dry_run_s": round(statistics.median(wall), 3),
        "has_torch": any(line.rpartition("|")[2].strip() == "torch" for line in imports.splitlines()),
        "memory": memory,
        "memory_error": max(abs(one["error"]) for one in memory.values()),
        "goals": GOALS,
    }


def main() -> None:
    """Measures and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three shapes, fewer turns")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=[], help="shapes to compare, in place of all")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), args.shapes, is_quick=args.quick)
    print(json.dumps(result) if args.json else result)


if __name__ == "__main__":
    main()
