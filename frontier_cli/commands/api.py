"""frontier api."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier api --port 8081
frontier api --host 0.0.0.0 --token "$(cat token)" --home /srv/loop"""


def command(
    home: jobs.Home = "",
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="P", help="0 picks a free one")] = 8081,
    token: options.Token = "",
    ready_file: options.ReadyFile = "",
) -> int:
    """Answer what the loop does over HTTP: /api/NAME, /metrics, the vault's assets, ledger and jobs.

    Views are plug-ins (entry points `frontier.monitor_views`); the API's own document is at /openapi.json.
    """
    from pathlib import Path

    from frontier_ops.monitor.api import monitor_api
    from frontier_ops.web import serve_app

    app = monitor_api(Path(home or ".").resolve())
    try:
        serve_app(app, host=host, port=port, token=token, on_ready=console.ready(ready_file, "monitor"))
    finally:
        console.unready(ready_file)
    return 0
