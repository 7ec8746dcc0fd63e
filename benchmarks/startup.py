"""Start-up cost: CPU of `frontier` commands as a ratio to `python -c pass`, both in one run, interleaved.

    python benchmarks/startup.py [--quick] [--json]

Goals: `frontier -V` and `frontier -h` <= 2x, `frontier validate` of one line <= 8x. Peers' command lines beside us when
they are installed in the same environment. Compile the packages first (`make setup` does).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TURNS = '[{"role":"user","content":"7 + 5?"},{"role":"assistant","content":"12"}]'
LINE = f'{{"messages":{TURNS},"metadata":{{"skill":"x"}}}}\n'
PEERS = ("datasets-cli", "transformers", "accelerate", "trl")
GOALS = {"version": 2.0, "help": 2.0, "validate_one": 8.0}


def cpu_s(command: list[str]) -> float:
    """Gives the CPU seconds (user and system) of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, under 50 s")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    rounds = 15 if options.quick else 60
    frontier = shutil.which("frontier", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "frontier"
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one.jsonl"
        one.write_text(LINE)
        commands = {
            "pass": [sys.executable, "-c", "pass"],
            "version": [frontier, "-V"],
            "help": [frontier, "-h"],
            "validate_one": [frontier, "validate", str(one), "--profile", "plain", "-o", os.devnull],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                times[name].append(cpu_s(command))
        peers = {}
        for program in PEERS:
            path = shutil.which(program, path=str(Path(sys.executable).parent))
            if path:
                peers[f"{program} --help"] = statistics.median(
                    cpu_s([path, "--help"]) for _ in range(2 if options.quick else 5)
                )
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {name: medians[name] / medians["pass"] for name in GOALS}
    result = {
        "ratios": {name: round(value, 2) for name, value in ratios.items()},
        "goals": GOALS,
        "ok": all(ratios[name] <= goal for name, goal in GOALS.items()),
        "cpu_ms": {name: round(value * 1000, 1) for name, value in medians.items()},
        "peers_ratio": {name: round(value / medians["pass"], 1) for name, value in peers.items()},
        "rounds": rounds,
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, goal in GOALS.items():
        print(f"{name:14}{ratios[name]:6.2f}x  (goal {goal:g}x)  {medians[name] * 1000:6.1f} ms")
    for name, value in result["peers_ratio"].items():
        print(f"{name:28}{value:6.1f}x")


if __name__ == "__main__":
    main()
