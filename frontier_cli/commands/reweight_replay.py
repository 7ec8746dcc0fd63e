"""frontier reweight replay."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier reweight replay policy.jsonl
frontier reweight replay policy2.jsonl --telemetry telemetry.jsonl --prev policy1.jsonl"""


def command(
    policies: Annotated[list[str], typer.Argument(metavar="POLICIES...", help="policy files")],
    telemetry: Annotated[
        str, typer.Option("--telemetry", metavar="FILE", help="compute the factors again too, from this telemetry")
    ] = "",
    previous: Annotated[str, typer.Option("--prev", metavar="FILE", help="the policy that was in force then")] = "",
    domains: options.Domains = "",
    policy: Annotated[str, typer.Option("--method", metavar="NAME", help="the policy [frontier]")] = "frontier",
    as_json: options.Json = False,
) -> int:
    """Compute every weight of a policy again, bit for bit, from the factors its lines logged.

    With --telemetry and --prev the factors come out again too. Exit 1 when a bit differs.
    """
    from pathlib import Path

    from curriculum.replay import replay
    from curriculum.reweight import reweight
    from frontier_core.allocation import read_policy
    from frontier_core.domains import load_domains
    from frontier_core.jsonl import dumps

    num, found = 0, []
    for path in policies:
        lines = read_policy(path)
        num += len(lines)
        found += [(path, mismatch) for mismatch in replay(lines)]
    differing = 0
    if telemetry:
        again = reweight(
            console.input_source(telemetry),
            load_domains(domains or None),
            Path(previous) if previous else None,
            policy=policy,
        )
        logged = [line.to_record() for line in read_policy(policies[-1])]
        pairs = zip(map(dumps, again), map(dumps, logged), strict=False)
        differing = sum(a != b for a, b in pairs) + abs(len(again) - len(logged))
    if as_json:
        items = [
            {"file": path, "tag": m.tag, "what": m.what, "logged": m.logged, "computed": m.computed}
            for path, m in found
        ]
        console.emit(dumps({"num_lines": num, "mismatches": items, "num_lines_differing": differing}).decode())
        return int(bool(found or differing))
    for path, mismatch in found:
        console.emit(f"{path}: {mismatch.tag}: {mismatch.what} {mismatch.logged!r}, computed {mismatch.computed!r}")
    if differing:
        console.emit(f"{policies[-1]}: {differing} lines are not what the telemetry gives")
    if not found and not differing:
        console.emit(f"{num} weights replayed bit for bit")
    return int(bool(found or differing))
