"""Rows a second of telemetry ingest beside polars doing the same sums, memory over the size, time of a policy update.

    python benchmarks/telemetry.py [--rows N] [--quick] [--json]

Both read the same file of telemetry lines (four metrics of a hundred cells in ten windows: 4,000 sums), each in a
process of its own, measured by CPU time and by the peak of its resident memory beyond what it had before reading. Ours
checks every line and adds up exactly, in any order; polars adds up floats. Without polars its part is null.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
METRICS = ("loss", "accuracy", "first_pass_accuracy", "refusal")
KEYS = ("run_id", "tag", "metric", "step_from", "step_to")

OURS = """
import json, resource, sys, time
from curriculum.ingest import ingest
def rss(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start = rss(), time.process_time()
num = sum(1 for _ in ingest([sys.argv[1]], on_note=lambda text: None))
print(json.dumps([time.process_time() - start, rss() - before, num]))
"""
POLARS = """
import json, resource, sys, time
import polars
def rss(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start = rss(), time.process_time()
sums = [polars.col(name).sum() for name in ("n", "sum", "sum_sq", "tokens", "successes", "trials")]
keys = ["run_id", "tag", "metric", "step_from", "step_to", "round"]
frame = polars.scan_ndjson(sys.argv[1], infer_schema_length=1000).group_by(keys).agg(sums).collect(engine="streaming")
print(json.dumps([time.process_time() - start, rss() - before, frame.height]))
"""


def write(path: Path, rows: int, *, cells: int, windows: int) -> None:
    """Writes telemetry lines, 100,000 different ones over and over: as many keys whatever the number of rows."""
    draw = random.Random(0)
    tags = [f"skill=s{index // 4},level={index % 4 + 1}" for index in range(cells)]
    with io.StringIO() as file:
        for index in range(min(rows, 100_000)):
            metric, step = METRICS[index % len(METRICS)], 10 * draw.randrange(windows)
            head = (
                f'{{"run_id":"r","step_from":{step},"step_to":{step + 9},"tag":"{draw.choice(tags)}",'
                f'"metric":"{metric}","round":0,'
            )
            if metric == "loss":
                value = draw.random() * 3
                body = f'"n":1,"sum":{value!r},"sum_sq":{value * value!r},"tokens":12,"successes":0,"trials":0}}\n'
            else:
                hit = draw.randrange(2)
                body = f'"n":1,"sum":{hit}.0,"sum_sq":{hit}.0,"tokens":0,"successes":{hit},"trials":1}}\n'
            file.write(head + body)
        block = file.getvalue().encode()
    with path.open("wb") as out:
        for _ in range(max(1, rows // 100_000)):
            out.write(block)


def measure(code: str, path: Path) -> tuple[float, float, int]:
    """Runs code over a file in a new process: CPU seconds, MiB gained at the peak, lines made."""
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, kib, num = json.loads(done.stdout)
    return seconds, kib / 1024, num


def update_ms(num: int) -> dict[str, float]:
    """Gives the median CPU time of a policy update over cells.

    `columns` is the update itself, from a round's sums to weights, factors and state; `objects` also takes the sums
    from one object a cell; `lines` also makes every policy line with its evidence and sentence.
    """
    from curriculum.cells import CellStats
    from curriculum.columns import Cells, Evidence
    from curriculum.decision import decide
    from curriculum.policy import update
    from curriculum.settings import PolicySettings
    from frontier_core.records import TagStats

    prior = {f"skill=s{index // 4},level={index % 4 + 1}": 1.0 for index in range(num)}
    stats = {
        tag: CellStats(
            accuracy=TagStats(n=40, total=20.0, total_sq=20.0, successes=20, trials=40),
            loss=TagStats(n=40, total=40.0 + index % 7, total_sq=60.0, tokens=400),
        )
        for index, tag in enumerate(prior)
    }
    settings = PolicySettings()
    lines = update(prior, stats, None, settings=settings)
    cells = Cells.of(prior)
    seen, before = Evidence.of(cells, stats), lines.decision

    def median(step: Callable[[], object]) -> float:
        times = []
        for _ in range(201):
            start = time.process_time()
            step()
            times.append(time.process_time() - start)
        return round(1000 * statistics.median(times), 3)

    return {
        "columns": median(lambda: decide(cells, seen, before.state.copy(), before.weight, settings=settings, number=2)),
        "objects": median(lambda: update(prior, stats, lines, settings=settings)),
        "lines": median(lambda: list(update(prior, stats, lines, settings=settings))),
    }


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the large file")
    parser.add_argument("--quick", action="store_true", help="300,000 rows")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    rows = 300_000 if options.quick else options.rows
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.jsonl", Path(folder) / "large.jsonl"
        write(small, rows // 10, cells=100, windows=10)
        write(large, rows, cells=100, windows=10)
        ours_small, ours = measure(OURS, small), measure(OURS, large)
        theirs = measure(POLARS, large) if find_spec("polars") else None
    if theirs is None:
        print("polars is not installed: its part is null", file=sys.stderr)
    found: dict[str, Any] = {
        "rows": rows,
        "rows_per_cpu_s": round(rows / ours[0]),
        "polars_rows_per_cpu_s": round(rows / theirs[0]) if theirs else None,
        "ratios": {
            "polars": round(theirs[0] / ours[0], 3) if theirs else None,
            "memory_growth": round((ours[1] + 1) / (ours_small[1] + 1), 2),
        },
        "memory_mib": {
            "tenth": round(ours_small[1], 1),
            "all": round(ours[1], 1),
            "polars": theirs and round(theirs[1], 1),
        },
        "num_keys": ours[2],
        "same_keys": theirs is None or theirs[2] == ours[2],
        "update_ms": {"100": update_ms(100), "1000": update_ms(1000)},
    }
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:24}{value}")


if __name__ == "__main__":
    main()
