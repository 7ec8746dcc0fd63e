"""Asking a teacher at concurrency 64: our whole path from stdin to stdout, beside a bare loop, an SDK and peers.

    python benchmarks/teacher.py [--quick] [--json] [--num N] [--peers FOLDER]

A server on loopback (a process of its own) answers after 50 ms with about 200 tokens, so that 64 requests in flight can
do 1,280 requests/s. Each contender is a child process that asks N questions; its CPU is that of the whole process.
`share_of_limit` is measured by the server from the first to the last answer, `cpu_s_per_1000` is what one more thousand
questions cost; what a process pays once, to start, is told apart (`share_with_start`, `cpu_s_per_1000_with_start`).

    ours     frontier synth teach: JSONL from a pipe, template, journal, JSON and schema check, record, ordered JSONL
    bare     aiohttp and orjson, nothing else
    peers    openai (the provider's own SDK), curator, data-designer, distilabel, synthetic-data-kit, each from an
             environment in FOLDER (or FRONTIER_TEACHER_PEERS); `python benchmarks/teacher_peers.py FOLDER` makes them

A ratio is our CPU over theirs, smaller is better; the best peer is the one that needs least CPU. A peer that is not
there is null. Peers are slow to start and to ask, so they run once, over fewer questions (`num` in the JSON says how
many); their `after start` is what they use between the first answer and the last, so what they prepare is not counted.

Goals: share_of_limit >= 0.85, cpu_s_per_1000 <= 0.40. Both need an idle machine; the bare loop beside us tells
what this machine gives at the moment.
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
import threading
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from teacher_peers import SCRIPTS, python_of

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "tests" / "fakes" / "llm_server.py"
CONCURRENCY, LATENCY_S = 64, 0.05
LIMIT = CONCURRENCY / LATENCY_S
# As an installed program runs: its byte code is kept.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
ENVIRONMENT["PYTHONPATH"] = str(ROOT)
FEW = 100
"""Questions of the run that tells what start-up costs."""
NUM_OF_PEER = {"openai": 200, "curator": 500, "data-designer": 300, "distilabel": 256, "synthetic-data-kit": 128}
"""Questions a peer is asked with `--quick`; without, twice as many."""
SAMPLE_S = 0.05
"""How often a peer's CPU is read."""
NO_PEER = "no such environment; see --peers"
GOALS = {"share_of_limit": 0.85, "cpu_s_per_1000": 0.40}

TEMPLATE = """
name: bench
skill: chat
reply_tokens: 200
schema:
  type: object
  required: [reply]
  properties: {reply: {type: string}}
system: You answer in one JSON object.
user: "Question {{ number }}: {{ question }}"
turns:
  - {role: user, content: "{{ question }}"}
  - {role: assistant, content: "{{ answer.reply }}"}
"""

BARE = """
import asyncio, sys, aiohttp, orjson
async def main(url):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async def work():
            for line in sys.stdin.buffer:
                task = orjson.loads(line)
                body = {"model": "m", "messages": [{"role": "user", "content": task["question"]}]}
                async with session.post(url + "/v1/chat/completions", data=orjson.dumps(body)) as answer:
                    text = orjson.loads(await answer.read())["choices"][0]["message"]["content"]
                    sys.stdout.buffer.write(orjson.dumps({"reply": text}) + b"\\n")
        await asyncio.gather(*(work() for _ in range(64)))
asyncio.run(main(sys.argv[1]))
"""


