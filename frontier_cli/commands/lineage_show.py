"""frontier lineage show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lineage show out/round2/run
frontier lineage show train.jsonl --json"""


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a file or folder that a frontier command wrote")],
    rehash: Annotated[
        bool, typer.Option("--rehash", help="read every byte, instead of trusting unchanged size, times and inode")
    ] = False,
    json: options.Json = False,
) -> int:
    """Show what a file was made from: the chain of sidecars back to the seeds.

    Each line: status (ok, source; changed, swapped, edited, orphan, missing), digest, path, what made it. Exit 1 when a
    link does not hold.
    """
    from frontier_core.jsonl import dumps
    from frontier_core.lineage import chain

    holds = True
    for link in chain(Path(file), rehash=rehash):
        holds = holds and link.holds
        meta = link.meta or {}
        if json:
            entry = {"path": str(link.path), "depth": link.depth, "status": link.status, "meta": link.meta}
            console.emit(dumps(entry).decode())
            continue
        digest = meta.get("data", {}).get("sha256", "")[:12] or "-" * 12
        made = meta.get("stage", "")
        made += f" seed {meta['seed']}" if meta.get("seed") is not None else ""
        made += f" by {meta['producer']}" if meta.get("producer") else ""
        console.emit(f"{link.status:8}{digest}  {'  ' * link.depth}{link.path}  {made}".rstrip())
    return 0 if holds else 1
