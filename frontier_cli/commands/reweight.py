"""frontier reweight."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier reweight telemetry.jsonl -o policy.jsonl
frontier reweight telemetry.jsonl --prev policy1.jsonl -o policy2.jsonl --explain"""


def command(
    telemetry: Annotated[
        str, typer.Argument(metavar="TELEMETRY", help="lines of telemetry ingest; - is standard input")
    ],
    domains: options.Domains = "",
    previous: Annotated[
        str, typer.Option("--prev", metavar="FILE", help="the policy in force; carries the state")
    ] = "",
    policy: Annotated[
        str, typer.Option("--method", metavar="NAME", help="the policy; frontier is ours [frontier]")
    ] = "frontier",
    explain: Annotated[bool, typer.Option("--explain", help="say each reason on stderr")] = False,
    output: options.OutputPath = "-",
) -> int:
    """Turn telemetry into a sampling policy: a weight per tag with floor, cap, bounded step, and its reason.

    Floor 0.2 of the prior, cap 4 times, at most 1.6 times a round. Without --prev the domains' priors are in force.
    Methods: frontier, uniform, proportional, doremi, odm, ado, skill_it, learning_progress, levels; those of the
    literature are as published, without our rails. docs/reweighting.md says how they compare.
    """
    from pathlib import Path

    from curriculum.reweight import reweight
    from frontier_core.domains import load_domains
    from frontier_ops.stage_files import Target, write_lines

    source = console.input_source(telemetry)
    records = reweight(source, load_domains(domains or None), Path(previous) if previous else None, policy=policy)
    target = Target(output=output, pipe=console.data_stream())
    sources = [source, previous] if previous else [source]
    result = write_lines(records, target, stage="reweight", sources=sources, producer=policy)
    for record in records if explain else []:
        console.note(f"{record['tag']}: {record['previous']:.4f} -> {record['weight']:.4f}  {record['reason']}")
    console.note(f"wrote {result.num_out} weights")
    return 0
