"""frontier import."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier import theirs.jsonl --skill support --profile emoji_think -o support.jsonl
frontier import dataset/ pairs.parquet --license apache-2.0 --json -o all.jsonl"""


def command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="files or dataset folders; - is standard input")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FORM",
            help="auto, openai, sharegpt, alpaca, prompt-completion, query-response, preference, kto, tool-calls, "
            "parquet or hf-dataset-dir",
        ),
    ] = "auto",
    think: Annotated[str, typer.Option("--think", metavar="WHAT", help="strip or keep <think> blocks")] = "strip",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="dress answers: emoji_think, regime3, plain [as they are]")
    ] = "",
    skill: Annotated[
        str, typer.Option("--skill", metavar="NAME", help="metadata.skill of rows that name none")
    ] = "imported",
    domain: Annotated[
        str, typer.Option("--domain", metavar="NAME", help="metadata.domain of rows that name none")
    ] = "",
    source: Annotated[str, typer.Option("--source", metavar="NAME", help="metadata.source [the file's name]")] = "",
    license_name: Annotated[str, typer.Option("--license", metavar="ID", help="metadata.source_license")] = "",
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="split of a dataset folder [train, else all]")
    ] = "",
    output: options.OutputPath = "-",
    rejects: options.Rejects = "",
    max_rejects: options.MaxRejects = "0",
    engine: options.DataEngine = "local",
    ray_address: options.RayAddress = "",
    json: options.Json = False,
) -> int:
    """Take other tools' data into the contract: JSON Lines, JSON, Parquet, datasets folders.

    What each file was taken for is said; keys and labels that a record has no place for are kept in metadata. A row
    that can't be a record goes to the rejects file with its reason.
    """
    from frontier_cli.verdicts import Complaints, allowed_rejects, finish, refuse_mixed_output
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_core.profiles import profile_named
    from frontier_ops.spread import open_spread
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_import import import_files
    from generators.imports import form_named

    allowed_rejects(max_rejects, 0)
    refuse_mixed_output(json, output)
    if think not in ("strip", "keep"):
        raise UsageError(f"--think: {think!r} is neither strip nor keep")
    if think == "keep" and profile and profile != "plain":
        raise UsageError("--think keep: a dressed answer holds no <think> block", hint="leave out --profile")
    given = {"skill": skill, "domain": domain, "source": source, "source_license": license_name}
    target = Target(output=output, rejects=rejects, pipe=console.data_stream())
    with open_spread(engine, address=ray_address) as spread, console.Progress("import") as progress:
        result = import_files(
            [console.input_source(name) for name in files],
            target,
            form=form_named(form),
            think="keep" if think == "keep" else "strip",
            profile=profile_named(profile) if profile else None,
            split=split,
            defaults={key: value for key, value in given.items() if value},
            spread=spread,
            on_reject=Complaints(),
            on_note=console.note,
            on_progress=progress.update,
        )
    if json:
        console.emit(dumps(result.report).decode())
    return finish("imported", result, max_rejects, kept_in=str(target.rejects_path or ""))
