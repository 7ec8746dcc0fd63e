"""A lake of many small samples: what adding, asking and streaming cost in CPU time, memory and disk.

    python benchmarks/lake.py [-n 5000000] [--quick] [--json] [--dir DIR]

Each step is a process of its own, so that its CPU time and its peak memory are its own. A file of samples is made first
(arithmetic, eight skills, the seven metadata keys, one in a hundred a duplicate), then: add, add the same again (all
are duplicates), verify, three queries, 200,000 samples of a stream by skill and level, compact. `--quick` takes 60,000.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FRONTIER = [sys.executable, "-c", "from frontier_cli.main import run; run()"]
DOMAINS = ("arithmetic", "web", "code", "math", "files", "git", "network", "words")
LICENSES = ("MIT", "Apache-2.0", "CC-BY-4.0", "GPL-3.0")


def make_file(path: Path, num: int) -> None:
    """Writes `num` samples of about 330 bytes."""
    with path.open("w") as file:
        for i in range(num):
            n = i - 1 if i % 100 == 99 else i  # a duplicate of the line before
            meta = {
                "skill": f"s{n % 8}", "level": n % 5 + 1, "domain": DOMAINS[n % 8], "task_type": "qa",
                "difficulty": ("easy", "hard")[n % 2], "safety_tags": ["pii"] * (n % 50 == 0), "tool_set": ["bash"],
                "graph_coverage": n % 10 / 10, "source_license": LICENSES[n % 4], "seed": n,
            }  # fmt: skip
            turns = [
                {"role": "user", "content": f"What is {n} + {n * 7}?"},
                {"role": "assistant", "content": f"{n * 8}"},
            ]
            file.write(json.dumps({"messages": turns, "metadata": meta}, separators=(",", ":")) + "\n")


def step(words: list[str], folder: Path, *, expect: int = 0) -> dict[str, Any]:
    """Runs one command and gives its CPU seconds, wall seconds, peak memory in MB and output."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([*FRONTIER, *words], stdout=out, cwd=folder)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != expect:
            sys.exit(f"frontier {' '.join(words)}: exit {child.returncode}")
        out.seek(0)
        text = out.read(1 << 16).decode()
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_s": round(time.perf_counter() - started, 2),
        "rss_mb": round(usage.ru_maxrss / 1024),
        "out": text,
    }


def measure(num: int, folder: Path) -> dict[str, Any]:
    """Runs every step."""
    data = folder / "samples.jsonl"
    make_file(data, num)
    distinct = num - num // 100
    steps = {
        "add": ["lake", "add", "samples.jsonl", "--json"],
        "add_again": ["lake", "add", "samples.jsonl", "--json"],
        "verify": ["lake", "verify"],
        "count": ["lake", "query", "--where", "skill=s3 AND level>=3", "--count"],
        "stats": ["lake", "stats", "--json"],
        "query": ["lake", "query", "--where", "safety_tags = pii AND source_license = MIT", "-o", "found.jsonl"],
        "stream": ["stream", "--seed", "1", "-n", "200000", "-o", "stream.jsonl"],
        "compact": ["lake", "compact"],
    }
    found: dict[str, Any] = {"num_records": num, "text_bytes": data.stat().st_size, "steps": {}}
    for name, words in steps.items():
        done = step(words, folder)
        out = done.pop("out")
        if name in ("add", "add_again"):
            added = json.loads(out)["num_added"]
            assert added == (distinct if name == "add" else 0), added
        if name == "count":
            found["counted"] = int(out)
        found["steps"][name] = done
        print(f"{name:10}{done}", file=sys.stderr)
    shards = folder / "lake" / "shards"
    found["lake_bytes"] = sum(item.stat().st_size for item in shards.glob("*.zst"))
    found["index_bytes"] = sum(item.stat().st_size for item in shards.glob("*.idx"))
    found["records_per_cpu_s"] = round(num / found["steps"]["add"]["cpu_s"])
    found["rss_mb"] = max(item["rss_mb"] for item in found["steps"].values())
    return found


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-n", "--num", type=int, default=5_000_000, help="samples")
    parser.add_argument("--quick", action="store_true", help="60,000 samples")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    parser.add_argument("--dir", default=None, help="where the files go while it runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        found = measure(60_000 if options.quick else options.num, Path(folder))
    if options.json:
        print(json.dumps(found))
        return
    for name, item in found["steps"].items():
        print(f"{name:12}{item['cpu_s']:9.2f} CPU s{item['rss_mb']:7} MB at most")
    size, text = found["lake_bytes"] + found["index_bytes"], found["text_bytes"]
    print(f"{found['num_records']:,} samples, {text:,} bytes of text: {size:,} bytes on disk ({size / text:.0%})")


if __name__ == "__main__":
    main()
