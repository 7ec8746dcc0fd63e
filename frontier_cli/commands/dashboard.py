"""frontier dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier dashboard
frontier dashboard --home /srv/loop --model-url http://127.0.0.1:8765
INFERENCE_API_KEY=$(cat key) frontier dashboard --model-url http://gpu1:8765"""


def command(
    home: jobs.Home = "",
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="P", help="0 picks a free one")] = 8888,
    token: options.Token = "",
    model_url: Annotated[
        str, typer.Option("--model-url", metavar="URL", help="where the deployed model answers")
    ] = "http://127.0.0.1:8765",
    key_env: options.KeyEnv = "INFERENCE_API_KEY",
    ready_file: options.ReadyFile = "",
) -> int:
    """Show the loop in a browser: state, accuracy and loss, weights with their reasons, queue, models, lineage.

    Read only. Over SSH: ssh -L 8888:127.0.0.1:8888 HOST, then open http://127.0.0.1:8888.
    """
    import os
    from pathlib import Path

    from frontier_ops.monitor.dashboard import dashboard
    from frontier_ops.web import serve_app

    app = dashboard(Path(home or ".").resolve(), model_url=model_url, model_key=os.environ.get(key_env, ""))
    try:
        serve_app(app, host=host, port=port, token=token, on_ready=console.ready(ready_file, "dashboard"))
    finally:
        console.unready(ready_file)
    return 0
