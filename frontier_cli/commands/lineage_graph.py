"""frontier lineage graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console

EXAMPLES = """\
frontier lineage graph train.jsonl
frontier lineage graph out/round2/run --to html -o lineage.html"""


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="files or folders that frontier wrote")],
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORM", help="text, dot, mermaid, svg or html [told by FILE's suffix, else text]"),
    ] = "",
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="where to write; - is standard output")
    ] = "-",
) -> int:
    """Draw what files were made from, all of them in one graph, with what does not hold marked.

    text is a tree from the last file down to its sources; svg and html stand alone, in any browser.
    """
    from frontier_core.atomic import write_bytes
    from frontier_ops.lineage_graph import draw, form_named, graph_of

    suffixes = {".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".svg": "svg", ".html": "html"}
    form = form_named(to or suffixes.get(Path(output).suffix, "text"))
    text = draw(graph_of([Path(file) for file in files]), form, f"Lineage of {', '.join(files)}")
    if output == "-":
        console.emit(text)
    else:
        write_bytes(Path(output), text.encode() + b"\n")
    return 0
