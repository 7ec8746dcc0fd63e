"""frontier compare."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier compare round*/eval.jsonl
frontier deploy "$(frontier compare round*/eval.jsonl --best)" --to release"""


def command(
    evaluations: Annotated[list[str], typer.Argument(metavar="EVAL...", help="evaluations of the same problems")],
    best: Annotated[bool, typer.Option("--best", help="print the best one's checkpoint and nothing else")] = False,
    json: options.Json = False,
) -> int:
    """Rank checkpoints by their answers to the same held-out problems, best first."""
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_core.records import wilson_interval
    from frontier_ops.comparison import compare

    ranked = compare(evaluations)
    if best:
        if not ranked[0].checkpoint:
            raise UsageError(
                f"{ranked[0].path}: has no sidecar that names its checkpoint", hint="frontier eval -o FILE"
            )
        console.emit(ranked[0].checkpoint)
        return 0
    for place, entry in enumerate(ranked, 1):
        whole = entry.skills["all"]
        low, high = wilson_interval(whole.successes, whole.trials)
        if json:
            rates = {name: value.rate for name, value in entry.skills.items()}
            fields = {"place": place, "run_id": entry.run_id, "step": entry.step, "checkpoint": entry.checkpoint}
            console.emit(dumps({**fields, "mean_accuracy": entry.mean_accuracy, "skills": rates}).decode())
            continue
        interval = f"{whole.successes}/{whole.trials} ({low:.1%} - {high:.1%})"
        where = entry.checkpoint or entry.path
        console.emit(f"{place}  {entry.mean_accuracy:6.1%} mean over skills  {interval}  {where}")
    return 0
