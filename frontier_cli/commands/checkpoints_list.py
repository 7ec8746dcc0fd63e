"""frontier checkpoints list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier checkpoints list run
frontier checkpoints list run --eval eval.jsonl --json"""


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="the folder given to frontier train -o")],
    evaluation: Annotated[
        list[str], typer.Option("--eval", metavar="FILE", help="evaluations of its checkpoints (repeat)")
    ] = [],  # noqa: B006 (Typer copies it)
    json: options.Json = False,
) -> int:
    """List a run's checkpoints, newest first: step, size, loss, score, and whether each is whole.

    Every byte is compared with its manifest. Exit 1 when the newest one is torn.
    """
    from frontier_core.jsonl import dumps
    from frontier_ops.comparison import scores_by_step
    from trainer.retention import list_checkpoints

    found = list_checkpoints(Path(run), scores=scores_by_step(evaluation))
    for checkpoint in found:
        if json:
            console.emit(dumps(checkpoint.to_record()).decode())
            continue
        loss = "" if checkpoint.loss is None else f"loss {checkpoint.loss:.4f}"
        score = "" if checkpoint.score is None else f"accuracy {checkpoint.score:.1%}"
        state = f"TORN: {checkpoint.problem}" if checkpoint.problem else "whole"
        size = f"{checkpoint.num_bytes / 1e6:9.1f} MB"
        words = f"{checkpoint.path.name:18} {size}  {checkpoint.saved_at}  {loss:12} {score:15} {state}"
        console.emit(words.rstrip())
    if not found:
        console.note(f"{run}: holds no checkpoint")
    return 1 if found and found[0].problem else 0
