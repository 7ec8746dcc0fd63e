"""The gates' cost: `frontier validate` against a bare orjson.loads loop over the same file, interleaved in one run.

    python benchmarks/validate.py [--quick] [--json] [--lines N] [--only NAME,...]

Makes its own file: chat records of about 730 bytes, 1 % of them broken in ten ways at known lines. Measured is the
whole command in a process of its own, start-up included, modules compiled as they are once installed: CPU seconds (user
and system, children too), peak memory, and whether the rejects file holds exactly the broken lines, numbered and
verbatim. A command that fails ends the run. Peers run the same way where they are installed; those that stop at a bad
line get clean lines, slow ones a part of the file, each with a bare loop of its own over the same lines.
Goals: quick <= 1.2x, standard <= 2.5x, two workers <= 0.75x the wall of one, under 64 MB.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

PREFIX = "\N{THINKING FACE}" * 4 + "\n"
SEED = 7
LINES, QUICK_LINES = 500_000, 150_000
PEER_LINES, QUICK_PEER_LINES, SLOW_LINES = 100_000, 20_000, 5_000
SYLLABLES = ("ba", "de", "fo", "gu", "li", "ma", "no", "pe", "ra", "si", "to", "ve")

READ = "import sys, orjson\npath = sys.argv[1]\n"
PEERS: dict[str, tuple[str, str, str]] = {
    "jsonschema_rs": (
        "jsonschema_rs",
        "dirty",
        READ + "import jsonschema_rs\nok = jsonschema_rs.validator_for(SCHEMA).is_valid\n"
        "for line in open(path, 'rb'):\n    try: ok(orjson.loads(line))\n    except ValueError: pass\n",
    ),
    "pydantic": (
        "pydantic",
        "dirty",
        READ + "from typing import Any, Literal\nfrom pydantic import BaseModel, ConfigDict\n"
        "class Turn(BaseModel):\n    model_config = ConfigDict(extra='forbid', strict=True)\n"
        "    role: Literal['system', 'user', 'assistant']\n    content: str\n"
        "class Line(BaseModel):\n    model_config = ConfigDict(extra='forbid', strict=True)\n"
        "    messages: list[Turn]\n    metadata: dict[str, Any]\n"
        "for line in open(path, 'rb'):\n"
        "    try: roles = {turn.role for turn in Line.model_validate_json(line).messages}\n"
        "    except ValueError: pass\n",
    ),
    "datatrove": (
        "datatrove.pipeline.readers",
        "clean",
        READ + "import os\nfrom datatrove.pipeline.readers import JsonlReader\n"
        "def adapt(self, data, path, place):\n"
        "    return {'id': str(place), 'text': data['messages'][-1]['content'], 'metadata': data}\n"
        "reader = JsonlReader(os.path.dirname(path), glob_pattern=os.path.basename(path), adapter=adapt)\n"
        "for document in reader.run():\n"
        "    assert all(turn['role'] in ('system', 'user', 'assistant') for turn in document.metadata['messages'])\n",
    ),
    "datasets": (
        "datasets",
        "clean",
        READ + "import tempfile, datasets\ndatasets.disable_progress_bars()\n"
        "with tempfile.TemporaryDirectory() as cache:\n"
        "    rows = datasets.load_dataset('json', data_files=path, split='train', cache_dir=cache)\n"
        "    rows.filter(lambda row: all(turn['role'] for turn in row['messages']), load_from_cache_file=False)\n",
    ),
    "jsonschema": (
        "jsonschema",
        "slow",
        READ + "import jsonschema\nok = jsonschema.Draft202012Validator(SCHEMA).is_valid\n"
        "for line in open(path, 'rb'):\n    try: ok(orjson.loads(line))\n    except ValueError: pass\n",
    ),
}
"""Peer -> (what it imports, which lines it gets, its program)."""
BARE = READ + "loads = orjson.loads\nfor line in open(path, 'rb'):\n    try: loads(line)\n    except ValueError: pass\n"


_FILES = ("dirty", "clean", "slow")


class Cost(NamedTuple):
    """What one process took."""

    cpu_s: float
    wall_s: float
    rss_mb: float


def make(path: Path, num_lines: int) -> dict[int, bytes]:
    """Writes the file; gives the broken lines by number."""
    draw = random.Random(SEED)
    words = [a + b for a in SYLLABLES for b in SYLLABLES] + list(SYLLABLES)
    broken: dict[int, bytes] = {}
    with path.open("wb") as file:
        for number in range(1, num_lines + 1):
            line = json.dumps(_record(draw, words, number), ensure_ascii=False, separators=(",", ":")).encode()
            if draw.random() < 0.01:
                line = _break(line, draw.randrange(10))
                broken[number] = line
            file.write(line + b"\n")
    return broken


def _record(draw: random.Random, words: list[str], number: int) -> dict[str, Any]:
    turns = [{"role": "system", "content": "You are a careful assistant."}] if draw.random() < 0.3 else []
    for _ in range(draw.choice((1, 1, 1, 2))):
        turns.append({"role": "user", "content": " ".join(draw.choices(words, k=draw.randint(6, 55)))})
        answer = " ".join(draw.choices(words, k=draw.randint(8, 85)))
        turns.append({"role": "assistant", "content": f"{PREFIX}{answer}."})
    skill = draw.choice(("binary", "math_mc", "dialogue", "code"))
    metadata = {"skill": skill, "level": draw.randint(1, 5), "source": "benchmark", "scenario": f"s{number % 10}"}
    return {
        "messages": turns,
        "metadata": {**metadata, "seed": number, "generator_version": "1.0.0", "batch": number // 1000},
    }


def _break(line: bytes, kind: int) -> bytes:
    """Gives the line broken in one of ten ways, never touching the newline."""
    ways = (
        lambda: line[: len(line) // 2],
        lambda: line.replace(b'"role":"user"', b'"role":"human"', 1),
        lambda: line.replace(b'"skill":', b'"skil":'),
        lambda: line[:-1] + b",}",
        lambda: line.replace(b'"content":"', b'"content":"\xff', 1),
        lambda: line.replace(b'"content":"', b'"content":7,"more":"', 1),
        lambda: line.replace(b'"role":"assistant"', b'"role":"user"'),
        lambda: line.replace(b'"', b"'"),
        lambda: line.replace(b'"batch":', b'"batch":1e400,"b":'),
        lambda: b"[" + line + b"]",
    )
    return ways[kind]()


def run(command: list[str]) -> Cost:
    """Runs a command and gives its cost, children included. A command that fails ends the program: it has no cost."""
    with tempfile.TemporaryFile() as complaints:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=complaints, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            complaints.seek(0)
            sys.exit(
                f"{command} ended with {process.returncode}:\n{complaints.read().decode(errors='replace')[-2000:]}"
            )
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024)


def program(text: str, path: Path) -> list[str]:
    """Gives the command that runs a peer's program over a file."""
    return [sys.executable, "-c", text, str(path)]


