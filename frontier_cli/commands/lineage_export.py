"""frontier lineage export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console
from frontier_core.errors import ConfigError

EXAMPLES = """\
frontier lineage export train.jsonl --to openlineage -o events.jsonl
frontier lineage export train.jsonl --to croissant --url https://example.org/train.jsonl -o croissant.json"""
FORMS = ("openlineage", "croissant")


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a file that a frontier command wrote")],
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="openlineage or croissant")] = "openlineage",
    namespace: Annotated[
        str, typer.Option("--namespace", metavar="NAME", help="openlineage: namespace of jobs and datasets")
    ] = "frontier",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="croissant: the dataset's name [the file's]")
    ] = "",
    url: Annotated[str, typer.Option("--url", metavar="URL", help="croissant: where the file can be fetched")] = "",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="where to write; - is standard output")
    ] = "-",
) -> int:
    """Write a file's lineage for other tools: OpenLineage run events, or a Croissant description.

    OpenLineage gives one event a line for every file in the chain, oldest first, ready for an HTTP transport.
    """
    from frontier_core.atomic import write_bytes
    from frontier_core.jsonl import dumps
    from frontier_core.nearest import did_you_mean
    from frontier_ops.lineage_export import croissant, openlineage

    if to not in FORMS:
        raise ConfigError(f"unknown form {to!r}", hint=did_you_mean(to, FORMS))
    if to == "croissant":
        texts = [dumps(croissant(Path(file), name=name, url=url))]
    else:
        texts = [dumps(event) for event in openlineage(Path(file), namespace=namespace)]
    data = b"\n".join(texts)
    if output == "-":
        console.emit(data.decode())
    else:
        write_bytes(Path(output), data + b"\n")
    return 0
