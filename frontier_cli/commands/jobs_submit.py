"""frontier jobs submit."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier jobs submit --type report -- frontier report out -o out/report.html
frontier jobs submit --type data_gen --output c.jsonl -- frontier synth gen -n 1000 -o c.jsonl"""


def command(
    argv: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND ...]", help="what is run")] = None,
    kind: Annotated[str, typer.Option("--type", metavar="NAME", help="eval, sparring, data_gen, report, ...")] = "",
    priority: Annotated[str, typer.Option("--priority", metavar="NAME", help="high, normal or low")] = "normal",
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="FILE", help="a file the command reads (repeat)")
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--output", metavar="FILE", help="a file it must leave (repeat)")
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="CHECKPOINT", help="the model an eval job is about")] = "",
    payload: Annotated[str, typer.Option("--payload", metavar="JSON", help="an object for the job's type")] = "{}",
    retries: Annotated[int, typer.Option("--retries", min=0, metavar="N", help="runs after one that failed")] = 0,
    specs: Annotated[str, typer.Option("--from", metavar="FILE", help="many jobs, a JSON object a line")] = "",
    home: jobs.Home = "",
    json: options.Json = False,
) -> int:
    """Queue a job: a command with its inputs and outputs, taken by a worker of its type's role.

    A job with outputs is skipped when one alike has been completed and all bytes still stand. Prints the job's id.
    """
    from frontier_core.errors import UsageError
    from frontier_ops.jobs.submission import read_payload, read_specs, spec_of

    if bool(specs) == bool(argv):
        raise UsageError("give a command after --, or many jobs with --from FILE", hint="frontier jobs submit -h")
    if specs:
        wanted = read_specs(console.input_source(specs))
    else:
        values = {"type": kind, "priority": priority, "retries": retries, "payload": read_payload(payload, model)}
        wanted = [spec_of(argv or [], inputs or [], outputs or [], values)]
    store = jobs.open_store(home)
    submitted = store.submit(wanted)
    if json:
        jobs.show(submitted, json=True)
    else:
        for job in submitted:
            console.emit(job.id)
    store.close()
    return 0
