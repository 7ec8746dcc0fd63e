"""Kills a training run with SIGKILL at random moments, resumes it, and compares it with one that was left alone.

    python benchmarks/resume.py [--kills 200] [--quick] [--json] [--log FILE]

Each run follows a policy that changes while it trains, with flat layout and a checkpoint every other step. A kill may
fall anywhere: while the model loads, inside a step, inside a checkpoint's writing. Its moment is drawn in CPU time of
the victim, plus a few milliseconds by the clock so that waiting for the disk is hit too; a busy machine then kills no
earlier than a quiet one. Every run is killed and resumed until it gets through; then weights, optimizer, random
generators, the loss lines of its telemetry and its weight log must equal the undisturbed run's bit for bit. Workers are
forked from a process that has torch loaded already. Keys: `kills`, `in_save` (kills that left a half-written
checkpoint), `failed_resumes`, `different_runs`, `runs`, `layout`. With `--log` each run's line is appended to FILE, and
runs that stand there already count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

NUM_STEPS = 28
BATCH = 48
CHANGE_AT = 6
POLICIES = ({"skill=add,level=1": 1.0, "skill=say,level=2": 3.0}, {"skill=add,level=1": 5.0, "skill=say,level=2": 1.0})


def records(num: int) -> list[dict[str, Any]]:
    """Gives chats of two skills and unlike lengths."""
    rng = random.Random(4)
    found = []
    for index in range(num):
        a, b = rng.randint(1, 99), rng.randint(1, 9)
        asked, answer, skill, level = f"{a} + {b}?", str(a + b), "add", 1
        if index % 2:
            asked, answer, skill, level = f"Say {b} times the word tree, number {a}.", " ".join(["tree"] * b), "say", 2
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        found.append({"messages": turns, "metadata": {"skill": skill, "level": level}})
    return found


def write_policy(path: Path, weights: dict[str, float]) -> None:
    """Writes a policy file, whole or not at all."""
    from frontier_core.allocation import PolicyLine

    total = sum(weights.values())
    shares = {tag: weight / total for tag, weight in weights.items()}
    made = [PolicyLine(tag=tag, weight=share, previous=0.5, reason="by hand") for tag, share in shares.items()]
    lines = [json.dumps(line.to_record()) + "\n" for line in made]
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    temp.write_text("".join(lines))
    os.replace(temp, path)


def prepare(root: Path) -> None:
    """Makes model and data."""
    from trainer import model_init

    model_init.PRESETS["resume"] = model_init.Preset(
        vocab_size=320, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=64
    )
    made = records(400)
    texts = [turn["content"] for record in made for turn in record["messages"]]
    model_init.init_model(root / "model", preset="resume", corpus=texts, seed=5)
    (root / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in made))


def train(root: Path, name: str, num_steps: int = NUM_STEPS, **settings: Any) -> None:
    """Runs or resumes one run to its end; the policy file changes when step `CHANGE_AT` is done."""
    from trainer.config import TrainerConfig
    from trainer.engine import TrainerEngine

    policy = root / f"{name}.policy.jsonl"
    if not policy.exists():
        write_policy(policy, POLICIES[0])

    def change(step: int, *_: Any) -> None:
        if step == CHANGE_AT:
            write_policy(policy, POLICIES[1])

    config = TrainerConfig.from_mapping(
        {
            "model_dir": str(root / "model"),
            "train_files": [str(root / "data.jsonl")],
            "output_dir": str(root / name),
            "policy": str(policy),
            "run_id": "resume",
            "profile": "plain",
            "seed": 3,
            "batch_size": BATCH,
            "max_steps": num_steps,
            "save_every_steps": 2,
            "logging_every_steps": 2,
            "learning_rate": 5e-3,
            "device": "cpu",
            "num_threads": 1,
            **settings,
        }
    )
    result = TrainerEngine(change).run_job(config)
    if not result.success:
        raise RuntimeError(result.error_message or "not finished")


def fingerprint(run: Path, num_steps: int = NUM_STEPS) -> dict[str, str]:
    """Gives digests of everything that must be equal."""
    import torch

    last = run / f"checkpoint-{num_steps}"
    found = {"weights": sha256((last / "model.safetensors").read_bytes()).hexdigest()}
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        found[name] = _digest(torch.load(last / name, weights_only=False))
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    kept = [line for line in lines if line["metric"] in ("loss", "grad_norm", "strain")]
    found["telemetry"] = _digest(kept)
    found["weight log"] = sha256((run / "weights.jsonl").read_bytes()).hexdigest()
    return found


def _digest(value: Any) -> str:
    """Gives a digest of nested values, tensors by their bytes."""
    import numpy
    import torch

    def flat(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            return sha256(item.detach().numpy().tobytes()).hexdigest()
        if isinstance(item, numpy.ndarray):
            return sha256(item.tobytes()).hexdigest()
        if isinstance(item, dict):
            return {str(key): flat(more) for key, more in item.items()}
        return [flat(more) for more in item] if isinstance(item, (list, tuple)) else repr(item)

    return sha256(json.dumps(flat(value), sort_keys=True).encode()).hexdigest()


def in_fork(action: Any) -> int:
    """Starts an action in a forked child and gives its process id; the child exits 1 with a trace when it fails."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        warnings.simplefilter("ignore")
        action()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(pid: int, cpu_s: float, rng: random.Random) -> int | None:
    """Gives the exit status of a child, None when it still runs after so many CPU seconds and a moment more."""
    clock = Path(f"/proc/{pid}/schedstat")
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if int(clock.read_text().split()[0]) * 1e-9 >= cpu_s:
            time.sleep(rng.uniform(0, 0.02))
            return None
        time.sleep(0.001)


