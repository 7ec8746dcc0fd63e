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
OpenapiFile = Annotated[
    str, typer.Option("--openapi", metavar="FILE", help="tool traces over the API this OpenAPI 3 document describes")
]
TriplesFile = Annotated[
    str, typer.Option("--triples", metavar="FILE", help="questions over the graph of these triples (CSV, JSON, RDF)")
]
PhrasesFile = Annotated[
    str, typer.Option("--phrases", metavar="FILE", help="how relations of --triples are said (YAML)")
]
Profile = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="answer profile: emoji_think, regime3 or plain")
]
SandboxName = Annotated[str, typer.Option("--sandbox", metavar="NAME", help="auto, docker-ns, docker-run, native-ns")]
Workers = Annotated[int, typer.Option("--workers", min=0, metavar="N", help="candidates at a time [number of cores]")]
Runtime = Annotated[
    str, typer.Option("--runtime", metavar="NAME", help="container runtime for docker-run: runsc, kata, ...")
]
Verdicts = Annotated[
    str, typer.Option("--verdicts", metavar="FILE", help="write each line's whole verdict here (verdict_v1)")
]
Cache = Annotated[str, typer.Option("--cache", metavar="FILE", help="remember verdicts here, for this run and others")]
AllowUnverified = Annotated[
    bool, typer.Option("--allow-unverified", help="leave out what the sandbox can't judge instead of exiting 3")
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SEC", help="wall-clock limit of a plan")]
Memory = Annotated[int, typer.Option("--memory", metavar="MIB", help="memory limit")]
Pids = Annotated[int, typer.Option("--pids", metavar="N", help="process limit")]
Disk = Annotated[int, typer.Option("--disk", metavar="MIB", help="disk limit")]
OutputLimit = Annotated[int, typer.Option("--output-limit", metavar="KIB", help="output limit")]
Repeat = Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="run each plan N times; all must end alike")]
FixturePacks = Annotated[
    str, typer.Option("--domains", metavar="FILE", help="fixture packs [./domains.yaml, else the one that ships]")
]
AutoFixtures = Annotated[
    bool, typer.Option("--auto-fixtures", help="make a world from the plan's own paths for records without one")
]
NoRules = Annotated[list[str], typer.Option("--no-rule", metavar="NAME", help="switch a rule off (repeat, or a,b)")]
WarnRules = Annotated[
    list[str], typer.Option("--warn-rule", metavar="NAME", help="let a rule only warn (repeat, or a,b)")
]
Engine = Annotated[str, typer.Option("--engine", metavar="NAME", help="where plans run: local, or ray")]
RayAddress = Annotated[
    str, typer.Option("--ray-address", metavar="ADDR", help="a Ray cluster [RAY_ADDRESS, else one made here]")
]
DataEngine = Annotated[str, typer.Option("--engine", metavar="NAME", help="where it is done: local, or ray")]
KeyEnv = Annotated[str, typer.Option("--key-env", metavar="NAME", help="variable with the key the server wants")]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="address to listen on")]
Token = Annotated[str, typer.Option("--token", metavar="TEXT", help="what clients must show; needed off loopback")]
ReadyFile = Annotated[str, typer.Option("--ready-file", metavar="FILE", help="gets the URL once connections are taken")]

LakePath = Annotated[str, typer.Option("--lake", metavar="DIR", help="the lake's folder; DIR@N reads an earlier state")]
WhereFilter = Annotated[
    str,
    typer.Option("--where", metavar="FILTER", help="only records that pass, like 'skill=binary AND level>=3'"),
]


def split_names(values: list[str]) -> list[str]:
    """Gives the names of a repeated option that also takes commas: ["a,b", "c"] -> ["a", "b", "c"]."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
