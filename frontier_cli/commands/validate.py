"""frontier validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier validate train.jsonl --level deep --json
frontier synth verify candidates.jsonl | frontier validate --level standard -o train.jsonl"""


def command(
    source: options.Input = "-",
    file: Annotated[str, typer.Option("--file", metavar="FILE", help="the same as IN")] = "",
    level: Annotated[str, typer.Option("--level", metavar="NAME", help="quick, standard or deep")] = "standard",
    spec: Annotated[
        str, typer.Option("--spec", metavar="ID", help="auto, or the one spec every line must keep")
    ] = "auto",
    profile: options.Profile = "emoji_think",
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="FILE", help="deep: evaluation data that must not be in here; repeatable"),
    ] = None,
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", metavar="DIR", help="the run's tokenizer, to count tokens of a sample with")
    ] = "",
    workers: Annotated[
        int, typer.Option("--workers", min=1, metavar="N", help="quick: processes, by ranges of IN")
    ] = 1,
    engine: options.DataEngine = "local",
    ray_address: options.RayAddress = "",
    output: options.OutputPath = "-",
    rejects: options.Rejects = "",
    max_rejects: options.MaxRejects = "0",
    sarif: Annotated[str, typer.Option("--sarif", metavar="FILE", help="the report as SARIF 2.1.0")] = "",
    html: Annotated[str, typer.Option("--html", metavar="FILE", help="the report as a page with charts")] = "",
    json: options.Json = False,
) -> int:
    """Hold records against the schema gate (deny by default), then the content gate.

    Accepted lines go to the output, rejected ones to the rejects file with place, reason and remedy. With --json the
    report takes standard output, and records are written only to -o FILE.
    """
    from frontier_cli.verdicts import Complaints, allowed_rejects, finish
    from frontier_core.jsonl import dumps
    from frontier_core.profiles import profile_named
    from frontier_ops.spread import open_spread
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_validate import validate, write_reports
    from validators.base import GateSettings
    from validators.content_gate import level_named

    allowed_rejects(max_rejects, 0)  # a typo is said before the work, not after
    settings = GateSettings(
        level=level_named(level),
        profile=profile_named(profile),
        against=tuple(map(Path, against or ())),
        tokenizer=Path(tokenizer) if tokenizer else None,
    )
    reports_only = json and output == "-" and not rejects
    discards = json and output == "-"
    target = Target(output="/dev/null" if discards else output, rejects=rejects, pipe=console.data_stream())
    with open_spread(engine, workers=workers if workers > 1 else 0, address=ray_address) as spread:
        result = validate(
            console.input_source(file or source),
            None if reports_only else target,
            settings=settings,
            reuse=not (json or sarif or html),
            spec=spec,
            workers=workers,
            spread=spread,
            on_reject=Complaints(),
            on_note=console.note,
        )
    write_reports(result.report, sarif=sarif, html=html)
    if json:
        console.emit(dumps(result.report).decode())
    kept_in = "" if reports_only else str(target.rejects_path or "")
    return finish("accepted", result, max_rejects, kept_in=kept_in)
