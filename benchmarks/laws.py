"""What every registered generator promises, proved again: same bytes, seeds apart, exact replay, strict verdicts.

    python benchmarks/laws.py [--quick] [--json] [--skill NAME ...] [--resume FILE] [--sandbox NAME]

bytes      records of every level from three processes with PYTHONHASHSEED 0, 1 and 4242, one digest
runs       one run whole, in three shards, and with two worker processes: the same bytes
seeds      problems that neighbouring seeds share, beside those that two far seeds share (chance)
replay     random records made again from their metadata, byte for byte
oracle     the generator's answers, all accepted by the skill's verifier; mutants of them, all refused. Shell plans are
           judged by running them in the sandbox, traces by replaying their calls. Where an answer shows its steps, the
           line with the result is changed: steps may be worded freely
levels     solver steps (digits written with pencil and paper for arithmetic; words of a shell plan; turns that a tool
           trace wants of the model; else lines of Python that the skill's own solver runs through), or else the
           entropy of the answers or the bits of question and answer: one of them grows with every level

A whole run takes hours; `--resume FILE` appends a line for each skill and skips those that stand there.
Exit code 1 when a law is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from frontier_core.domains import Domain
from frontier_core.jsonl import dumps
from frontier_core.lineage import mark
from frontier_core.profiles import undress
from frontier_core.records import last_assistant
from generators.base import Generator
from generators.draws import made_by
from generators.synth import Plan, generate_lines, plan_requests, replay
from generators.table import GENERATORS
from validators.skills.table import VERIFIERS

ROOT = Path(__file__).parent.parent
HASH_SEEDS = ("0", "1", "4242")


def digest_of(generator: Generator, num: int) -> str:
    """Gives the digest of `num` records of each level."""
    digest = sha256()
    for level in generator.levels:
        for index in range(num):
            digest.update(dumps(generator.sample(11, index, level)))
    return digest.hexdigest()


def digests(skills: list[str], num: int, hash_seed: str) -> dict[str, str]:
    """Gives each skill's digest, made in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--digests",
        str(num),
        *(word for skill in skills for word in ("--skill", skill)),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": hash_seed}
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def run_bytes(generator: Generator, num: int, *, shard: tuple[int, int] = (1, 1), num_workers: int = 1) -> bytes:
    """Gives the lines of a run over all levels."""
    domain = Domain(name=generator.skill, skill=generator.skill, levels=generator.levels)
    plan = Plan(requests=plan_requests([domain], num), seed=3, shard=shard, allow_duplicates=True)
    return b"".join(line.data + b"\n" for line in generate_lines(plan, num_workers=num_workers))


def shared(generator: Generator, one: int, other: int, num: int) -> int:
    """Gives how many of the first `num` problems of the highest level of one seed come up under another."""
    level = generator.levels[-1]
    sets = [{generator.problem(generator.sample(seed, n, level)) for n in range(num)} for seed in (one, other)]
    return len(sets[0] & sets[1])


