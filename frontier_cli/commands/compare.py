"""frontier compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier compare round*/eval.jsonl
frontier compare run1 run2 -n 20 --against release.eval.jsonl --plot compare.svg
frontier deploy "$(frontier compare round*/eval.jsonl --best)" --to release"""


def command(
    places: Annotated[
        list[str], typer.Argument(metavar="RUN_OR_EVAL...", help="runs and checkpoints, or evaluations of one exam")
    ],
    best: Annotated[bool, typer.Option("--best", help="print the best one's checkpoint and nothing else")] = False,
    against: Annotated[
        str, typer.Option("--against", metavar="EVAL", help="what is in service: exit 1 if the best is worse")
    ] = "",
    plot: Annotated[str, typer.Option("--plot", metavar="FILE", help="write an SVG of accuracies and intervals")] = "",
    domains: options.Domains = "",
    skill: Annotated[
        list[str], typer.Option("--skill", "--skills", metavar="NAME", help="of runs: only this skill (repeat, or a,b)")
    ] = [],  # noqa: B006 (Typer copies it)
    num: Annotated[
        int, typer.Option("-n", "--num", min=1, metavar="N", help="of runs: problems per skill and level")
    ] = 10,
    seed: options.Seed = 0,
    profile: options.Profile = "emoji_think",
    sandbox: options.SandboxName = "auto",
    json: options.Json = False,
) -> int:
    """Rank checkpoints by their answers to the same held-out problems, best first.

    A run is evaluated checkpoint by checkpoint (kept in RUN-evals, so the next time only new ones are). The gate
    --against goes problem by problem: a skill is worse when chance would lose so many less than one time in twenty.
    """
    from frontier_core.atomic import write_bytes
    from frontier_core.domains import choose_domains, load_domains
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_core.profiles import profile_named
    from frontier_core.records import wilson_interval
    from frontier_ops.comparison import compare, regressions
    from frontier_ops.comparison_plot import plot as draw
    from frontier_ops.comparison_runs import Exam, evaluations

    if any(Path(place).is_dir() for place in places):
        chosen = choose_domains(load_domains(domains or None), options.split_names(skill))
        exam = Exam(domains=chosen, num=num, seed=seed, profile=profile_named(profile), sandbox=sandbox)
        places = evaluations(places, exam, on_note=console.note)
    ranked = compare(places)
    worse = regressions(str(ranked[0].path), against) if against else []
    records = [entry.to_record(place) for place, entry in enumerate(ranked, 1)]
    if plot:
        write_bytes(Path(plot), draw(records))
    for change in worse:
        console.note(f"worse than {against}: {change.words}")
    if best:
        if not ranked[0].checkpoint:
            raise UsageError(
                f"{ranked[0].path}: has no sidecar that names its checkpoint", hint="frontier eval -o FILE"
            )
        if not worse:
            console.emit(ranked[0].checkpoint)
        return 1 if worse else 0
    for record, entry in zip(records, ranked, strict=True):
        whole = entry.skills["all"]
        low, high = wilson_interval(whole.successes, whole.trials)
        if json:
            gate = {"worse": [change.words for change in worse]} if against and record["place"] == 1 else {}
            console.emit(dumps(record | gate).decode())
            continue
        interval = f"{whole.successes}/{whole.trials} ({low:.1%} - {high:.1%})"
        where = entry.checkpoint or entry.path
        console.emit(f"{record['place']}  {entry.mean_accuracy:6.1%} mean over skills  {interval}  {where}")
    return 1 if worse else 0
