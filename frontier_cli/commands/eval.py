"""frontier eval."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier eval run -n 20 -o eval.jsonl
frontier eval model --skill binary,math_mc --level 1 --json"""


def command(
    model: Annotated[str, typer.Argument(metavar="RUN_OR_MODEL", help="run, checkpoint or model folder")],
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
    json: options.Json = False,
) -> int:
    """Answer held-out problems greedily and score them with the same verifiers as the data.

    One line an item with prompt, answer and the reason of a failure; the table per skill goes to stderr. With --json
    the summary takes standard output, and items are written only to -o FILE.
    """
    from frontier_cli.accuracy import accuracy_table
    from frontier_core.domains import choose_domains, load_domains
    from frontier_core.jsonl import dumps
    from frontier_core.profiles import profile_named
    from frontier_ops import evaluation
    from frontier_ops.stage_files import Target, write_lines

    chosen = choose_domains(load_domains(domains or None), options.split_names(skill))
    requests = evaluation.eval_requests(chosen, num, levels=level)
    found = evaluation.identify(model, on_note=console.note)
    with console.Progress("eval", sum(request.count for request in requests)) as progress:
        items = list(
            evaluation.evaluate(
                found,
                requests,
                seed=seed,
                profile=profile_named(profile),
                sandbox=sandbox,
                on_note=console.note,
                on_progress=progress.update,
            )
        )
    stats = evaluation.tally_items(items)
    mean = evaluation.mean_accuracy(stats)
    path = "/dev/null" if json and output == "-" else output
    write_lines(
        items,
        Target(output=path, pipe=console.data_stream()),
        stage="eval",
        sources=list(dict.fromkeys((str(found.folder), model))),
        seed=seed,
        params={"run_id": found.run_id, "step": found.step, "round": found.round, "mean_accuracy": mean},
    )
    for line in accuracy_table(stats, mean):
        console.note(line)
    if json:
        rates = {name: {"successes": s.successes, "trials": s.trials, "rate": s.rate} for name, s in stats.items()}
        console.emit(
            dumps({"run_id": found.run_id, "step": found.step, "mean_accuracy": mean, "skills": rates}).decode()
        )
    return 0
