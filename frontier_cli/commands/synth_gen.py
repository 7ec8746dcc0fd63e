"""frontier synth gen."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier synth gen -n 300 --seed 7 -o candidates.jsonl
frontier synth gen -n 50 --skill shell_git --level 1 | frontier synth verify"""


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
    output: options.OutputPath = "-",
    dry_run: options.DryRun = False,
) -> int:
    """Generate candidate records from domains, skills and a policy.

    A record is a pure function of generator, version, seed, index and level, all in its metadata. Problems are split
    by content: what --split eval makes, --split train never does.
    """
    from frontier_core.domains import choose_domains, load_domains
    from frontier_core.errors import UsageError
    from frontier_ops import stage_generate
    from frontier_ops.stage_files import Target

    if split not in ("train", "eval"):
        raise UsageError(f"--split: {split!r} is neither train nor eval")
    chosen = choose_domains(load_domains(domains or None), options.split_names(skill))
    requests = stage_generate.choose_requests(chosen, num, levels=level, policy=policy)
    if dry_run:
        for request in requests:
            console.emit(f"{request.count:6} {request.domain.skill} level {request.level}")
        return 0
    with console.Progress("generate", num) as progress:
        stage_generate.gen(
            requests,
            Target(output=output, pipe=console.data_stream()),
            seed=seed,
            split="eval" if split == "eval" else "train",
            allow_duplicates=allow_duplicates,
            policy=policy,
            on_progress=progress.update,
        )
    return 0
