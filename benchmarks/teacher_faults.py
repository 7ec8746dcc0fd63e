"""A teacher that refuses, fails and is killed, at concurrency 64: what is lost, what is paid twice, what is overspent.

    python benchmarks/teacher_faults.py [--quick] [--json]

limit      a server that takes 100 requests a second (HTTP 429 with Retry-After: 1 above that): rows lost, goodput after
           the first 5 s as a share of the limit, share of refusals
faults     rows whose first tries meet HTTP 500, 503, a connection dropped or cut, HTML, a body that dribbles, silence,
           among rows that fail for good: the run ends, only those are rejected
kill       SIGKILL at half of the run, then the same command: requests paid twice, whether the bytes are those of a run
           that nobody killed; then one row more: requests
budget     --budget-usd for a third of the run: dollars over it, beside what 64 requests cost

Every run is the command itself, from a file to a file, against a server process on loopback (50 ms, 200-token replies).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from teacher import CONCURRENCY, ENVIRONMENT, LATENCY_S, SERVER, TEMPLATE

FAULTS = ("@500*1", "@503*2", "@drop*1", "@cut*1", "@garbage*1", "@slow*1", "@hang*1")
HOPELESS = ("@400*99", "@drop*99")
LIMIT_PER_S = 100
PRICE = ("1", "2")
"""Dollars per million tokens, in and out."""


class Service:
    """A server process and what it counted."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self) -> dict[str, Any]:
        """Gives statuses, times of answers and requests in flight."""
        with urllib.request.urlopen(f"{self.url}/stats") as page:
            found: dict[str, Any] = json.loads(page.read())
            return found

    def num_requests(self) -> int:
        """Gives how many requests came so far."""
        return sum(self.stats()["statuses"].values())