def judge_answers(generator: Generator, num_mutants: int) -> tuple[int, int, int, int]:
    """Gives answers tried and accepted, mutants tried and accepted."""
    from tests.generators.mutants import mutants

    verify = VERIFIERS.get(generator.skill)
    tried = right = wrong = taken = 0
    each = 10
    for index in range(-(-num_mutants // each)):
        record = generator.sample(77, index, generator.levels[index % len(generator.levels)])
        answer = undress(last_assistant(record))
        tried += 1
        right += verify(record, answer).ok
        steps, mark_of_result, result = answer.rpartition("ANSWER: ")
        edits = mutants(result, Random(index))
        for _ in range(each):
            mutant = steps + mark_of_result + next(edits)
            wrong += 1
            taken += verify(record, mutant).ok
    return tried, right, wrong, taken


def judge_traces(generator: Generator, num_mutants: int) -> tuple[int, int, int, int]:
    """The same for tool traces: what is changed is a call, a result, a turn, a tool, a fact of a reply."""
    from tests.generators.trace_mutants import trace_mutants

    verify = VERIFIERS.get(generator.skill)
    tried = right = wrong = taken = 0
    each = 4
    for index in range(-(-num_mutants // each)):
        record = generator.sample(77, index, generator.levels[index % len(generator.levels)])
        tried += 1
        right += verify(record, undress(last_assistant(record))).ok
        edits = trace_mutants(record, Random(index))
        for _ in range(each):
            _, mutant = next(edits)
            last = mutant["messages"][-1].get("content")
            wrong += 1
            taken += verify(mutant, undress(last) if isinstance(last, str) else "").ok
    return tried, right, wrong, taken


def judge_plans(generator: Generator, num_mutants: int, sandbox: str) -> tuple[int, int, int, int]:
    """The same for shell plans, each run in the sandbox."""
    from generators.procedural.shell.mutations import mutate
    from validators.execution_gate import judge_plan
    from validators.sandbox.backend import open_sandbox

    box = open_sandbox(sandbox)
    tried = right = wrong = taken = 0
    each = 4
    try:
        for index in range(-(-num_mutants // each)):
            record = generator.sample(77, index, generator.levels[index % len(generator.levels)])
            tried += 1
            right += judge_plan(record, box).ok
            for number in range(each):
                verdict = judge_plan(mutate(record, Random(index * each + number)), box)
                wrong += verdict.code != "sandbox_error"
                taken += verdict.ok
    finally:
        box.close()
    return tried, right, wrong, taken


def judge(generator: Generator, num_mutants: int, sandbox: str) -> tuple[int, int, int, int]:
    """Gives answers tried and accepted, mutants tried and accepted, by the means of the skill."""
    sys.path.insert(0, str(ROOT))
    if generator.skill.startswith("shell_"):
        return judge_plans(generator, num_mutants, sandbox)
    if generator.skill == "tool_use":
        return judge_traces(generator, num_mutants)
    return judge_answers(generator, num_mutants)


def levels_of(generator: Generator, num: int) -> tuple[dict[str, list[float]], str]:
    """Gives the measures of difficulty, a mean for each level, and the first that grows with every level."""
    sys.path.insert(0, str(ROOT))
    from tests.generators.difficulty import difficulty, grows_by

    measures = difficulty(generator, num)
    return measures, grows_by(measures)


def laws(skill: str, sizes: dict[str, int], by_hash_seed: list[dict[str, str]], sandbox: str) -> dict[str, Any]:
    """Holds one skill against all laws."""
    generator = GENERATORS.get(skill)
    whole = run_bytes(generator, sizes["run"])
    parts = b"".join(run_bytes(generator, sizes["run"], shard=(part, 3)) for part in (1, 2, 3))
    random = Random(5)
    places = [
        (random.randrange(2**32), random.randrange(10**6), random.choice(generator.levels))
        for _ in range(sizes["replay"])
    ]
    records = [generator.sample(*place) for place in places]
    exact = sum(dumps(replay(record["metadata"])) == dumps(mark(record, made_by(generator))) for record in records)
    found: dict[str, Any] = {
        "bytes_equal": len({digest[skill] for digest in by_hash_seed}) == 1,
        "runs_equal": whole == parts == run_bytes(generator, sizes["run"], num_workers=2),
        "num_replayed": sizes["replay"],
        "num_replay_exact": exact,
        "num_seed_problems": sizes["seeds"],
        "num_shared_neighbours": shared(generator, 42, 43, sizes["seeds"]),
        "num_shared_chance": shared(generator, 42, 987_654_321, sizes["seeds"]),
    }
    names = ("num_answers", "num_answers_right", "num_mutants", "num_mutants_accepted")
    found |= dict(zip(names, judge(generator, sizes["mutants"], sandbox), strict=True))
    found["levels"], found["grows_by"] = levels_of(generator, sizes["levels"])
    chance = found["num_shared_chance"]
    found["ok"] = (
        found["bytes_equal"]
        and found["runs_equal"]
        and exact == sizes["replay"]
        and found["num_shared_neighbours"] <= chance + 4 * (chance + 1) ** 0.5
        and found["num_answers"] == found["num_answers_right"]
        and found["num_mutants"] >= sizes["mutants"]
        and not found["num_mutants_accepted"]
        and bool(found["grows_by"])
    )
    return found


def kept(path: str) -> dict[str, dict[str, Any]]:
    """Gives the laws of the skills that stand in a file of an earlier run."""
    if not path or not Path(path).exists():
        return {}
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return {line["skill"]: line for line in lines}


def main() -> int:
    """Proves the laws and prints a line a skill, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller samples")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    parser.add_argument("--skill", action="append", default=[], help="this one only; may be repeated")
    parser.add_argument("--resume", default="", metavar="FILE", help="append a line a skill, skip those that are there")
    parser.add_argument("--sandbox", default="auto", help="what runs shell plans")
    parser.add_argument("--digests", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    skills = options.skill or list(GENERATORS.names())
    if options.digests:
        print(json.dumps({skill: digest_of(GENERATORS.get(skill), options.digests) for skill in skills}))
        return 0
    full = {"digest": 100, "run": 300, "replay": 1000, "seeds": 1000, "mutants": 1000, "levels": 1000}
    sizes = {name: max(num // 10, 10) for name, num in full.items()} if options.quick else full
    found = kept(options.resume)
    for skill in skills:
        if skill not in found:
            by_hash_seed = [digests([skill], sizes["digest"], hash_seed) for hash_seed in HASH_SEEDS]
            found[skill] = {"skill": skill, **laws(skill, sizes, by_hash_seed, options.sandbox)}
            if options.resume:
                with open(options.resume, "a") as file:
                    file.write(json.dumps(found[skill]) + "\n")
        if not options.json:
            print(f"{skill:24}{'holds' if found[skill]['ok'] else 'BROKEN'}  {json.dumps(found[skill])}", flush=True)
    if options.json:
        print(json.dumps({"ok": all(found[skill]["ok"] for skill in skills), "skills": found}))
    return 0 if all(found[skill]["ok"] for skill in skills) else 1


if __name__ == "__main__":
    sys.exit(main())
