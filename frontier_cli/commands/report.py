"""frontier report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console

EXAMPLES = """\
frontier report out -o out/report.html
frontier report out"""


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="the loop's folder, with round0, round1, ...")] = "out",
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="write the page here")] = "",
) -> int:
    """Print the loop's table; with -o write the report page too, one self-contained HTML file.

    The page shows accuracy per skill by round with intervals, weights with their reasons, failures, and lineage.
    """
    from frontier_core.atomic import write_bytes
    from frontier_ops.report import align, collect, summary_rows

    summary = collect(Path(folder), on_note=console.note)
    for line in align(summary_rows(summary)):
        console.emit(line)
    if output:
        from frontier_ops.report import render_html

        write_bytes(Path(output), render_html(summary).encode())
        console.note(f"report: {output}")
    return 0
