"""frontier reweight plot."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console

EXAMPLES = """\
frontier reweight plot out/round1/policy.jsonl out/round2/policy.jsonl -o policy.html
frontier reweight plot policy.jsonl -o policy.png"""


def command(
    policies: Annotated[list[str], typer.Argument(metavar="POLICIES...", help="policy files, one a round")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="FILE.html or FILE.png")],
) -> int:
    """Draw each cell's weight by round, with prior, floor and cap, and the newest reason beside it.

    HTML is one page without scripts; PNG needs matplotlib.
    """
    from pathlib import Path

    from curriculum.plot import html_page, png
    from frontier_core.allocation import read_policy
    from frontier_core.atomic import write_bytes
    from frontier_core.errors import UsageError

    path = Path(output)
    if path.suffix not in (".html", ".png"):
        raise UsageError(f"{output}: is neither .html nor .png")
    lines = [read_policy(policy) for policy in policies]
    if path.suffix == ".html":
        write_bytes(path, html_page(lines).encode())
    else:
        png(lines, path)
    console.note(f"wrote {output}")
    return 0
