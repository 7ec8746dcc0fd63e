"""What a plan costs on each sandbox backend: wall milliseconds of `true`, in one run, interleaved; medians of rounds.

    python benchmarks/sandbox.py [--rounds N] [--json]

Backends that do not work here are left out and named on stderr.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

from frontier_core.errors import EnvironmentMissing
from validators.sandbox.backend import BACKENDS, open_sandbox
from validators.sandbox.contract import Sandbox

PER_ROUND = {"docker-ns": 20, "docker-run": 4, "native-ns": 20}


def plan_ms(sandbox: Sandbox, num_plans: int) -> float:
    """Gives the wall milliseconds of one trivial plan."""
    began = time.monotonic()
    for _ in range(num_plans):
        outcome = sandbox.run({"commands": ["true"]})
        if outcome.status != "ok":
            raise SystemExit(f"{sandbox.name}: {outcome.status} {outcome.reason}")
    return 1000 * (time.monotonic() - began) / num_plans


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    sandboxes: dict[str, Sandbox] = {}
    for name in BACKENDS:
        try:
            sandboxes[name] = open_sandbox(name)
        except EnvironmentMissing as error:
            print(f"{name} left out: {error.message}", file=sys.stderr)
    times: dict[str, list[float]] = {name: [] for name in sandboxes}
    for _ in range(options.rounds):
        for name, sandbox in sandboxes.items():
            times[name].append(plan_ms(sandbox, PER_ROUND[name]))
    for sandbox in sandboxes.values():
        sandbox.close()
    medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
    if options.json:
        print(json.dumps({"plan_ms": medians}))
    else:
        for name, value in medians.items():
            print(f"{name:<12}{value:>8.1f} ms{value / next(iter(medians.values())):>8.1f}x")


if __name__ == "__main__":
    main()
