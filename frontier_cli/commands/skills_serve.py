"""frontier skills serve."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier skills serve --skill binary --port 8090
frontier skills serve --skill shell_git --sandbox native-ns --ready-file skill.url"""


def command(
    skill: Annotated[str, typer.Option("--skill", metavar="NAME", help="the one skill it serves")],
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="P", help="0 picks a free one")] = 8090,
    token: options.Token = "",
    sandbox: options.SandboxName = "auto",
    ready_file: options.ReadyFile = "",
) -> int:
    """Answer /health /info /levels /generate /eval for one skill, so that its data can come from another host.

    The same request gives the same bytes as `synth gen` with that skill, level and seed. Ends on SIGINT or SIGTERM.
    """
    from frontier_ops.skill_service import SkillService
    from frontier_ops.web import serve_app
    from validators.sandbox.backend import open_sandbox

    service = SkillService(skill, lambda: open_sandbox(sandbox))
    try:
        serve_app(service.app(), host=host, port=port, token=token, on_ready=console.ready(ready_file, skill))
    finally:
        service.close()
        console.unready(ready_file)
    return 0
