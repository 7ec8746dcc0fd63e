"""frontier deploy prune."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options, targets

EXAMPLES = """\
frontier deploy prune release --keep 3 --dry-run
frontier deploy prune inference --keep 3"""


def command(
    target: targets.Target,
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="keep the newest N")] = 3,
    dry_run: options.DryRun = False,
    force: options.Force = False,
    json: options.Json = False,
) -> int:
    """Remove old releases and content nothing refers to; the current one and the one before it stay."""
    from dataclasses import asdict

    from frontier_core.jsonl import dumps

    done = targets.prune(target, keep, dry_run=dry_run, force=force)
    verb = "would remove" if dry_run else "removed"
    console.note(
        f"{target}: {verb} {len(done.removed)} releases, kept {len(done.kept)}, {done.freed_bytes / 1e6:.1f} MB"
    )
    if json:
        console.emit(dumps(asdict(done)).decode())
    return 0
