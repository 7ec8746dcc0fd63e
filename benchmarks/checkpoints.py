"""SIGKILL at random moments of a save-heavy training run, then resume: what is left of the newest checkpoint?

    python benchmarks/checkpoints.py                1,000 kills of our engine, 100 of the stock Hugging Face Trainer
    python benchmarks/checkpoints.py --quick        25 and 8

Children are forked from a process that has torch and transformers imported, so a kill costs a fraction of a second.
Each child resumes what the last one left, says so after its first step, and is killed at a random moment of the
saves that follow (one in five before that: while it loads). A resume that does not get to its first step has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIRST_STEP_S = 120.0
NUM_STEPS = 1_500
FRESH_AT_STEP = 1_300
Job = Callable[[Path, Callable[[], None]], None]


def main() -> int:
    """Runs both sides and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--peer-kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="25 kills and 8")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    kills, peer_kills = (25, 8) if options.quick else (options.kills, options.peer_kills)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        prepare(home)
        ours = hammer(our_run(home), home / "ours", kills, options.seed, our_newest)
        peer = hammer(peer_run(home), home / "peer", peer_kills, options.seed, peer_newest)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        **ours,
        **{f"peer_{key}": value for key, value in peer.items()},
        "cpu_s": round(children.ru_utime + children.ru_stime, 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for side, found in (("frontier train", ours), ("Hugging Face Trainer", peer)):
            print(f"{side}: {found['kills']} SIGKILLs, {found['torn_newest']} left a torn newest checkpoint,")
            print(f"    {found['torn_taken']} torn ones were taken, {found['resumes_failed']} resumes failed")
    return 1 if ours["torn_taken"] or ours["resumes_failed"] else 0


def prepare(home: Path) -> None:
    """Makes a small model, data, and imports everything the children need."""
    import torch
    import transformers  # noqa: F401 (imported for the children)

    from frontier_core.jsonl import write_records
    from trainer.model_init import init_model

    torch.set_num_threads(1)
    init_model(home / "model", preset="tiny", corpus=[f"{a} + {b}? {a + b}" for a in range(30) for b in range(30)])
    records = [
        {
            "messages": [{"role": "user", "content": f"{a} + 3?"}, {"role": "assistant", "content": f"{a + 3}"}],
            "metadata": {"skill": "add", "level": 1},
        }
        for a in range(16)
    ]
    write_records(home / "train.jsonl", records)
    for number, job in enumerate((our_run(home), peer_run(home))):
        warm_up(job, home / f"warm{number}", home / "modules")


def warm_up(job: Job, run: Path, listing: Path) -> None:
    """Runs two steps in a child and imports here what that needed, so that later children find it imported."""
    run.mkdir()
    child = os.fork()
    if child == 0:
        steps = iter((False, True))

        def stepped() -> None:
            if next(steps):
                listing.write_text("\n".join(sys.modules))
                os._exit(0)

        job(run, stepped)
        os._exit(1)
    os.waitpid(child, 0)
    for module in listing.read_text().splitlines() if listing.exists() else []:
        if module not in sys.modules and not module.startswith("__"):
            with contextlib.suppress(Exception):  # an optional part of a library that can't be imported here
                importlib.import_module(module)
    gc.freeze()  # a child's collector need not walk all that was imported


def hammer(job: Job, run: Path, kills: int, seed: int, newest: Callable[[Path], tuple[Path | None, bool]]) -> Any:
    """Kills, looks, resumes, over and over; gives the counts."""
    rng = random.Random(seed)
    run.mkdir()
    torn_newest = torn_taken = resumes_failed = done = 0
    save_s = 0.05
    while done < kills:
        is_early = rng.random() < 0.2
        child, reader = fork(job, run)
        started = time.monotonic()
        if is_early:
            time.sleep(rng.uniform(0, 0.5))
        else:
            ready, _, _ = select.select([reader], [], [], FIRST_STEP_S)
            if not (ready and os.read(reader, 1)):
                resumes_failed += 1
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(reader)
                forget_newest(run)  # what an operator would do by hand, so that the next resume has a chance
                continue
            first_s = time.monotonic() - started
            if ready and select.select([reader], [], [], 5)[0]:
                os.read(reader, 1)
                save_s = 0.8 * save_s + 0.2 * min(1.0, time.monotonic() - started - first_s)
            time.sleep(rng.uniform(0, 3 * save_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        done += 1
        taken, is_torn = newest(run)
        torn_newest += is_torn
        torn_taken += is_torn and taken is not None and not is_whole(taken)
        steps = [int(path.name.rpartition("-")[2]) for path in run.glob("checkpoint-*")]
        if max(steps, default=0) > FRESH_AT_STEP:
            shutil.rmtree(run)
            run.mkdir()
        if done % 100 == 0:
            print(f"{run.name}: {done} kills, {torn_newest} torn, {resumes_failed} failed", file=sys.stderr)
    return {"kills": kills, "torn_newest": torn_newest, "torn_taken": torn_taken, "resumes_failed": resumes_failed}


def fork(job: Job, run: Path) -> tuple[int, int]:
    """Starts a child; its pipe brings a byte after each step."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            job(run, lambda: os.write(writer, b"."))
        finally:
            os._exit(0)
    os.close(writer)
    return child, reader


def our_run(home: Path) -> Job:
    """A run of our engine that saves after every step."""

    def job(run: Path, stepped: Callable[[], None]) -> None:
        from trainer.config import TrainerConfig
        from trainer.engine import TrainerEngine

        config = TrainerConfig(
            model_dir=str(home / "model"), train_files=(str(home / "train.jsonl"),), output_dir=str(run),
            profile="plain", batch_size=4, max_steps=NUM_STEPS, save_every_steps=1, keep_last=2,
            logging_every_steps=1, device="cpu", num_threads=1,
        )  # fmt: skip
        TrainerEngine(lambda *_: stepped()).run_job(config)

    return job


def our_newest(run: Path) -> tuple[Path | None, bool]:
    """What our resume takes, and whether the checkpoint with the highest number is torn."""
    from trainer.checkpoints import damage, folders, newest_committed

    found = folders(run)
    return newest_committed(run), bool(found) and bool(damage(found[0]))


def peer_run(home: Path) -> Job:
    """The stock Trainer, saving after every step and resuming by `resume_from_checkpoint=True`."""

    def job(run: Path, stepped: Callable[[], None]) -> None:
        from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
        from transformers.trainer_utils import get_last_checkpoint

        class Told(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, *_: Any, **__: Any) -> None:
                stepped()

        model = AutoModelForCausalLM.from_pretrained(home / "model")
        rows = [{"input_ids": [1 + i, 2, 3, 4], "labels": [1 + i, 2, 3, 4]} for i in range(16)]
        arguments = TrainingArguments(
            output_dir=str(run), max_steps=NUM_STEPS, save_steps=1, save_total_limit=2, use_cpu=True,
            per_device_train_batch_size=4, disable_tqdm=True, report_to="none", logging_strategy="no",
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Told()])
        trainer.train(resume_from_checkpoint=True if get_last_checkpoint(str(run)) else None)

    return job


def peer_newest(run: Path) -> tuple[Path | None, bool]:
    """What the stock resume takes: the highest number, whatever is in it."""
    from transformers.trainer_utils import get_last_checkpoint

    last = get_last_checkpoint(str(run))
    return (Path(last), not is_whole(Path(last))) if last else (None, False)


def is_whole(checkpoint: Path) -> bool:
    """Says whether a checkpoint has every file and each can be read; by content, as it has no manifest of its own."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint / "model.safetensors", "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (no dict)
                weights.get_tensor(name)
        json.loads((checkpoint / "trainer_state.json").read_text())
        json.loads((checkpoint / "config.json").read_text())
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.load(checkpoint / name, weights_only=False)
    except (OSError, ValueError, SafetensorError, RuntimeError, EOFError):
        return False
    return True


def forget_newest(run: Path) -> None:
    """Removes the checkpoint with the highest number."""
    found = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    if found:
        shutil.rmtree(found[-1])


if __name__ == "__main__":
    sys.exit(main())
