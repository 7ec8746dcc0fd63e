"""frontier hosts check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier hosts check
frontier hosts check --ssh --json"""


def command(
    hosts: Annotated[str, typer.Option("--hosts", metavar="FILE", help="[config/hosts.json]")] = "",
    ssh: Annotated[bool, typer.Option("--ssh", help="also log in to each host with ssh")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, metavar="SEC", help="for each try")] = 5.0,
    json: options.Json = False,
) -> int:
    """Say which hosts and services of config/hosts.json answer; exit 1 when one does not."""
    from frontier_core.jsonl import dumps
    from frontier_ops.hosts_check import check_hosts

    num_down = 0
    for finding in check_hosts(Path(hosts) if hosts else None, use_ssh=ssh, timeout_s=timeout):
        num_down += finding.is_up is False
        if json:
            console.emit(dumps(finding.to_record()).decode())
        else:
            state = "up" if finding.is_up else "DOWN"
            console.emit(f"{state:5}{finding.host:14} {finding.what:14} {finding.where}  {finding.details}")
    return 1 if num_down else 0