def frontier(path: Path, level: str, *more: str) -> list[str]:
    """Gives the command that judges a file, with a report and a rejects file."""
    return [
        str(Path(sys.executable).with_name("frontier")),
        "validate",
        str(path),
        "--level",
        level,
        "--json",
        "--max-rejects",
        "2%",
        *more,
    ]


def ratio(command: list[str], bare: list[str], times: int) -> tuple[float, list[Cost]]:
    """Gives the median CPU ratio of a command to the bare loop, each beside the bare runs before and after it."""
    before, ratios, costs = run(bare), [], []
    for _ in range(times):
        cost, after = run(command), run(bare)
        ratios.append(2 * cost.cpu_s / (before.cpu_s + after.cpu_s))
        costs.append(cost)
        before = after
    return round(statistics.median(ratios), 2), costs


def found_rightly(rejects: Path, broken: dict[int, bytes]) -> tuple[int, int]:
    """Gives how many broken lines stand in the rejects file, numbered and verbatim, and how many lines stand there."""
    right = total = 0
    for line in rejects.open("rb"):
        entry = json.loads(line)
        raw = entry["raw"].encode() if "raw" in entry else base64.b64decode(entry["raw_base64"])
        right += broken.get(entry["line"]) == raw
        total += 1
    return right, total