def torment(root: Path, name: str, rng: random.Random, longest_s: float, kills: int, **settings: Any) -> dict[str, Any]:
    """Kills and resumes one run until it gets through; gives kills, failed resumes and its fingerprint.

    Args:
        root: where model and data lie.
        name: the run.
        rng: draws the moments.
        longest_s: no attempt has more CPU time, until `kills` are spent.
        kills: how many at most.
        settings: config over the ordinary one, `num_steps` too.
    """
    done = failed = in_save = 0
    while True:
        pid = in_fork(lambda: train(root, name, **settings))
        status = wait(pid, rng.uniform(0, longest_s) if done < kills else float("inf"), rng)
        if status is None:
            os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            found = fingerprint(root / name, settings.get("num_steps", NUM_STEPS))
            return {"kills": done, "in_save": in_save, "failed": failed, "print": found}
        if status == -signal.SIGKILL:
            done += 1
            in_save += any((root / name).glob(f".checkpoint-*.{pid}.tmp"))
        else:
            failed += 1
            if failed > 3:
                return {"kills": done, "in_save": in_save, "failed": failed, "print": {}}


def measure(root: Path, kills: int, seed: int, log: Path | None) -> dict[str, Any]:
    """Measures everything."""
    import torch

    import trainer.hf_trainer  # noqa: F401 - loaded once, before forking

    torch.set_num_threads(1)
    prepare(root)
    start = time.process_time()
    train(root, "undisturbed")
    whole_s = time.process_time() - start
    expected = fingerprint(root / "undisturbed")
    layout = json.loads((root / "undisturbed" / "result.json").read_text())["summary"]["layout"]
    told = [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    while (total := sum(one["kills"] for one in told)) < kills:
        name = f"run-{len(told)}"
        found = torment(root, name, random.Random(f"{seed} {name}"), whole_s, kills - total)
        unlike = [key for key in expected if found["print"].get(key) != expected[key]]
        told.append({key: found[key] for key in ("kills", "in_save", "failed")} | {"unlike": unlike})
        print(f"{name}: {told[-1]}", file=sys.stderr)
        shutil.rmtree(root / name)
        if log:
            with log.open("a") as file:
                file.write(json.dumps(told[-1]) + "\n")
    return {
        "kills": total,
        "in_save": sum(one["in_save"] for one in told),
        "failed_resumes": sum(one["failed"] for one in told),
        "different_runs": sum(bool(one["unlike"]) for one in told),
        "runs": len(told),
        "layout": layout,
        "seed": seed,
    }


def main() -> None:
    """Measures and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--quick", action="store_true", help="8 kills")
    parser.add_argument("--log", type=Path, help="keeps the runs done, so that a sweep can be cut short and taken up")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), 8 if args.quick else args.kills, args.seed, args.log)
    print(json.dumps(result) if args.json else result)


if __name__ == "__main__":
    main()
