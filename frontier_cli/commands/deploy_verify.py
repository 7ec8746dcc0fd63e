"""frontier deploy verify."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options, targets

EXAMPLES = """\
frontier deploy verify release
frontier deploy verify inference --release 0123456789ab"""


def command(
    target: targets.Target,
    release: Annotated[str, typer.Option("--release", metavar="ID", help="current, or an id")] = "current",
    json: options.Json = False,
) -> int:
    """Read every byte of a release again, where it lies, and compare it with the manifest; exit 1 when one differs."""
    from dataclasses import asdict

    from frontier_core.jsonl import dumps

    report = targets.verify(target, release)
    if json:
        console.emit(dumps(asdict(report) | {"ok": report.ok}).decode())
    else:
        for problem in report.problems:
            console.emit(problem)
    state = "whole" if report.ok else f"damaged: {report.problems[0]}"
    console.note(f"{target}: {report.release}, {report.num_bytes / 1e6:.1f} MB, is {state}")
    return 0 if report.ok else 1
