"""What every registered generator promises, proved again: same bytes, seeds apart, exact replay, strict verdicts.

    python benchmarks/laws.py [--quick] [--json] [--skill NAME ...]

bytes      records of every level from three processes with PYTHONHASHSEED 0, 1 and 4242, one digest
runs       one run whole, in three shards, and with two worker processes: the same bytes
seeds      problems that neighbouring seeds share, beside those that two far seeds share (chance)
replay     random records made again from their metadata, byte for byte
oracle     the generator's answers, all accepted by the skill's verifier; mutants of them, all refused. Shell plans are
           judged by running them and traces by replaying their calls: benchmarks/wrong_plans.py and the tests do that.
           Where an answer shows its steps, the line with the result is changed: steps may be worded freely

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
JUDGED_OTHERWISE = ("shell_", "tool_use")


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


def judge(generator: Generator, num_mutants: int) -> tuple[int, int, int, int]:
    """Gives answers tried and accepted, mutants tried and accepted."""
    sys.path.insert(0, str(ROOT))
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


def laws(skill: str, sizes: dict[str, int], by_hash_seed: list[dict[str, str]]) -> dict[str, Any]:
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
    if not skill.startswith(JUDGED_OTHERWISE):
        names = ("num_answers", "num_answers_right", "num_mutants", "num_mutants_accepted")
        found |= dict(zip(names, judge(generator, sizes["mutants"]), strict=True))
    chance = found["num_shared_chance"]
    found["ok"] = (
        found["bytes_equal"]
        and found["runs_equal"]
        and exact == sizes["replay"]
        and found["num_shared_neighbours"] <= chance + 4 * (chance + 1) ** 0.5
        and found.get("num_answers") == found.get("num_answers_right")
        and not found.get("num_mutants_accepted")
    )
    return found


def main() -> int:
    """Proves the laws and prints a line a skill, or one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller samples")
    parser.add_argument("--json", action="store_true", help="one line on standard output")
    parser.add_argument("--skill", action="append", default=[], help="this one only; may be repeated")
    parser.add_argument("--digests", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    skills = options.skill or list(GENERATORS.names())
    if options.digests:
        print(json.dumps({skill: digest_of(GENERATORS.get(skill), options.digests) for skill in skills}))
        return 0
    full = {"digest": 100, "run": 300, "replay": 1000, "seeds": 1000, "mutants": 1000}
    sizes = {name: max(num // 10, 10) for name, num in full.items()} if options.quick else full
    by_hash_seed = [digests(skills, sizes["digest"], hash_seed) for hash_seed in HASH_SEEDS]
    found = {}
    for skill in skills:
        found[skill] = laws(skill, sizes, by_hash_seed)
        if not options.json:
            print(f"{skill:24}{'holds' if found[skill]['ok'] else 'BROKEN'}  {json.dumps(found[skill])}", flush=True)
    if options.json:
        print(json.dumps({"ok": all(law["ok"] for law in found.values()), "skills": found}))
    return 0 if all(law["ok"] for law in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
