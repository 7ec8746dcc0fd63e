"""Learned mixes against uniform, measured fairly: the same model, init, budget and interface for every policy.

    python benchmarks/mixing [--quick | --ci] [--suite NAME] [--policy NAME] [--seeds 0-4] [--steps N] [--json]

Trains a tiny Qwen3-architecture model once per suite, policy and seed, and prints tokens to uniform's final accuracy
(what was read for telemetry is paid for), final and worst-skill accuracy, paired by seed, with intervals.
Finished runs are kept in DIR/runs.jsonl (--out) under the digest of all that decides them: an interrupted bench goes
on, a changed policy runs again. `--quick` takes under 50 s and shows that the machinery works; `--ci` 3 minutes.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from analysis import against, compare  # noqa: E402
from peer_rules import register  # noqa: E402
from suites import SUITES  # noqa: E402
from training import Arm, Budget, Run, key_of  # noqa: E402

ARMS = {
    arm.name: arm
    for arm in (
        Arm(name="uniform", policy="uniform", stale_evals=0),
        Arm(name="proportional", policy="proportional", stale_evals=0),
        Arm(name="doremi", policy="doremi", stale_evals=0),
        Arm(name="odm", policy="odm", every=1, stale_evals=0),
        Arm(name="ado", policy="ado", stale_evals=0),
        Arm(name="skill_it", policy="skill_it", stale_evals=0),
        Arm(name="learning_progress", policy="learning_progress"),
        Arm(name="levels", policy="levels"),
        Arm(name="frontier", policy="frontier"),
        Arm(name="frontier_tested", policy="frontier", first_pass=False, evals=12),
    )
}
"""Every policy as it is run: those that read losses only pay for no evaluation."""
OURS = ("policy", "decision", "columns", "shares", "cells", "settings", "reasons")
THEIRS = ("published", "shares", "cells")
if register():
    ARMS["fms_odm"] = Arm(name="fms_odm", policy="fms_odm", stale_evals=0)
RIVALS = ("odm", "ado", "levels", "learning_progress", "doremi", "skill_it", "fms_odm")


def code_version(policy: str) -> str:
    """Gives the digest of the code that decides a run, docstrings and comments aside."""
    names = OURS if policy == "frontier" else THEIRS
    files = [ROOT / "curriculum" / f"{name}.py" for name in names]
    files += [Path(__file__).with_name(f"{name}.py") for name in ("training", "model", "suites")]
    digest = sha256()
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = None
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Gives the finished runs of a file by key; a torn last line is left out."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        found[record["key"]] = record
    return found


def train(job: tuple[str, Arm, int, Budget, str, dict[str, float]]) -> dict[str, Any]:
    """Does one run, in a process of its own."""
    suite, arm, seed, budget, key, references = job
    return {"key": key, **Run(suite, arm, seed, budget, references).train()}


def run_all(
    suites: Sequence[str], arms: Sequence[Arm], seeds: Sequence[int], budget: Budget, out: Path, jobs: int
) -> list[dict[str, Any]]:
    """Does the runs that are missing, uniform first (its losses are DoReMi's reference), and gives all of them."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "runs.jsonl"
    done = load(path)
    wanted = [(suite, arm, seed) for seed in seeds for suite in suites for arm in arms]
    keys = {(s, a.name, n): key_of(s, a, n, budget, code_version(a.policy)) for s, a, n in wanted}
    left = [job for job in wanted if keys[job[0], job[1].name, job[2]] not in done]
    for part in ([j for j in left if j[1].name == "uniform"], [j for j in left if j[1].name != "uniform"]):
        ready = []
        for suite, arm, seed in part:
            base = done.get(keys.get((suite, "uniform", seed), ""), {}) if arm.policy == "doremi" else {}
            ready.append((suite, arm, seed, budget, keys[suite, arm.name, seed], base.get("losses", {})))
        for record in _map(ready, jobs):
            done[record["key"]] = record
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{record['suite']} {record['arm']} seed {record['seed']}: {record['cpu_s']} s", file=sys.stderr)
    # The same run under another name (an ablation) is filed once; each arm gets its own name back.
    return [{**done[keys[s, a.name, n]], "arm": a.name} for s, a, n in wanted]


def _map(ready: Sequence[Any], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(train, ready)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(train, job) for job in ready]):
            yield future.result()


