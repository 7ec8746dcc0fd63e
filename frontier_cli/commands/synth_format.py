"""frontier synth format."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier synth format verified.jsonl --to delta -o delta.jsonl
frontier synth format verified.jsonl --to echo | head -1"""


def command(
    source: options.Input = "-",
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="delta, echo or chat")] = "echo",
    profile: options.Profile = "emoji_think",
    output: options.OutputPath = "-",
) -> int:
    """Write verified records as Delta (planner), Echo (conversation) or chat (one turn).

    Fixtures and expectations stay behind. Chat records of skills pass through echo and chat as they are.
    """
    from frontier_core.profiles import profile_named
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_generate import format_records
    from generators.formats import form_named

    target = Target(output=output, pipe=console.data_stream())
    source = console.input_source(source)
    result = format_records(source, target, form=form_named(to), profile=profile_named(profile))
    console.note(f"wrote {result.num_out} records as {to}")
    return 0
