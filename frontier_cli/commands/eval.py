"""frontier eval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from frontier_cli import asks, console, options

if TYPE_CHECKING:
    from frontier_core.records import Record

EXAMPLES = """\
frontier eval run -n 20 -o eval.jsonl
frontier eval openai:qwen3@http://127.0.0.1:8000 --skill math_mc -n 50 -o eval.jsonl
frontier eval model --skill binary,math_mc --level 1 --json"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="run, checkpoint, model folder; openai:NAME@URL, or a server's URL")
    ],
    domains: options.Domains = "",
    skill: Annotated[
        list[str], typer.Option("--skill", "--skills", metavar="NAME", help="only this skill (repeat, or a,b)")
    ] = [],  # noqa: B006 (Typer copies it)
    level: options.Levels = [],  # noqa: B006
    num: Annotated[
        int, typer.Option("-n", "--num", min=1, metavar="N", help="held-out problems per skill and level")
    ] = 10,
    seed: options.Seed = 0,
    profile: options.Profile = "emoji_think",
    sandbox: options.SandboxName = "auto",
    output: options.OutputPath = "-",
    journal: Annotated[
        str, typer.Option("--journal", metavar="FILE", help="where answers are kept [OUT.answers beside a file]")
    ] = "",
    concurrency: asks.Concurrency = 16,
    key_env: asks.KeyEnv = "",
    json: options.Json = False,
) -> int:
    """Answer held-out problems greedily and score them with the same verifiers as the data.

    One line an item with prompt, answer and the reason of a failure; the table per skill goes to stderr (-v adds the
    levels). With --json the summary takes standard output, and items are written only to -o FILE. A run that broke off
    goes on with the same command: answers to -o FILE are kept beside it until it is whole.
    """
    from frontier_core.domains import choose_domains, load_domains
    from frontier_core.jsonl import read_records
    from frontier_core.profiles import profile_named
    from frontier_ops import answering, evaluation
    from frontier_ops.stage_files import Target, earlier, write_lines

    chosen = choose_domains(load_domains(domains or None), options.split_names(skill))
    form = profile_named(profile)
    asked = evaluation.asked(chosen, num, levels=level, seed=seed, profile=form, sandbox=sandbox)
    found = answering.identify(model, on_note=console.note, key_env=key_env, concurrency=concurrency)
    path = "/dev/null" if json and output == "-" else output
    target = Target(output=path, pipe=console.data_stream())
    about = {"run_id": found.run_id, "step": found.step, "round": found.round}
    made: dict[str, Any] = {
        "stage": "eval",
        "sources": [] if found.folder is None else list(dict.fromkeys((str(found.folder), model))),
        "seed": seed,
        "params": {**about, "model": found.place, "asked": asked},
    }
    if found.folder is not None and (done := earlier(target, **made, outcomes=["mean_accuracy"])):
        console.note(f"up to date: {done.num_out} answers")
        return _tell(list(read_records(path)), about, as_json=json)
    requests = evaluation.eval_requests(chosen, num, levels=level)
    kept = evaluation.journal_path(journal, output)
    with console.Progress("eval", sum(request.count for request in requests)) as progress:
        items = list(
            evaluation.evaluate(
                found,
                requests,
                seed=seed,
                profile=form,
                sandbox=sandbox,
                journal=kept,
                on_note=console.note,
                on_progress=progress.update,
            )
        )
    made["params"]["mean_accuracy"] = evaluation.mean_accuracy(evaluation.tally_items(items))
    write_lines(items, target, **made)
    if kept is not None and not journal:
        kept.unlink(missing_ok=True)
    return _tell(items, about, as_json=json)


def _tell(items: list[Record], about: Record, *, as_json: bool) -> int:
    """Says how many answers were right, by skill, and with --json on standard output."""
    from frontier_cli.accuracy import accuracy_table
    from frontier_core.jsonl import dumps
    from frontier_ops import evaluation

    stats = evaluation.tally_items(items)
    mean = evaluation.mean_accuracy(stats)
    about = about | {"mean_accuracy": mean}
    cells = evaluation.tally_cells(items)
    for line in accuracy_table(cells | stats if console.verbosity() > 1 else stats, mean):
        console.note(line)
    if as_json:
        console.emit(dumps(about | {"skills": evaluation.rates(stats), "cells": evaluation.rates(cells)}).decode())
    return 0