def summary(runs: Sequence[dict[str, Any]], suites: Sequence[str], arms: Sequence[Arm]) -> dict[str, Any]:
    """Gives the figures of all arms and suites."""
    table = {
        suite: {arm.name: row for arm in arms if (row := compare(runs, suite, arm.name)) is not None}
        for suite in suites
    }
    rivals = {
        suite: {rival: row for rival in RIVALS if (row := against(runs, suite, rival)) is not None} for suite in suites
    }

    def column(name: str) -> dict[str, dict[str, Any]]:
        return {suite: {arm: round(row[name], 4) for arm, row in rows.items()} for suite, rows in table.items()}

    return {
        "ratios": {
            "tokens_to_uniform": column("tokens_to_uniform"),
            "tokens_to_rival": {
                suite: {rival: round(row["ratio"], 4) for rival, row in rows.items()} for suite, rows in rivals.items()
            },
        },
        "gain_over_uniform": column("gain"),
        "worst_skill": column("worst_skill"),
        "final": column("final"),
        "noise_tokens": column("noise_tokens"),
        "table": table,
        "rivals": rivals,
    }


def show(found: dict[str, Any]) -> None:
    """Prints the tables."""
    for suite, rows in found["table"].items():
        print(f"\n{suite}")
        print(
            f"{'policy':20}{'n':>3}{'final':>7}{'worst':>7}{'gain, points':>22}{'> -1':>6}"
            f"{'tokens to uniform':>24}{'never':>6}{'noise':>7}{'eval':>6}{'ms':>6}"
        )
        for arm, row in sorted(rows.items(), key=lambda item: -item[1]["final"]):
            gain = (
                f"{100 * row['gain']:+.1f} ({100 * row['gain_interval'][0]:+.1f}..{100 * row['gain_interval'][1]:+.1f})"
            )
            low, high = row["tokens_interval"]
            tokens = f"{row['tokens_to_uniform']:.2f} ({low:.2f}..{high:.2f})"
            print(
                f"{arm:20}{row['seeds']:3}{row['final']:7.3f}{row['worst_skill']:7.2f}{gain:>22}"
                f"{row['above_minus_1pt']:>3}/{row['seeds']:<2}{tokens:>24}{row['never']:6}"
                f"{100 * row['noise_tokens']:6.1f}%{100 * row['eval_cost']:5.1f}%{row['policy_ms']:6.2f}"
            )
        for rival, row in found["rivals"].get(suite, {}).items():
            low, high = row["interval"]
            print(f"  tokens to {rival}'s own final: {row['ratio']:.2f} ({low:.2f}..{high:.2f}), never {row['never']}")


def numbers(text: str) -> list[int]:
    """Reads `0-4,7` as [0, 1, 2, 3, 4, 7]."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def main() -> None:
    """Runs what is missing, prints tables or one JSON line, and draws the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="under 50 s: uniform, odm and frontier, one short run each"
    )
    parser.add_argument("--ci", action="store_true", help="3 minutes: uniform, odm and frontier on main")
    parser.add_argument("--suite", action="append", choices=[*SUITES], help="a suite; all by default")
    parser.add_argument("--policy", action="append", choices=[*ARMS], help="an arm beside uniform; all by default")
    parser.add_argument("--seeds", default="0-4", help="seeds, such as 0-4,7")
    parser.add_argument("--steps", type=int, default=Budget().steps, help="training steps a run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "mixing", help="where runs and plots are kept")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    options = parser.parse_args()
    if "fms_odm" not in ARMS:
        print("fms-acceleration-odm is not installed: it is left out", file=sys.stderr)
    suites, names, seeds = options.suite or [*SUITES], options.policy or [*ARMS], numbers(options.seeds)
    budget = replace(Budget(), steps=options.steps)
    if options.quick or options.ci:
        suites, names = options.suite or ["main"], options.policy or ["uniform", "odm", "frontier"]
        seeds = [0]
        short = replace(budget, tokens_per_step=512)
        quick = replace(short, steps=150, test_every=25, test_items=16)
        budget = quick if options.quick else replace(short, steps=700, test_every=50)
    arms = [ARMS[name] for name in dict.fromkeys(["uniform", *names])]
    runs = run_all(suites, arms, seeds, budget, options.out, options.jobs)
    found = summary(runs, suites, arms)
    from plots import draw

    for path in draw(runs, options.out):
        print(f"wrote {path}", file=sys.stderr)
    if options.json:
        print(json.dumps(found))
        return
    show(found)


if __name__ == "__main__":
    main()
