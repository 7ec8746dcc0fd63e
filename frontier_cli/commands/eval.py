"""frontier eval."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import asks, console, options

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
    from frontier_cli.accuracy import accuracy_table
    from frontier_core.domains import choose_domains, load_domains
    from frontier_core.jsonl import dumps
    from frontier_core.profiles import profile_named
    from frontier_ops import answering, evaluation
    from frontier_ops.stage_files import Target, write_lines

    chosen = choose_domains(load_domains(domains or None), options.split_names(skill))
    requests = evaluation.eval_requests(chosen, num, levels=level)
    found = answering.identify(model, on_note=console.note, key_env=key_env, concurrency=concurrency)
    kept = evaluation.journal_path(journal, output)
    with console.Progress("eval", sum(request.count for request in requests)) as progress:
        items = list(
            evaluation.evaluate(
                found,
                requests,
                seed=seed,
                profile=profile_named(profile),
                sandbox=sandbox,
                journal=kept,
                on_note=console.note,
                on_progress=progress.update,
            )
        )
    stats = evaluation.tally_items(items)
    mean = evaluation.mean_accuracy(stats)
    path = "/dev/null" if json and output == "-" else output
    about = {"run_id": found.run_id, "step": found.step, "round": found.round, "mean_accuracy": mean}
    write_lines(
        items,
        Target(output=path, pipe=console.data_stream()),
        stage="eval",
        sources=[] if found.folder is None else list(dict.fromkeys((str(found.folder), model))),
        seed=seed,
        params={
            "run_id": found.run_id,
            "step": found.step,
            "round": found.round,
            "mean_accuracy": mean,
            "model": found.place,
        },
    )
    if kept is not None and not journal:
        kept.unlink(missing_ok=True)
    cells = evaluation.tally_cells(items)
    for line in accuracy_table(cells | stats if console.verbosity() > 1 else stats, mean):
        console.note(line)
    if json:
        console.emit(dumps(about | {"skills": evaluation.rates(stats), "cells": evaluation.rates(cells)}).decode())
    return 0
