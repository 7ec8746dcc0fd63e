"""frontier convert."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier convert verified.jsonl --to sharegpt -o sharegpt.jsonl
frontier convert theirs.jsonl --skill support --profile emoji_think | frontier validate"""


def command(
    source: options.Input = "-",
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORM", help="contract, openai, sharegpt, alpaca, trl, delta, echo or chat"),
    ] = "contract",
    form: Annotated[str, typer.Option("--from", metavar="FORM", help="the form of the rows [told by their keys]")] = "",
    skill: Annotated[
        str, typer.Option("--skill", metavar="NAME", help="metadata.skill of rows that name none")
    ] = "imported",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="dress answers: emoji_think, regime3, plain [as they are]")
    ] = "",
    bare: Annotated[bool, typer.Option("--bare", help="leave metadata out (some tools refuse unknown keys)")] = False,
    output: options.OutputPath = "-",
    rejects: options.Rejects = "",
    max_rejects: options.MaxRejects = "0",
) -> int:
    """Convert records to other tools' forms and back.

    There and back gives the same record. What a form can't hold is rejected with its reason, never dropped.
    """
    from frontier_cli.verdicts import Complaints, allowed_rejects, finish
    from frontier_core.profiles import profile_named
    from frontier_ops.stage_convert import convert
    from frontier_ops.stage_files import Target
    from generators.dialects import dialect_named

    allowed_rejects(max_rejects, 0)
    target = Target(output=output, rejects=rejects, pipe=console.data_stream())
    result = convert(
        console.input_source(source),
        target,
        to=dialect_named(to),
        form=dialect_named(form) if form and form != "auto" else None,
        skill=skill,
        profile=profile_named(profile) if profile else None,
        keep_metadata=not bare,
        on_reject=Complaints(),
    )
    return finish("converted", result, max_rejects, kept_in=str(target.rejects_path or ""))
