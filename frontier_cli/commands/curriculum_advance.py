"""frontier curriculum advance."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier curriculum advance telemetry.jsonl --policy policy.jsonl -o next.jsonl
frontier curriculum advance telemetry.jsonl --policy policy.jsonl --rule streak -o next.jsonl"""


def command(
    telemetry: Annotated[str, typer.Argument(metavar="TELEMETRY", help="lines of telemetry ingest")],
    policy: Annotated[str, typer.Option("--policy", metavar="FILE", help="the policy in force")],
    rule: Annotated[
        str, typer.Option("--rule", metavar="NAME", help="interval, or streak: 80% in 3 evaluations [interval]")
    ] = "interval",
    output: options.OutputPath = "-",
) -> int:
    """Open the next level of every skill whose highest open level is good enough; write the policy with it open.

    Levels are closed by `frontier curriculum set`. By the rule `interval` a level is good enough when the lower end of
    a 90% interval on all its answers is 70% or more.
    """
    from curriculum.cells import cells_by_round
    from curriculum.ingest import read_telemetry
    from curriculum.settings import PolicySettings
    from curriculum.stages import ready_levels, with_ceilings
    from frontier_core.allocation import read_policy
    from frontier_core.errors import UsageError
    from frontier_ops.stage_files import Target, write_lines

    if rule not in ("interval", "streak"):
        raise UsageError(f"--rule: {rule!r} is neither interval nor streak")
    lines = read_policy(policy)
    source = console.input_source(telemetry)
    ready = ready_levels(lines, cells_by_round(read_telemetry(source)), rule=rule)
    wanted = {skill: level for skill, (level, _) in ready.items()}
    reasons = {skill: text for skill, (_, text) in ready.items()}
    moved = with_ceilings(lines, wanted, settings=PolicySettings(), why=reasons) if ready else lines
    target = Target(output=output, pipe=console.data_stream())
    write_lines([line.to_record() for line in moved], target, stage="curriculum advance", sources=[source, policy])
    for skill, (level, text) in ready.items():
        console.note(f"{skill}: level {level} opens; {text}")
    console.note(f"{len(ready)} levels opened")
    return 0
