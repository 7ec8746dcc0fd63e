"""frontier ask."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier ask "What is 7 + 5?"
frontier ask "What is 7 + 5?" --url http://127.0.0.1:8765
INFERENCE_API_KEY=$(cat key) frontier ask "What is 7 + 5?" --url http://gpu1:8765"""


def command(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="the user turn")],
    url: Annotated[str, typer.Option("--url", metavar="URL", help="the server")] = "http://127.0.0.1:8765",
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="SEC", help="let a server that starts get ready")] = 0,
    key_env: options.KeyEnv = "INFERENCE_API_KEY",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, metavar="SEC", help="how long to wait")] = 60.0,
) -> int:
    """Ask a served model one question over HTTP and print its answer."""
    import os

    from frontier_ops.ask import ask, wait_until_ready

    if wait:
        wait_until_ready(url, timeout_s=wait)
    console.emit(ask(url, question, timeout_s=timeout, api_key=os.environ.get(key_env, "")))
    return 0
