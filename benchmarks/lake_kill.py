"""Kills a lake's writer at one system call after the other and asks `lake verify` each time.

    python benchmarks/lake_kill.py [--every N] [--json]

Needs strace. A traced run of `lake add` and of `lake compact` lists the system calls from taking the lock on; then for
each of them (or every Nth) a copy of the lake gets a writer that the kernel kills there (`strace -e inject`). Each time
every record must be there and hash to what its index says, the lake must be in the state before or the one after,
nothing between, and the next writer must go through.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from frontier_core.index_where import Where
from frontier_core.lake import Lake, query, verify
from frontier_core.lake_write import add

CODE = (
    "import numpy, numpy.random, zstandard, xxhash, typer\n"
    "import frontier_core.lake_write, frontier_ops.stage_lake\n"
    "from frontier_cli.main import run; run()"
)
_CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")


def write_file(path: Path, name: str, num: int) -> Path:
    """Writes a few records."""
    lines = [json.dumps({"messages": [], "metadata": {"skill": name, "number": n}}) for n in range(num)]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def state(lake: Path) -> tuple[int, list[bytes]]:
    """Gives the number of a lake's state, and all its lines, sorted."""
    opened = Lake.open(lake)
    return opened.generation, sorted(line for _, _, line in query(opened, Where()))


def trace(words: list[str], folder: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a frontier command under strace."""
    command = ["strace", "-f", "-qq", *options, sys.executable, "-c", CODE, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False)


def calls_after_lock(words: list[str], folder: Path) -> list[tuple[str, int]]:
    """Gives each system call from the lock on: its name, and the how-manieth of that name it is."""
    log = folder / "trace.log"
    trace(words, folder, "-o", str(log))
    seen: Counter[str] = Counter()
    found: list[tuple[str, int]] = []
    is_locked = False
    for line in log.read_text(errors="replace").splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        seen[call[1]] += 1
        is_locked = is_locked or "lake/.lock" in line
        if is_locked and call[1] not in ("exit_group", "exit", "rt_sigreturn"):
            found.append((call[1], seen[call[1]]))
    log.unlink()
    return found


def sweep(words: list[str], base: Path, every: int) -> dict[str, Any]:
    """Kills a command at its calls, every Nth of them, and gives what was seen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def fresh() -> None:
            shutil.rmtree(folder / "lake", ignore_errors=True)
            shutil.copytree(base / "lake", folder / "lake")
            shutil.copy(base / "new.jsonl", folder)

        fresh()
        before = state(folder / "lake")
        calls = calls_after_lock(words, folder)
        after = state(folder / "lake")
        result = {"calls": len(calls), "killed": 0, "before": 0, "after": 0, "broken": 0}
        for place, (call, number) in enumerate(calls):
            if place % every:
                continue
            fresh()
            done = trace(words, folder, "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}")
            result["killed"] += done.returncode in (-9, 137)
            now, health = state(folder / "lake"), verify(folder / "lake", deep=True)
            is_whole = not health.problems and now in (before, after)
            result["before"] += now == before
            result["after"] += now == after
            if is_whole:
                add(folder / "lake", [str(folder / "new.jsonl")])
                is_whole = not verify(folder / "lake", deep=True).problems
            result["broken"] += not is_whole
            if not is_whole:
                print(f"broken at {call} {number}: {health}", file=sys.stderr)
        return result


def main() -> None:
    """Sweeps and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--every", type=int, default=1, help="only every Nth call")
    parser.add_argument("--quick", action="store_true", help="every 40th call")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    if shutil.which("strace") is None:
        sys.exit("error: strace is not installed\nhint: apt-get install strace")
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for number in range(3):
            add(base / "lake", [str(write_file(base / f"{number}.jsonl", f"s{number}", 60))])
        write_file(base / "new.jsonl", "new", 50)
        every = 40 if options.quick else options.every
        found = {
            "add": sweep(["lake", "add", "new.jsonl"], base, every),
            "compact": sweep(["lake", "compact"], base, every),
        }
    found["ok"] = all(not item["broken"] and item["killed"] for item in found.values())  # type: ignore[assignment]
    if options.json:
        print(json.dumps(found))
        return
    for what in ("add", "compact"):
        item = found[what]
        print(
            f"{what:8} killed at {item['killed']} of {item['calls']} calls: {item['before']} left the state before, ",
            end="",
        )
        print(f"{item['after']} the one after, {item['broken']} broke the lake")


if __name__ == "__main__":
    main()