def imports(module: str) -> bool:
    """Says whether a peer is there."""
    command = [sys.executable, "-c", f"import {module}"]
    return not subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def schema_text() -> str:
    """Gives a program's first lines: the normative schema with what it refers to, in one piece."""
    from frontier_core.schemas import load_schema

    chat, metadata = load_schema("chat_sft_v1"), load_schema("metadata_v1")
    whole = {
        **chat,
        "properties": {**chat["properties"], "metadata": {k: v for k, v in metadata.items() if k != "$id"}},
    }
    return f"SCHEMA = {whole!r}\n"


def measure(folder: Path, num_lines: int, num_peer_lines: int, times: int, only: set[str]) -> dict[str, Any]:
    """Makes the file and measures everything asked for."""
    whole, dirty, clean, slow, rejects = (folder / f"{name}.jsonl" for name in ("whole", *_FILES, "rejects"))
    broken = make(whole, num_lines)
    with whole.open("rb") as file, dirty.open("wb") as some, clean.open("wb") as good, slow.open("wb") as few:
        for number, line in zip(range(1, num_peer_lines + 1), file, strict=False):
            some.write(line)
            good.write(b"" if number in broken else line)
            few.write(line if number <= SLOW_LINES else b"")
    bare = program(BARE, whole)
    quick = frontier(whole, "quick", "--rejects", str(rejects))
    run(frontier(slow, "quick"))
    result: dict[str, Any] = {"num_lines": num_lines, "file_mb": round(whole.stat().st_size / 1e6, 1), "ratios": {}}
    result["ratios"]["orjson"], costs = ratio(quick, bare, times)
    result["rss_mb"] = round(max(cost.rss_mb for cost in costs), 1)
    result["found"], result["num_rejected"] = found_rightly(rejects, broken)
    result["expected"] = len(broken)
    result["cpu_s"] = round(statistics.median(cost.cpu_s for cost in costs), 2)
    if not only or "two_workers" in only:
        pairs = [(run([*quick, "--workers", "2"]).wall_s, run(quick).wall_s) for _ in range(times)]
        result["ratios"]["two_workers"] = round(statistics.median(two / one for two, one in pairs), 2)
        result["found_two_workers"] = found_rightly(rejects, broken)[0]
    if not only or "output" in only:
        command = [*frontier(whole, "quick"), "-o", str(folder / "out.jsonl")]
        result["ratios"]["with_output"] = ratio(command, bare, min(times, 2))[0]
    if not only or "standard" in only:
        result["ratios"]["standard"] = ratio(frontier(whole, "standard"), bare, 1 if times <= 3 else 2)[0]
    for name, (module, lines, text) in PEERS.items():
        if only and name not in only:
            continue
        if not imports(module):
            print(f"{name} is not installed here", file=sys.stderr)
            result["ratios"][name] = None
            continue
        file_path = {"dirty": dirty, "clean": clean, "slow": slow}[lines]
        command = program(schema_text() + text if "SCHEMA" in text else text, file_path)
        times_here = 1 if name in ("datasets", "datatrove") else min(times, 3)
        result["ratios"][name] = ratio(command, program(BARE, file_path), times_here)[0]
    return result


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_LINES:,} lines, under 50 s")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    parser.add_argument("--lines", type=int, default=0, help=f"lines of the file, {LINES:,} by default")
    parser.add_argument("--only", default="", help="peers, two_workers, output, standard; commas between")
    options = parser.parse_args()
    num_lines = options.lines or (QUICK_LINES if options.quick else LINES)
    num_peer_lines = min(num_lines, QUICK_PEER_LINES if options.quick else PEER_LINES)
    with tempfile.TemporaryDirectory(prefix="frontier-bench-") as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        only = set(options.only.split(",")) - {""}
        result = measure(Path(folder), num_lines, num_peer_lines, 3 if options.quick else 5, only)
    rows = [f"{num_lines:,} lines, {result['file_mb']} MB; quick takes {result['cpu_s']} CPU s, {result['rss_mb']} MB"]
    rows += [f"broken lines found, numbered and verbatim: {result['found']} of {result['expected']}"]
    rows += [f"{name:14} {'-' if value is None else f'{value:.2f}x'}" for name, value in result["ratios"].items()]
    print("\n".join(rows), file=sys.stderr)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
