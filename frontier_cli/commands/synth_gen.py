"""frontier synth gen."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier synth gen -n 300 --seed 7 -o candidates.jsonl
frontier synth gen -n 50 --skill shell_git --level 1 | frontier synth verify
frontier synth gen -n 200 --openapi petstore.yaml | frontier synth verify
frontier synth gen -n 200 --triples facts.csv -o questions.jsonl"""


def command(
    domains: options.Domains = "",
    num: options.Num = 100,
    seed: options.Seed = 0,
    skill: options.Skills = [],  # noqa: B006 (Typer copies it)
    level: options.Levels = [],  # noqa: B006
    policy: Annotated[
        str, typer.Option("--policy", metavar="FILE", help="shift counts and levels by this policy")
    ] = "",
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="train, or eval for held-out problems")
    ] = "train",
    allow_duplicates: Annotated[bool, typer.Option("--allow-duplicates", help="let problems repeat")] = False,
    check: Annotated[
        str,
        typer.Option("--check", metavar="WHICH", help="answers to compute again: all, some (one in 32), none [some]"),
    ] = "some",
    workers: Annotated[
        int, typer.Option("--workers", min=1, metavar="N", help="processes [1]; the same bytes for any number")
    ] = 1,
    engine: options.DataEngine = "local",
    ray_address: options.RayAddress = "",
    shard: Annotated[
        str,
        typer.Option("--shard", metavar="I/N", help="only the I-th of N blocks; `cat` of all N is the whole run"),
    ] = "1/1",
    openapi: options.OpenapiFile = "",
    triples: options.TriplesFile = "",
    phrases: options.PhrasesFile = "",
    output: options.OutputPath = "-",
    dry_run: options.DryRun = False,
) -> int:
    """Generate candidate records from domains, skills and a policy.

    A record is a pure function of generator, version, seed, index and level, all in its metadata. Problems are split
    by content: what --split eval makes, --split train never does. A shard draws what lies before its block too, to
    know which problems are taken, but makes no lines of it. With --openapi or --triples records are made from that
    file alone, unless --domains is given too.
    """
    from frontier_core.errors import UsageError
    from frontier_ops import stage_generate
    from frontier_ops.spread import open_spread
    from frontier_ops.stage_files import Target
    from generators import synth
    from generators.synth import CHECK_EVERY, Plan

    if split not in ("train", "eval"):
        raise UsageError(f"--split: {split!r} is neither train nor eval")
    every = {"all": 1, "some": CHECK_EVERY, "none": 0}
    if check not in every:
        raise UsageError(f"--check: {check!r} is none of {', '.join(every)}")
    bound = stage_generate.bind(openapi=openapi, triples=triples, phrases=phrases)
    for text in bound.notes:
        console.note(text)
    names = options.split_names(skill)
    chosen = list(bound.domains)
    if not chosen or domains or names:
        chosen += stage_generate.choose_domains(domains, names)
    requests = stage_generate.choose_requests(chosen, num, levels=level, policy=policy)
    if dry_run:
        synth.check_capacity(
            requests,
            split="eval" if split == "eval" else "train",
            allow_duplicates=allow_duplicates,
            source=bound.source,
        )
        for request in requests:
            console.emit(f"{request.count:6} {request.domain.skill} level {request.level}")
        return 0
    plan = Plan(
        requests=requests,
        seed=seed,
        split="eval" if split == "eval" else "train",
        allow_duplicates=allow_duplicates,
        shard=_shard(shard),
        check_every=every[check],
        source=bound.source,
    )
    first, end = plan.block()
    num_workers = _sensible(workers)
    spread_over = open_spread(engine, workers=num_workers if workers > 1 else 0, address=ray_address)
    with spread_over as spread, console.Progress("generate", end - first) as progress:
        result = stage_generate.gen(
            plan,
            Target(output=output, pipe=console.data_stream()),
            num_workers=num_workers,
            spread=spread,
            policy=policy,
            files=bound.files,
            on_progress=progress.update,
        )
    if result.report.get("up_to_date"):
        console.note(f"up to date: {result.num_out} records")
    return 0


def _sensible(workers: int) -> int:
    """More processes than a few a core only wait for each other, and too many end the machine."""
    import os

    most = max(8, 4 * (os.cpu_count() or 1))
    if workers > most:
        console.note(f"--workers {workers}: more than {most} don't help on this machine; using {most}")
    return min(workers, most)


def _shard(text: str) -> tuple[int, int]:
    """Reads `2/8` as (2, 8)."""
    from frontier_core.errors import UsageError

    number, _, total = text.partition("/")
    if number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total):
        return int(number), int(total)
    raise UsageError(f"--shard: {text!r} is not I/N with I from 1 to N", hint="the second of eight: --shard 2/8")
