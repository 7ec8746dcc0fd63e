"""frontier synth format."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier synth format verified.jsonl --to delta -o delta.jsonl
frontier synth format verified.jsonl --to echo | head -1
frontier synth format verified.jsonl --to preference --rejected verified.rejects.jsonl -o pairs.jsonl"""


def command(
    source: options.Input = "-",
    to: Annotated[
        str, typer.Option("--to", metavar="FORM", help="delta, echo or chat; with --rejected: preference or sparring")
    ] = "echo",
    rejected: Annotated[
        str, typer.Option("--rejected", metavar="FILE", help="failed candidates: a rejects file of synth verify")
    ] = "",
    most: Annotated[int, typer.Option("--most", min=1, metavar="N", help="failed answers used per record")] = 1,
    profile: options.Profile = "emoji_think",
    output: options.OutputPath = "-",
) -> int:
    """Write verified records as Delta (planner), Echo (conversation) or chat (one turn).

    Fixtures and expectations stay behind. Chat records of skills pass through echo and chat as they are. A preference
    pair or the three sparring records of a mistake need failed candidates to the same problems.
    """
    from frontier_core.errors import UsageError
    from frontier_core.profiles import profile_named
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_format import format_records, pair_records
    from generators.formats import form_named
    from generators.pairs import PairForm

    target = Target(output=output, pipe=console.data_stream())
    source = console.input_source(source)
    if to in ("preference", "sparring"):
        if not rejected:
            raise UsageError(f"--to {to} needs failed candidates", hint="--rejected verified.rejects.jsonl")
        kind: PairForm = "preference" if to == "preference" else "sparring"
        pairs = pair_records(source, rejected, target, form=kind, profile=profile_named(profile), most=most)
        done = "up to date:" if pairs.report.get("up_to_date") else "wrote"
        console.note(f"{done} {pairs.num_out} {to} records from {pairs.num_in} verified ones")
        if pairs.num_in and not pairs.num_out:
            console.note(f"no failed candidate in {rejected} answers a problem of {source}")
            return 1
        return 0
    result = format_records(source, target, form=form_named(to), profile=profile_named(profile))
    done = "up to date:" if result.report.get("up_to_date") else "wrote"
    console.note(f"{done} {result.num_out} records as {to}")
    return 0
