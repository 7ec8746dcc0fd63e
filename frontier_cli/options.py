"""Options that several commands share, each written once: same flag, same meaning, same help everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Input = Annotated[str, typer.Argument(metavar="[IN]", help="records to read; - is standard input")]
OutputPath = Annotated[
    str,
    typer.Option("-o", "--output", metavar="FILE", help="where to write; - is standard output, .gz and .zst compress"),
]
Rejects = Annotated[
    str,
    typer.Option("--rejects", metavar="FILE", help="where rejected lines go [OUT.rejects.jsonl beside a file output]"),
]
MaxRejects = Annotated[
    str, typer.Option("--max-rejects", metavar="N|P%", help="exit 1 only when more lines than this are rejected [0]")
]
Seed = Annotated[int, typer.Option("--seed", metavar="S", help="seed of every random draw; same seed, same bytes")]
Num = Annotated[int, typer.Option("-n", "--num", min=1, metavar="N", help="how many")]
Json = Annotated[bool, typer.Option("--json", help="machine-readable result on standard output")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done, touch nothing")]
Force = Annotated[bool, typer.Option("--force", help="go on where a question would be asked")]
Domains = Annotated[
    str, typer.Option("--domains", metavar="FILE", help="domains and skills [./domains.yaml, else the one that ships]")
]
Skills = Annotated[
    list[str],
    typer.Option("--skill", metavar="NAME", help="only this skill or domain (repeat, or a,b); shell = all shell"),
]
Levels = Annotated[list[int], typer.Option("--level", metavar="L", help="only this level (repeat)")]
Profile = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="answer profile: emoji_think, regime3 or plain")
]
SandboxName = Annotated[str, typer.Option("--sandbox", metavar="NAME", help="auto, docker-ns, docker-run, native-ns")]
Workers = Annotated[int, typer.Option("--workers", min=0, metavar="N", help="candidates at a time [number of cores]")]


def split_names(values: list[str]) -> list[str]:
    """Gives the names of a repeated option that also takes commas: ["a,b", "c"] -> ["a", "b", "c"]."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
