"""frontier curriculum set."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier curriculum set policy.jsonl --skill binary --level 2 -o next.jsonl
frontier curriculum set policy.jsonl --level 1 -o start.jsonl"""


def command(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="the policy in force")],
    level: Annotated[int, typer.Option("--level", min=1, metavar="L", help="the highest level that stays open")],
    skill: Annotated[str, typer.Option("--skill", metavar="NAME", help="the skill; left out, every skill")] = "",
    output: options.OutputPath = "-",
) -> int:
    """Close the levels of a skill above one and open those up to it; write the policy so changed.

    Closed levels stay at their floor, whatever telemetry says, until `frontier curriculum advance` or this opens them.
    """
    from curriculum.cells import skill_and_level
    from curriculum.settings import PolicySettings
    from curriculum.stages import with_ceilings
    from frontier_core.allocation import read_policy
    from frontier_ops import reweighting
    from frontier_ops.stage_files import Target, write_lines

    lines = read_policy(policy)
    tags = [line.tag for line in lines]
    named = {name for name, number in map(skill_and_level, tags) if number is not None}
    skills = [skill] if skill else sorted(named)
    for name in skills:
        reweighting.tags_of_skill(tags, name)
    reasons = dict.fromkeys(skills, f"set by hand to level {level}")
    moved = with_ceilings(lines, dict.fromkeys(skills, level), settings=PolicySettings(), why=reasons)
    target = Target(output=output, pipe=console.data_stream())
    result = write_lines([line.to_record() for line in moved], target, stage="curriculum set", sources=[policy])
    console.note(f"wrote {result.num_out} weights")
    return 0
