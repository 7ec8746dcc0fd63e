"""frontier sandbox check."""

from __future__ import annotations

import typing

from frontier_cli import console, options

if typing.TYPE_CHECKING:
    from frontier_ops.sandboxes import Report
    from validators.sandbox.probes import Answer

EXAMPLES = """\
frontier sandbox check
frontier sandbox check --sandbox docker-run --runtime runsc --json"""


def command(
    sandbox: options.SandboxName = "auto",
    runtime: options.Runtime = "",
    json: options.Json = False,
) -> int:
    """Try on each sandbox of this machine what a plan must not be able to do, and say what came of it.

    Exit 0 when the named sandbox works (auto: any), 3 when none does. One JSON line per sandbox with --json.
    """
    from frontier_core.jsonl import dumps
    from frontier_ops.sandboxes import check_sandboxes

    current = ""

    def show(backend: str, answer: Answer) -> None:
        nonlocal current
        if json:
            return
        if backend != current:
            console.emit(f"{backend}:")
            current = backend
        console.emit(f"  {'' if answer.is_right else 'WRONG: '}{answer.question} {answer.answer}")

    reports = check_sandboxes(sandbox, runtime=runtime, on_note=console.note, on_answer=show)
    for report in reports:
        if json:
            console.emit(dumps(_line(report)).decode())
        elif report.works:
            console.emit(f"{report.backend} works")
        else:
            console.emit(f"{report.backend} does not work here: {report.problem}")
            if report.hint:
                console.emit(f"  hint: {report.hint}")
    return 0 if any(report.works for report in reports) else 3


def _line(report: Report) -> dict[str, typing.Any]:
    from validators.sandbox.probes import about

    return {
        "sandbox": report.backend,
        "works": report.works,
        "problem": report.problem,
        "hint": report.hint,
        "probes": [about(answer) for answer in report.answers],
        "about": report.about,
    }
