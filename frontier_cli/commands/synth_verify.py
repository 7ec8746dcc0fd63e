"""frontier synth verify."""

from __future__ import annotations

import os

from frontier_cli import console, options

EXAMPLES = """\
frontier synth verify candidates.jsonl -o verified.jsonl
frontier synth gen -n 300 --seed 7 | frontier synth verify --rejects rejects.jsonl > verified.jsonl"""


def command(
    source: options.Input = "-",
    output: options.OutputPath = "-",
    rejects: options.Rejects = "",
    max_rejects: options.MaxRejects = "0",
    allow_unverified: options.AllowUnverified = False,
    verdicts: options.Verdicts = "",
    cache: options.Cache = "",
    sandbox: options.SandboxName = "auto",
    runtime: options.Runtime = "",
    engine: options.Engine = "local",
    ray_address: options.RayAddress = "",
    workers: options.Workers = 0,
    timeout: options.Timeout = 10.0,
    memory: options.Memory = 512,
    pids: options.Pids = 128,
    disk: options.Disk = 64,
    output_limit: options.OutputLimit = 1024,
    repeat: options.Repeat = 1,
    no_rule: options.NoRules = [],  # noqa: B006 (Typer copies it)
    warn_rule: options.WarnRules = [],  # noqa: B006
    domains: options.FixturePacks = "",
    auto_fixtures: options.AutoFixtures = False,
    as_json: options.Json = False,
) -> int:
    """Run each plan in a disposable sandbox and recompute each skill answer; keep what holds.

    Docker where a daemon answers, else unprivileged Linux namespaces; which one is said on stderr and in the sidecar.

    Verdicts are kept in OUT.journal while a file output is made: after an interruption, whatever it was, the same
    command goes on where it stopped. --json writes the summary to standard output, when the records go to a file.
    Rules are listed in docs/records.md.
    """
    from frontier_cli import verdicts as ending
    from frontier_core.domains import load_domains
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import dumps
    from frontier_ops import stage_verify
    from frontier_ops.engines import Judging
    from frontier_ops.stage_files import Target
    from validators.fixtures import Fixtures
    from validators.heuristics import Rules
    from validators.sandbox.contract import Limits

    if ray_address and engine != "ray":
        raise UsageError("--ray-address is for --engine ray")

    ending.allowed_rejects(max_rejects, 0)  # a typo is said before the work, not after
    ending.refuse_mixed_output(as_json, output)
    limits = Limits(
        timeout_s=timeout,
        memory_bytes=memory << 20,
        max_processes=pids,
        disk_bytes=disk << 20,
        output_bytes=output_limit << 10,
    )
    fixtures = Fixtures.of_domains(load_domains(domains), is_auto=auto_fixtures)
    rules = Rules(off=frozenset(options.split_names(no_rule)), warn=frozenset(options.split_names(warn_rule)))
    judging = Judging(sandbox=sandbox, runtime=runtime, limits=limits, rules=rules, repeat=repeat, fixtures=fixtures)
    address = ray_address or os.environ.get("RAY_ADDRESS", "")
    target = Target(output=output, rejects=rejects, pipe=console.data_stream())
    journal = stage_verify.journal_path(target)
    with ending.resumable(journal), console.Progress("verify") as progress:
        progress.set_total(stage_verify.count_lines(source))
        result = stage_verify.verify(
            console.input_source(source),
            target,
            judging=judging,
            engines=stage_verify.Engines(name=engine, workers=workers or os.cpu_count() or 1, address=address),
            cache=cache,
            verdicts=verdicts,
            allow_unverified=allow_unverified,
            reuse=not (as_json or cache or verdicts),
            on_note=console.note,
            on_reject=ending.Complaints(),
            on_progress=ending.VerifyProgress(progress),
        )
    kept_in = str(target.rejects_path or "")
    if result.report.get("up_to_date"):
        return ending.finish("verified", result, max_rejects, kept_in=kept_in)
    for line in ending.summary_table(result.report):
        console.note(line)
    if as_json:
        console.emit(dumps(result.report).decode())
    code = ending.finish("verified", result, max_rejects, kept_in=kept_in, more=ending.work_words(result.report))
    if result.unverified and not allow_unverified:
        console.note(f"hint: mend the sandbox and verify again{ending.kept_words(journal)}; or --allow-unverified")
        return code or 3
    return code
