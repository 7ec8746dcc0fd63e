"""frontier serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console

EXAMPLES = """\
frontier serve release
frontier serve release --release current --port 8765 --request-log requests.jsonl"""


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="what frontier deploy --to was given")] = "release",
    release: Annotated[
        str, typer.Option("--release", metavar="ID", help="current, or an id's first digits")
    ] = "current",
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="P", help="0 picks a free one")] = 8765,
    ready_file: Annotated[
        str, typer.Option("--ready-file", metavar="FILE", help="gets the URL once the first question can be answered")
    ] = "",
    request_log: Annotated[
        str, typer.Option("--request-log", metavar="FILE", help="a line per request, without any text")
    ] = "",
) -> int:
    """Answer /v1/chat/completions (whole or streamed) with a deployed release, as OpenAI's clients expect it.

    Ends on SIGINT or SIGTERM, after answering what is being answered. There is no key check: keep it to loopback.
    """
    from frontier_core.atomic import write_bytes
    from frontier_ops.serve import ServerInfo, serve

    def ready(info: ServerInfo) -> None:
        console.note(f"serving {info.model} on {info.url}")
        if ready_file:
            write_bytes(Path(ready_file), f"{info.url}\n".encode())

    try:
        serve(
            Path(target),
            release=release,
            host=host,
            port=port,
            on_ready=ready,
            request_log=Path(request_log) if request_log else None,
            on_note=console.note,
        )
    finally:
        if ready_file:
            Path(ready_file).unlink(missing_ok=True)
    return 0