@contextmanager
def serving(*options: str) -> Iterator[Service]:
    """Runs a server process."""
    command = [sys.executable, str(SERVER), "--latency", str(LATENCY_S), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Service(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait()


def write(folder: Path, questions: list[str]) -> None:
    """Writes the tasks."""
    lines = [{"skill": "chat", "number": n, "question": text} for n, text in enumerate(questions)]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def command(url: str, output: str, *options: str) -> list[str]:
    """Gives the command line."""
    return [
        sys.executable, "-m", "frontier_cli.main", "synth", "teach", "tasks.jsonl", "--template", "bench.yaml",
        "--teacher", f"openai:m@{url}", "--concurrency", str(CONCURRENCY), "-q", "-o", output, *options,
    ]  # fmt: skip


def ask(folder: Path, url: str, output: str, *options: str) -> int:
    """Runs the command to its end and gives its exit code."""
    done = subprocess.run(command(url, output, *options), cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    return done.returncode


def rows(path: Path) -> list[dict[str, Any]]:
    """Gives the records of a file, none when there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def plain(num: int) -> list[str]:
    """Gives questions that nothing happens to."""
    return [f"How do I sort file {n} by its third column?" for n in range(num)]


def measure_limit(folder: Path, num: int) -> dict[str, Any]:
    """Asks a server that refuses what is above its limit."""
    write(folder, plain(num))
    with serving("--limit", str(LIMIT_PER_S)) as service:
        began = time.monotonic()
        code = ask(folder, service.url, "limit.jsonl")
        stats = service.stats()
    late = [at for at in stats["answered_at"] if at - began >= 5]
    statuses = stats["statuses"]
    return {
        "num": num,
        "exit_code": code,
        "num_lost": num - len(rows(folder / "limit.jsonl")),
        "goodput_after_5_s": round((len(late) - 1) / (late[-1] - late[0]) / LIMIT_PER_S, 3),
        "share_429": round(statuses.get("429", 0) / sum(statuses.values()), 4),
    }


def measure_faults(folder: Path, num: int) -> dict[str, Any]:
    """Asks about rows of which every fourth meets a fault, and every fiftieth one that never ends."""
    questions = plain(num)
    for place in range(0, num, 4):
        questions[place] += f" {FAULTS[place // 4 % len(FAULTS)]}"
    hopeless = list(range(2, num, 50))
    for number, place in enumerate(hopeless):
        questions[place] += f" {HOPELESS[number % len(HOPELESS)]}"
    write(folder, questions)
    with serving() as service:
        code = ask(folder, service.url, "faults.jsonl", "--timeout", "2", "--retries", "3")
        statuses = service.stats()["statuses"]
    rejected = rows(folder / "faults.rejects.jsonl")
    answered = [record["messages"][0]["content"] for record in rows(folder / "faults.jsonl")]
    right = [text for place, text in enumerate(questions) if place not in hopeless]
    return {
        "num": num,
        "exit_code": code,
        "num_faulty": len(range(0, num, 4)),
        "num_lost": len(set(right) - set(answered)),
        "is_in_order": answered == right,
        "num_hopeless": len(hopeless),
        "num_rejected": len(rejected),
        "statuses": statuses,
    }


def measure_kill(folder: Path, num: int) -> dict[str, Any]:
    """Kills a run at its half and goes on; then adds a row."""
    write(folder, plain(num))
    with serving() as service:
        ask(folder, service.url, "whole.jsonl")
        before = service.num_requests()
        line = command(service.url, "out.jsonl")
        victim = subprocess.Popen(line, cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        while service.num_requests() - before < num // 2 and victim.poll() is None:
            time.sleep(0.02)
        victim.send_signal(signal.SIGKILL)
        was_killed = victim.wait() == -signal.SIGKILL
        ask(folder, service.url, "out.jsonl")
        time.sleep(2 * LATENCY_S)
        repeated = service.num_requests() - before - num
        is_same = (folder / "out.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
        before = service.num_requests()
        write(folder, plain(num + 1))
        ask(folder, service.url, "out.jsonl")
        more = service.num_requests() - before
        num_rows = len(rows(folder / "out.jsonl"))
    return {
        "num": num,
        "was_killed": was_killed,
        "num_repeated": repeated,
        "is_byte_identical": is_same,
        "num_requests_of_one_more_row": more,
        "num_rows_then": num_rows,
    }


def measure_budget(folder: Path, num: int) -> dict[str, Any]:
    """Gives a run dollars for a third of it."""
    write(folder, plain(num))
    prices = ("--price-in", PRICE[0], "--price-out", PRICE[1], "--force")
    with serving() as service:
        ask(folder, service.url, "rich.jsonl", *prices)
        whole = json.loads((folder / "rich.jsonl.meta.json").read_text())["params"]["usage"]["usd"]
        budget = round(whole / 3, 6)
        code = ask(folder, service.url, "poor.jsonl", *prices, "--budget-usd", str(budget))
        spent = json.loads((folder / "poor.jsonl.meta.json").read_text())["params"]["usage"]["usd"]
    return {
        "num": num,
        "exit_code": code,
        "budget_usd": budget,
        "spent_usd": spent,
        "over_usd": round(max(spent - budget, 0.0), 6),
        "window_usd": round(whole / num * CONCURRENCY, 6),
    }


def main() -> int:
    """Measures and prints a line a fault, or one JSON line; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows, under 50 s")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    num = 1200 if options.quick else 2000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench.yaml").write_text(TEMPLATE)
        found: dict[str, Any] = {
            "limit": measure_limit(folder, num),
            "faults": measure_faults(folder, num),
            "kill": measure_kill(folder, num),
            "budget": measure_budget(folder, num),
        }
    limit, faults, kill, budget = found.values()
    found["ok"] = (
        limit["num_lost"] == 0
        and limit["goodput_after_5_s"] >= 0.9
        and limit["share_429"] <= 0.1
        and faults["is_in_order"]
        and faults["num_rejected"] == faults["num_hopeless"]
        and kill["num_repeated"] <= CONCURRENCY
        and kill["is_byte_identical"]
        and kill["num_requests_of_one_more_row"] == 1
        and budget["over_usd"] <= budget["window_usd"]
    )
    found["load"] = os.getloadavg()[0]
    if options.json:
        print(json.dumps(found))
    else:
        for what, values in found.items():
            print(f"{what:8}{json.dumps(values)}")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
