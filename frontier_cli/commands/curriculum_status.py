"""frontier curriculum status."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier curriculum status telemetry.jsonl
frontier curriculum status telemetry.jsonl --policy policy.jsonl --json"""


def command(
    telemetry: Annotated[str, typer.Argument(metavar="TELEMETRY", help="lines of telemetry ingest")],
    policy: Annotated[str, typer.Option("--policy", metavar="FILE", help="says which levels are closed")] = "",
    as_json: options.Json = False,
) -> int:
    """Show where each skill stands: its current level, what is mastered, whether the next level may open.

    Judged by the lower end of a 90% interval on all answers: mastered from 85%, ready for the next level from 70%. The
    telemetry's rounds are pooled.
    """
    from curriculum.cells import cells_by_round, pooled
    from curriculum.ingest import read_telemetry
    from curriculum.levels import level_status
    from curriculum.stages import ceilings
    from frontier_core.allocation import read_policy
    from frontier_core.jsonl import dumps
    from frontier_ops.report import align

    stats = pooled(cells_by_round(read_telemetry(console.input_source(telemetry))).values())
    highest = ceilings(read_policy(policy)) if policy else {}
    rows = [["skill", "level", "mastered", "open up to", "next may open", "at least, by level"]]
    for skill, status in level_status(stats).items():
        bounds = {level: round(bound, 4) for level, bound in status.lower_bounds.items()}
        is_open = highest.get(skill, max(bounds))
        if as_json:
            line = {"skill": skill, "level": status.current, "mastered": list(status.mastered), "open_up_to": is_open}
            line |= {"opens_next": status.opens_next, "lower_bounds": {str(k): v for k, v in bounds.items()}}
            console.emit(dumps(line).decode())
            continue
        mastered = ",".join(map(str, status.mastered)) or "-"
        shown = " ".join(f"{level}:{100 * bound:.0f}%" for level, bound in bounds.items())
        rows.append([skill, str(status.current), mastered, str(is_open), "yes" if status.opens_next else "no", shown])
    for text in [] if as_json else align(rows):
        console.emit(text)
    return 0
