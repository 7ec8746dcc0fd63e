"""frontier checkpoints prune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier checkpoints prune run --keep-last 2 --dry-run
frontier checkpoints prune run --keep-last 1 --keep-best 2 --eval eval.jsonl"""


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="the folder given to frontier train -o")],
    keep_last: Annotated[int, typer.Option("--keep-last", min=1, metavar="N", help="keep the newest N")] = 2,
    keep_best: Annotated[
        int, typer.Option("--keep-best", min=0, metavar="N", help="keep the best N too: by --eval, else by loss")
    ] = 0,
    keep_daily: Annotated[
        int, typer.Option("--keep-daily", min=-1, metavar="N", help="keep N days of snapshots; -1 keeps all")
    ] = -1,
    evaluation: Annotated[
        list[str], typer.Option("--eval", metavar="FILE", help="evaluations of its checkpoints (repeat)")
    ] = [],  # noqa: B006 (Typer copies it)
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> int:
    """Remove checkpoints that are neither among the newest nor among the best.

    Nothing is removed while a trainer holds the run, and never the last whole checkpoint.
    """
    from dataclasses import asdict

    from frontier_core.jsonl import dumps
    from frontier_ops.comparison import scores_by_step
    from trainer.retention import prune

    done = prune(
        Path(run),
        keep_last=keep_last,
        keep_best=keep_best,
        keep_daily=None if keep_daily < 0 else keep_daily,
        scores=scores_by_step(evaluation),
        dry_run=dry_run,
    )
    verb = "would remove" if dry_run else "removed"
    console.note(f"{run}: {verb} {len(done.removed)}, kept {len(done.kept)}, {done.freed_bytes / 1e6:.1f} MB")
    if json:
        console.emit(dumps(asdict(done)).decode())
        return 0
    for name in (*done.removed, *done.snapshots_removed):
        console.emit(name)
    return 0