def start_server() -> tuple[subprocess.Popen[str], str]:
    """Starts the server and gives it with its address."""
    command = [sys.executable, str(SERVER), "--latency", str(LATENCY_S)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def answered(url: str) -> list[float]:
    """Gives when the server answered, one time a request, on its own clock."""
    with urllib.request.urlopen(f"{url}/stats") as page:
        times: list[float] = json.loads(page.read())["answered_at"]
        return times


def measure(
    command: list[str], questions: bytes, url: str, folder: Path, *, is_sampled: bool = False
) -> dict[str, Any]:
    """Runs one contender over the questions; raises when it does not answer them all.

    `is_sampled` tells what it uses from the first answer to the last by reading its CPU now and then, else 0.
    """
    num = questions.count(b"\n")
    (folder / "journal.jsonl").unlink(missing_ok=True)
    before = len(answered(url))
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with (folder / "errors.txt").open("wb") as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=folder,
            env=ENVIRONMENT,
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        feeder = threading.Thread(target=_feed, args=(child.stdin, questions))
        feeder.start()
        seen: list[tuple[float, float]] = []
        if is_sampled:
            threading.Thread(target=_sample, args=(child, seen), daemon=True).start()
        lines = sum(1 for _ in child.stdout)
        feeder.join()
        child.wait()
    wall_s = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    if child.returncode or lines < num:
        tail = (folder / "errors.txt").read_text(errors="replace")[-400:]
        raise RuntimeError(f"exit {child.returncode}, {lines} of {num} lines: {tail}")
    times = answered(url)[before:][-num:]  # without what a peer asks to try the service
    used = [cpu for at, cpu in seen if times[0] <= at <= times[-1]]
    return {
        "share_of_limit": num / (times[-1] - times[0] + LATENCY_S) / LIMIT,
        "share_with_start": num / wall_s / LIMIT,
        "cpu_s_per_1000": cpu_s / num * 1000,
        "cpu_s_per_1000_after_start": (used[-1] - used[0]) / num * 1000 if used else 0.0,
        "requests_per_s": num / (times[-1] - times[0] + LATENCY_S),
        "cpu_s": cpu_s,
        "num": num,
    }


def measure_both(command: list[str], parts: tuple[list[Any], list[Any]], url: str, folder: Path) -> dict[str, Any]:
    """Runs one contender over a few questions and over many, so that start-up can be told from work."""
    rows = [measure(command, _lines(chosen), url, folder) for chosen in parts]
    few, many = rows
    marginal = (many["cpu_s"] - few["cpu_s"]) / (many["num"] - few["num"]) * 1000
    return many | {"cpu_s_per_1000_after_start": marginal}


def _lines(questions: list[Any]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in questions).encode()


def _sample(child: subprocess.Popen[bytes], seen: list[tuple[float, float]]) -> None:
    """Notes the CPU seconds of a process and those below it, now and then, until it ends."""
    ticks = os.sysconf("SC_CLK_TCK")
    while child.returncode is None:
        total, family = 0, [child.pid]
        for pid in family:
            try:
                total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    family += map(int, children.read_text().split())
            except OSError:  # it ended
                continue
        seen.append((time.monotonic(), total / ticks))
        time.sleep(SAMPLE_S)


def _feed(stream: Any, data: bytes) -> None:
    with stream:
        stream.write(data)


def contenders(url: str, folder: Path, peers: str) -> dict[str, list[str]]:
    """Gives each contender's command."""
    (folder / "bench.yaml").write_text(TEMPLATE)
    frontier = [sys.executable, "-m", "frontier_cli.main", "synth", "teach", "--template", "bench.yaml"]
    frontier += ["--teacher", f"openai:m@{url}", "--concurrency", str(CONCURRENCY), "-q"]
    frontier += ["--journal", "journal.jsonl"]
    found = {"ours": frontier}
    if find_spec("aiohttp"):
        found["bare"] = [sys.executable, "-c", BARE, url]
    for peer, script in SCRIPTS.items():
        python = python_of(peer, peers)
        if python is not None:
            (folder / f"ask_{peer}.py").write_text(script)
            found[peer] = [python, f"ask_{peer}.py", url]
    return found


def run(num: int, rounds: int, peers: str, scale: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Gives the medians of each contender over interleaved rounds, and why some could not be measured.

    Peers are asked `scale` times NUM_OF_PEER.
    """
    lines = [
        {"skill": "chat", "number": n, "question": f"How do I sort file {n} by its third column?"} for n in range(num)
    ]
    server, url = start_server()
    rows: dict[str, list[dict[str, Any]]] = {}
    notes: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for _ in range(rounds):
                for contender, command in contenders(url, folder, peers).items():
                    if contender in notes:
                        continue
                    many = scale * NUM_OF_PEER[contender] if contender in NUM_OF_PEER else num
                    try:
                        if contender in NUM_OF_PEER:
                            found = measure(command, _lines(lines[:many]), url, folder, is_sampled=True)
                        else:
                            found = measure_both(command, (lines[:FEW], lines[:many]), url, folder)
                        rows.setdefault(contender, []).append(found)
                    except RuntimeError as error:
                        notes[contender] = str(error)
    finally:
        server.terminate()
        server.wait()
    medians = {
        contender: {key: statistics.median(row[key] for row in found) for key in found[0]}
        for contender, found in rows.items()
        if found
    }
    return medians, notes


def _ratio(ours: float, theirs: float | None) -> float | None:
    return round(ours / theirs, 3) if theirs else None


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, under 50 s")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    parser.add_argument("--num", type=int, default=8000)
    folder = os.environ.get("FRONTIER_TEACHER_PEERS", "")
    parser.add_argument("--peers", default=folder, help="folder of virtual environments named after the peers")
    options = parser.parse_args()
    num, rounds, scale = (2500, 1, 1) if options.quick else (options.num, 3, 2)
    medians, notes = run(num, rounds, options.peers, scale)
    ours = medians["ours"]
    key = "cpu_s_per_1000_after_start"
    peers = {name: medians[name][key] if name in medians else None for name in SCRIPTS}
    cheapest = min((cost for cost in peers.values() if cost is not None), default=None)
    bare = medians.get("bare", {})
    result: dict[str, Any] = {
        "share_of_limit": round(ours["share_of_limit"], 3),
        "cpu_s_per_1000": round(ours[key], 3),
        "cpu_s_per_1000_with_start": round(ours["cpu_s_per_1000"], 3),
        "ratios": {
            "client_cpu_best_peer": _ratio(ours[key], cheapest),
            "client_cpu_bare_loop": _ratio(ours[key], bare.get(key)),
            "share_of_bare_loop": _ratio(ours["share_of_limit"], bare.get("share_of_limit")),
            **{f"client_cpu_{name.replace('-', '_')}": _ratio(ours[key], cost) for name, cost in peers.items()},
        },
        "goals": GOALS,
        "ok": ours["share_of_limit"] >= GOALS["share_of_limit"] and ours[key] <= GOALS["cpu_s_per_1000"],
        "clients": {name: {key: round(value, 3) for key, value in found.items()} for name, found in medians.items()},
        "not_measured": {name: NO_PEER for name, cost in peers.items() if cost is None} | notes,
        "load": os.getloadavg()[0],
    }
    for name, note in result["not_measured"].items():
        print(f"{name}: {note}", file=sys.stderr)
    if options.json:
        print(json.dumps(result))
        return
    for name, found in medians.items():
        print(
            f"{name:20}{found['requests_per_s']:7.0f}/s  share {found['share_of_limit']:.2f}  "
            f"with start {found['share_with_start']:.2f}  {found['cpu_s_per_1000']:6.2f} CPU s per 1,000, "
            f"{found[key]:.2f} after start"
        )


if __name__ == "__main__":
    main()
