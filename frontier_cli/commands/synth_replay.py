"""frontier synth replay."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier synth replay candidates.jsonl | cmp - candidates.jsonl
frontier synth replay verified.jsonl --line 17"""


def command(
    source: options.Input = "-",
    line: Annotated[int | None, typer.Option("--line", min=1, metavar="N", help="only the record of this line")] = None,
    openapi: options.OpenapiFile = "",
    triples: options.TriplesFile = "",
    phrases: options.PhrasesFile = "",
    output: options.OutputPath = "-",
) -> int:
    """Make records again from their metadata, byte for byte as synth gen wrote them.

    Reads any file that keeps the metadata (candidates, verified, formatted) and gives the candidate each came from.
    Records made from a file of yours need the same file.
    """
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_generate import bind, replay

    target = Target(output=output, pipe=console.data_stream())
    bound = bind(openapi=openapi, triples=triples, phrases=phrases)
    replay(console.input_source(source), target, line=line or 0, bound=bound)
    return 0
