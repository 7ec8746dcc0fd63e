"""frontier doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier doctor
frontier doctor --run run --json
frontier doctor --target release --url http://127.0.0.1:8765 --deep"""


def command(
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="judge this run: quality, effort, experience")] = "",
    target: Annotated[str, typer.Option("--target", metavar="DIR", help="also look at this deploy target")] = "",
    url: Annotated[str, typer.Option("--url", metavar="URL", help="also ask this server")] = "",
    key_env: options.KeyEnv = "INFERENCE_API_KEY",
    data: Annotated[list[str], typer.Option("--data", metavar="FILE", help="also look at this data (repeat)")] = [],  # noqa: B006 (Typer copies it)
    group: Annotated[
        list[str], typer.Option("--group", metavar="NAME", help="only this group (repeat, or a,b); deep is one")
    ] = [],  # noqa: B006
    hosts: Annotated[str, typer.Option("--hosts", metavar="FILE", help="[config/hosts.json]")] = "",
    home: Annotated[str, typer.Option("--home", metavar="DIR", help="folder of the queue of jobs [.]")] = "",
    floor: Annotated[
        float, typer.Option("--floor", metavar="LOSS", help="loss without strain; -1 is the run's lowest")
    ] = -1.0,
    deep: Annotated[bool, typer.Option("--deep", help="read every byte and load the model too")] = False,
    json: options.Json = False,
) -> int:
    """Look at machine, services, processes, models, inference, skills, jobs and data, and say what to do.

    With --run the findings become the run's verdict: quality_factor (0, or 0.3 to 1), effort (the sum of loss above
    the floor) and experience (their product). Exit 1 when a check fails.
    """
    import os

    from frontier_core.jsonl import dumps
    from frontier_ops.doctor import Scope, examine
    from frontier_ops.doctor_run import run_verdict

    scope = Scope(
        run=Path(run) if run else None,
        target=Path(target) if target else None,
        url=url,
        api_key=os.environ.get(key_env, ""),
        data=data,
        hosts=Path(hosts) if hosts else None,
        home=Path(home),
    )
    groups = options.split_names(group)
    if run:
        run_verdict(scope.run or Path())  # a wrong folder is said before the long checks
    checks = list(examine(scope, groups, deep=deep))
    has_failed = any(check.status == "fail" for check in checks)
    for check in checks:
        if json and not run:
            console.emit(dumps(check.to_record()).decode())
        elif not json:
            remedy = f"  ({check.remedy})" if check.remedy and check.status != "ok" else ""
            console.emit(f"{check.status:5}{check.group:9} {check.id:18} {check.details}{remedy}")
    if not run:
        return 1 if has_failed else 0
    counted = [check for check in checks if check.status != "skip"]
    verdict = run_verdict(Path(run), floor=None if floor < 0 else floor, more=counted)
    if json:
        console.emit(dumps(verdict.to_record()).decode())
    else:
        for check in verdict.checks:
            if check not in counted:
                remedy = f"  ({check.remedy})" if check.remedy else ""
                console.emit(f"{check.status:5}{check.group:9} {check.id:18} {check.details}{remedy}")
        words = f"quality {verdict.quality_factor:g} x effort {verdict.effort:g} = experience {verdict.experience:g}"
        console.emit(f"{run}: {verdict.verdict}, {words}")
    return 1 if verdict.quality_factor == 0 or has_failed else 0
