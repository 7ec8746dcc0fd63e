"""frontier model layers."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier model layers run
frontier model layers run/checkpoint-400 -o layers.jsonl"""


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run, checkpoint or model folder")],
    output: options.OutputPath = "-",
) -> int:
    """Show statistics of every weight of a model, summed up by layer.

    One line a weight, then one a layer and one for the model: num_params, mean, std, norm, max_abs, zero_share. Weights
    are read one at a time; no model is built. The table of layers goes to stderr.
    """
    from frontier_ops.introspection import write_layers

    for line in write_layers(model, output, pipe=console.data_stream()):
        console.note(line)
    return 0
