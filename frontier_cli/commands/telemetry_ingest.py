"""frontier telemetry ingest."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier telemetry ingest run/ eval.jsonl -o telemetry.jsonl
frontier telemetry ingest trainer_state.json | head -3"""


def command(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCES...", help="run folders, event and evaluation files")],
    output: options.OutputPath = "-",
) -> int:
    """Turn training and evaluation logs into telemetry lines: additive sums per run, steps, tag and metric.

    The format of each source is found by its content. Lines of the same key add up; a file given twice counts once.
    """
    from curriculum.ingest import ingest
    from frontier_core.errors import DataError
    from frontier_ops.stage_files import Target, write_lines

    lines = [line.to_record() for line in ingest(sources, on_note=console.note)]
    if not lines:
        raise DataError("holds no telemetry", path=", ".join(sources), code="no_telemetry", hint="give a run folder")
    target = Target(output=output, pipe=console.data_stream())
    result = write_lines(lines, target, stage="telemetry ingest", sources=sources)
    console.note(f"wrote {result.num_out} telemetry lines")
    return 0
