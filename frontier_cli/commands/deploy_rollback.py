"""frontier deploy rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options, targets

EXAMPLES = """\
frontier deploy rollback release
frontier deploy rollback inference --release 0123456789ab"""


def command(
    target: targets.Target,
    release: Annotated[
        str, typer.Option("--release", metavar="ID", help="go to this one [the one before the present one]")
    ] = "",
    force: options.Force = False,
    json: options.Json = False,
) -> int:
    """Make an older release current again, after reading every byte of it.

    A server that still has it loaded switches at once.
    """
    from dataclasses import asdict

    from frontier_core.jsonl import dumps

    done = targets.roll_back(target, release, force=force)
    verb = "went back to" if done.changed else "already serves"
    console.note(f"{target}: {verb} {done.name}@{done.release}")
    if json:
        console.emit(dumps(asdict(done)).decode())
    return 0
