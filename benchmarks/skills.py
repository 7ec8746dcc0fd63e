"""Records a second of each procedural skill on one core, beside reasoning-gym's comparable tasks, in one run.

    python benchmarks/skills.py [--quick] [--json]

Both sides make records in turns, round by round, and CPU time counts: ours whole records with their metadata, theirs a
question, an answer and its metadata. Then the whole path to finished lines (split, duplicates, marks, JSON) with one
process and with two. Goals: 50,000 records a second of arithmetic, 1,000 of SYLLO. Without reasoning-gym
its part is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import count
from typing import Any

from frontier_core.domains import Domain
from generators.synth import Plan, generate_lines, plan_requests
from generators.table import GENERATORS

SKILLS = {"binary": 4, "discrimination": 2, "math_mc": 2, "sequence_predict": 2, "syllo": 3, "shell_text_processing": 2}
"""Skill -> the level that is measured, a middle one."""

LARGE = ("binary", "discrimination", "sequence_predict", "syllo")
"""Of these a level has enough problems for a long run."""

COMPARABLE = {
    "chain_sum": "binary",
    "base_conversion": "binary",
    "basic_arithmetic": "math_mc",
    "number_sequence": "sequence_predict",
}
"""Task of reasoning-gym -> our skill that is nearest to it."""

SLOW = {"number_sequence": 200, "syllo": 10, "shell_text_processing": 4}
"""What makes so many times fewer records a round, for its round to last about as long."""

GOALS = {"binary": 50_000, "syllo": 1_000}

Maker = Callable[[int], object]


def makers() -> dict[str, Maker]:
    """Gives what makes record `index`, by name: our skills, then `rg:TASK`."""
    found: dict[str, Maker] = {}
    for skill, level in SKILLS.items():
        sample = GENERATORS.get(skill).sample
        found[skill] = lambda index, sample=sample, level=level: sample(1, index, level)
    if find_spec("reasoning_gym"):
        import reasoning_gym

        for task in COMPARABLE:
            found[f"rg:{task}"] = reasoning_gym.create_dataset(task, seed=1, size=10**9).__getitem__
    return found


def rates(num: int, rounds: int) -> dict[str, float]:
    """Gives records per CPU second, the median of the rounds; everybody has a turn in each round."""
    made = {name: (make, count()) for name, make in makers().items()}
    seen: dict[str, list[float]] = {name: [] for name in made}
    for name, (make, places) in made.items():
        make(next(places))  # tables are loaded once
        seen[name].clear()
    for _ in range(rounds):
        for name, (make, places) in made.items():
            share = max(1, num // SLOW.get(name.removeprefix("rg:"), 1))
            start = time.process_time()
            for _ in range(share):
                make(next(places))
            seen[name].append(share / (time.process_time() - start))
    return {name: statistics.median(values) for name, values in seen.items()}


def path_s(num: int, num_workers: int) -> tuple[float, float]:
    """Gives what the lines of a run over the skills of large levels take: seconds by the clock, and on free cores.

    The second is CPU time: the reader's, or its share of each worker's where that is more.
    """
    domains = [Domain(name=skill, skill=skill, levels=(SKILLS[skill],)) for skill in LARGE]
    plan = Plan(requests=plan_requests(domains, num), seed=1)
    before, start = os.times(), time.perf_counter()
    total = sum(1 for _ in generate_lines(plan, num_workers=num_workers))
    wall, after = time.perf_counter() - start, os.times()
    assert total == num
    own = after.user + after.system - before.user - before.system
    workers = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, max(own, workers / num_workers)


def measure(num: int, rounds: int, num_lines: int) -> dict[str, Any]:
    """Measures everything."""
    by_name = rates(num, rounds)
    ours = {name: rate for name, rate in by_name.items() if not name.startswith("rg:")}
    peers = {name.removeprefix("rg:"): rate for name, rate in by_name.items() if name.startswith("rg:")}
    runs = [(path_s(num_lines, 1), path_s(num_lines, 2)) for _ in range(3)]
    return {
        "records_per_s": {name: round(rate) for name, rate in ours.items()},
        "peer_records_per_s": {name: round(rate) for name, rate in peers.items()},
        "ratios": {
            "reasoning_gym": {task: round(ours[COMPARABLE[task]] / rate, 2) for task, rate in peers.items()},
            "two_workers": round(statistics.median(one[0] / two[0] for one, two in runs), 2),
            "two_workers_by_cpu": round(statistics.median(one[1] / two[1] for one, two in runs), 2),
        },
        "lines_per_cpu_s": round(num_lines / statistics.median(one[1] for one, _ in runs)),
        "goals": GOALS,
        "ok": all(ours[name] >= goal for name, goal in GOALS.items()),
    }


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    found = measure(1000, 5, 12_000) if options.quick else measure(4000, 15, 60_000)
    if options.json:
        print(json.dumps(found))
        return
    for name, rate in found["records_per_s"].items():
        print(f"{name:24}{rate:9,} records/s" + (f"  (goal {GOALS[name]:,})" if name in GOALS else ""))
    for task, ratio in found["ratios"]["reasoning_gym"].items():
        rate = found["peer_records_per_s"][task]
        print(f"{'rg ' + task:24}{rate:9,} records/s  {COMPARABLE[task]} makes {ratio:g} times as many")
    speedup, free = found["ratios"]["two_workers"], found["ratios"]["two_workers_by_cpu"]
    print(f"{'whole path, four skills':24}{found['lines_per_cpu_s']:9,} lines per CPU second")
    print(f"{'two workers':24}{speedup:9} times as fast by the clock here, {free} by CPU time, on two free cores")


if __name__ == "__main__":
    main()
