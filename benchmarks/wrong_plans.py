"""Wrong plans that end with exit 0: how many a verifier refuses, ours beside the usual rule (exit code alone).

    python benchmarks/wrong_plans.py [--quick] [--json] [--num N] [--sandbox NAME]

Mutates right plans of all eight shell domains (dropped flag, wrong directory, `|| true`, ...), runs each in the sandbox
and judges it by its end state; then again by exit code alone, as published pipelines do. Also runs the right plans,
which must all pass.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

from frontier_core.domains import choose_domains, load_domains
from frontier_core.resources import shipped
from frontier_core.seeds import child_random
from generators.procedural.shell.mutations import mutate
from generators.synth import generate, plan_requests
from validators.execution_gate import judge_plan
from validators.sandbox.backend import open_sandbox


def measure(num: int, sandbox: str) -> dict[str, Any]:
    """Judges `num` right plans and a mutation of each."""
    domains = choose_domains(load_domains(shipped("domains.yaml")), ["shell"])
    records = list(generate(plan_requests(domains, num), seed=7))
    box = open_sandbox(sandbox)
    rows, right = [], 0
    try:
        for index, record in enumerate(records):
            right += judge_plan(record, box).ok
            wrong = mutate(record, child_random("wrong_plans", index))
            verdict = judge_plan(wrong, box)
            commands = [step["command"] for step in wrong["output"]]
            job = {"commands": commands, "fixture": record["fixture"], "expect": {"allow_other_changes": True}}
            rows.append(
                {
                    "domain": record["metadata"]["domain"],
                    "mutation": wrong["metadata"]["mutation"],
                    "plan": "; ".join(step["command"] for step in wrong["output"]),
                    "code": verdict.code,
                    "message": verdict.message,
                    "exit_code_only_accepts": box.run(job).status == "ok",
                }
            )
    finally:
        box.close()
    return {"rows": rows, "right_accepted": right, "num": num, "backend": box.name}


def main() -> None:
    """Measures and prints a table, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 plans")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--sandbox", default="auto")
    options = parser.parse_args()
    found = measure(20 if options.quick else options.num, options.sandbox)
    rows = found["rows"]
    refused = sum(row["code"] != "ok" for row in rows)
    accepted_by_exit_code = sum(row["exit_code_only_accepts"] for row in rows)
    result = {
        "ratios": {
            "wrong_refused": refused / len(rows),
            "wrong_refused_by_exit_code_alone": 1 - accepted_by_exit_code / len(rows),
            "right_accepted": found["right_accepted"] / found["num"],
        },
        "reasons": dict(Counter(row["code"] for row in rows).most_common()),
        "num": found["num"],
        "backend": found["backend"],
    }
    if options.json:
        print(json.dumps(result))
        return
    for row in rows[:20]:
        print(f"{row['code']:18}{row['mutation']:20}{row['plan'][:90]}\n{'':18}{row['message'][:110]}")
    print(f"right plans accepted: {found['right_accepted']} of {found['num']} ({found['backend']})")
    print(f"wrong plans refused: {refused} of {len(rows)}; by exit code alone: {len(rows) - accepted_by_exit_code}")


if __name__ == "__main__":
    main()
