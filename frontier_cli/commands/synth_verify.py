"""frontier synth verify."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier synth verify candidates.jsonl -o verified.jsonl
frontier synth gen -n 300 --seed 7 | frontier synth verify --rejects rejects.jsonl > verified.jsonl"""


def command(
    source: options.Input = "-",
    output: options.OutputPath = "-",
    rejects: options.Rejects = "",
    max_rejects: options.MaxRejects = "0",
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="leave out what the sandbox can't judge instead of exiting 3")
    ] = False,
    sandbox: options.SandboxName = "auto",
    workers: options.Workers = 0,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="SEC", help="wall-clock limit of a plan")
    ] = 10.0,
    memory: Annotated[int, typer.Option("--memory", min=16, metavar="MIB", help="memory limit")] = 512,
    pids: Annotated[int, typer.Option("--pids", min=4, metavar="N", help="process limit")] = 128,
    disk: Annotated[int, typer.Option("--disk", min=1, metavar="MIB", help="disk limit")] = 64,
    output_limit: Annotated[int, typer.Option("--output-limit", min=1, metavar="KIB", help="output limit")] = 1024,
) -> int:
    """Run each plan in a disposable sandbox and recompute each skill answer; keep what holds.

    Docker where a daemon answers, else unprivileged Linux namespaces; which one is said on stderr and in the sidecar.
    """
    from frontier_cli.verdicts import Complaints, allowed_rejects, finish
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_verify import verify
    from validators.sandbox.contract import Limits

    allowed_rejects(max_rejects, 0)  # a typo is said before the work, not after
    limits = Limits(
        timeout_s=timeout,
        memory_bytes=memory << 20,
        max_processes=pids,
        disk_bytes=disk << 20,
        output_bytes=output_limit << 10,
    )
    target = Target(output=output, rejects=rejects, pipe=console.data_stream())
    with console.Progress("verify") as progress:
        result = verify(
            console.input_source(source),
            target,
            sandbox=sandbox,
            limits=limits,
            workers=workers or os.cpu_count() or 1,
            on_note=console.note,
            on_reject=Complaints(),
            on_progress=progress.update,
        )
    code = finish("verified", result, max_rejects, kept_in=str(target.rejects_path or ""))
    return 3 if result.unverified and not allow_unverified and code == 0 else code
