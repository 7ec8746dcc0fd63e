"""frontier deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier deploy run --to release
frontier deploy run/checkpoint-400 --to release --name tutor --dry-run"""


def command(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="run, checkpoint or model folder")],
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help="a local folder")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="the model's name for clients")] = "model",
    dry_run: options.DryRun = False,
    force: options.Force = False,
    json: options.Json = False,
) -> int:
    """Put a checkpoint into service: blobs by sha256, a manifest last, `current` swapped in one rename.

    The same content twice changes nothing. An interrupted deploy leaves the old release or the new one.
    """
    from dataclasses import asdict

    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_ops.deploy import deploy

    if ":" in to.split("/", 1)[0]:
        raise UsageError(f"--to {to}: only local folders for now", hint="write ./ before an odd folder name")
    result = deploy(Path(checkpoint), Path(to), name=name, dry_run=dry_run, force=force, on_note=console.note)
    done = "would put" if dry_run else "put" if result.changed else "already has"
    copied = f"{result.copied_bytes / 1e6:.1f} of {result.num_bytes / 1e6:.1f} MB copied"
    console.note(f"{to}: {done} {result.name}@{result.release} in service, {copied}")
    if json:
        console.emit(dumps(asdict(result)).decode())
    return 0
