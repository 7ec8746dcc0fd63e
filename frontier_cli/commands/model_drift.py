"""frontier model drift."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier model drift model run
frontier model drift run/checkpoint-400 run/checkpoint-800 -o drift.jsonl"""


def command(
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="run, checkpoint or model folder")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="the same model, later")],
    output: options.OutputPath = "-",
) -> int:
    """Show how far each weight moved between two checkpoints, summed up by layer.

    One line a weight, then one a layer and one for the model: drift (norm of the change), relative to the norm before,
    cosine between before and after, max_abs, moved_share. The table of layers goes to stderr.
    """
    from frontier_ops.introspection import write_drift

    for line in write_drift(before, after, output, pipe=console.data_stream()):
        console.note(line)
    return 0
