"""frontier synth dedup."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier synth dedup taught.jsonl -o distinct.jsonl
frontier synth teach tasks.jsonl --teacher $TEACHER --template shell_plan | frontier synth dedup --threshold 0.7"""


def command(
    source: options.Input = "-",
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="S", help="similarity of word triples from which two are alike")
    ] = 0.8,
    by: Annotated[
        str, typer.Option("--by", metavar="WHAT", help="compare prompts, or records (prompt and answer)")
    ] = "prompt",
    output: options.OutputPath = "-",
    rejects: options.Rejects = "",
    engine: options.DataEngine = "local",
    ray_address: options.RayAddress = "",
) -> int:
    """Drop records that repeat an earlier one, exactly or nearly.

    The first stays; the others go to the rejects file with the line they repeat. Candidates are found by MinHash and
    decided by the Jaccard similarity itself.
    """
    from frontier_core.errors import UsageError
    from frontier_ops.spread import open_spread
    from frontier_ops.stage_diversity import dedup
    from frontier_ops.stage_files import Target

    if by not in ("prompt", "record"):
        raise UsageError(f"--by: {by!r} is neither prompt nor record")
    target = Target(output=output, rejects=rejects, pipe=console.data_stream())
    with open_spread(engine, address=ray_address) as spread, console.Progress("dedup") as progress:
        result = dedup(
            console.input_source(source),
            target,
            threshold=threshold,
            by="prompt" if by == "prompt" else "record",
            spread=spread,
            on_progress=progress.update,
        )
    dropped = result.tally.rejects["near_duplicate"]
    unreadable = result.num_rejected - dropped
    told = "up to date: " if result.report.get("up_to_date") else ""
    told += f"kept {result.num_out} of {result.num_in}, dropped {dropped}"
    console.note(told + (f", rejected {unreadable} that can't be read" if unreadable else ""))
    return 1 if unreadable else 0
