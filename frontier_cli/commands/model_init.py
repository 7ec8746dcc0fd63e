"""frontier model init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier model init --preset tiny -o model
frontier model init --preset small --corpus train.jsonl --seed 1 -o model"""


def command(
    output: Annotated[str, typer.Option("-o", "--output", metavar="DIR", help="the model folder to make")],
    preset: Annotated[str, typer.Option("--preset", metavar="NAME", help="tiny or small")] = "tiny",
    corpus: Annotated[
        list[str], typer.Option("--corpus", metavar="FILE", help="records to train the tokenizer on (repeat)")
    ] = [],  # noqa: B006 (Typer copies it)
    domains: options.Domains = "",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> int:
    """Make a small model of the Qwen3 architecture and a tokenizer, to train from scratch.

    The result is an ordinary transformers folder. Without --corpus the tokenizer learns from generated records.
    """
    from frontier_core.domains import load_domains
    from frontier_core.jsonl import dumps
    from frontier_ops.bootstrap import init_model

    known = load_domains(domains or None)
    about, is_old = init_model(Path(output), preset=preset, domains=known, corpus=corpus, seed=seed)
    console.note(
        f"{'up to date: ' if is_old else ''}{output}: " + ", ".join(f"{key} {value}" for key, value in about.items())
    )
    if json:
        console.emit(dumps(about).decode())
    return 0
