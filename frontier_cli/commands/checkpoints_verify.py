"""frontier checkpoints verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier checkpoints verify run
frontier checkpoints verify run/checkpoint-400"""


def command(
    place: Annotated[str, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="a run's folder, or one checkpoint")],
    json: options.Json = False,
) -> int:
    """Read every byte of a run's checkpoints again and compare it with their manifests.

    Exit 1 when one of them is torn or changed; resuming passes over those.
    """
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from trainer.checkpoints import damage, folders, step_of

    folder = Path(place)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="name a run or a checkpoint")
    named = [folder] if step_of(folder) >= 0 else folders(folder)
    if not named:
        raise UsageError(f"{folder}: holds no checkpoint", hint="name the folder given to: frontier train -o")
    num_bad = 0
    for checkpoint in named:
        problem = damage(checkpoint)
        num_bad += bool(problem)
        if json:
            console.emit(dumps({"checkpoint": str(checkpoint), "is_whole": not problem, "problem": problem}).decode())
        else:
            console.emit(f"{checkpoint}: {problem or 'whole'}")
    return 1 if num_bad else 0
