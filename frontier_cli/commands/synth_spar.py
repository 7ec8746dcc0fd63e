"""frontier synth spar."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import asks, console, options

EXAMPLES = """\
frontier synth spar run --domains config/loop-domains.yaml -n 300 -o sparring.jsonl
frontier synth spar run --skill binary -n 200 --to preference -o pairs.jsonl"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="run, checkpoint, model folder, openai:NAME@URL or a server's URL")
    ],
    num: Annotated[int, typer.Option("-n", "--num", min=1, metavar="N", help="problems in all")] = 100,
    domains: options.Domains = "",
    skill: options.Skills = [],  # noqa: B006 (Typer copies it)
    level: options.Levels = [],  # noqa: B006
    policy: asks.Policy = "",
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="sparring or preference")] = "sparring",
    seed: options.Seed = 0,
    profile: options.Profile = "emoji_think",
    sandbox: options.SandboxName = "auto",
    concurrency: asks.Concurrency = 16,
    key_env: asks.KeyEnv = "",
    output: options.OutputPath = "-",
    json: options.Json = False,
) -> int:
    """Let a model answer problems and write its mistakes as records to train on.

    Each wrong answer, judged by the verifiers, becomes three sparring records (it is incorrect; the right answer; a
    fresh right answer that is correct) for method sparring, or one preference pair for method dpo. They are about this
    checkpoint only: train on them soon. A run that broke off goes on with the same command.
    """
    from frontier_core.domains import choose_domains, load_domains
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_core.nearest import did_you_mean
    from frontier_core.profiles import profile_named
    from frontier_ops import answering
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_generate import choose_requests
    from frontier_ops.stage_spar import Bout, spar

    if to not in ("sparring", "preference"):
        raise UsageError(f"--to: unknown form {to!r}", hint=did_you_mean(to, ("sparring", "preference")))
    if json and output == "-":
        raise UsageError("--json and the records both want standard output", hint="give the records a file: -o FILE")
    chosen = choose_domains(load_domains(domains or None), options.split_names(skill))
    bout = Bout(
        model=answering.identify(model, on_note=console.note, key_env=key_env, concurrency=concurrency),
        requests=choose_requests(chosen, num, levels=level, policy=policy),
        seed=seed,
        form="sparring" if to == "sparring" else "preference",
        profile=profile_named(profile),
        sandbox=sandbox,
    )
    target = Target(output=output, pipe=console.data_stream())
    with console.Progress("spar", num) as progress:
        result = spar(bout, target, on_note=console.note, on_progress=progress.update)
    found = result.report
    reasons = ", ".join(f"{count} {code}" for code, count in found["mistakes"].items())
    console.note(f"{found['num_mistakes']} of {result.num_in} answers wrong{f' ({reasons})' if reasons else ''}")
    console.note(f"wrote {result.num_out} {to} records")
    if json:
        console.emit(dumps({"num_problems": result.num_in, "num_records": result.num_out, **found}).decode())
    return 0
