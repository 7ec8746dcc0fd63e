"""frontier jobs warnings."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier jobs warnings
frontier jobs warnings --json --pending-s 60"""


def command(
    pending_s: Annotated[float, typer.Option("--pending-s", min=0, metavar="SEC", help="a job may wait so long")] = 300,
    running_s: Annotated[float, typer.Option("--running-s", min=0, metavar="SEC", help="and run so long")] = 1800,
    home: jobs.Home = "",
    json: options.Json = False,
) -> int:
    """Say which jobs nobody takes, which run too long and whose worker is dead; exit 1 when there are any."""
    from frontier_core.jsonl import dumps
    from frontier_ops.jobs.warnings import job_warnings

    store = jobs.open_store(home)
    found = job_warnings(store, pending_s=pending_s, running_s=running_s)
    store.close()
    if json:
        console.emit(dumps(found).decode())
    else:
        for kind in ("orphaned_jobs", "stuck_running", "stuck_pending"):
            for line in found[kind]:
                console.emit(f"{kind:14} {line['id']:16} {line['age_s']:9.0f} s  {line['role']} {line['worker']}")
        console.note(f"{found['summary']['critical']} critical, {found['summary']['warning']} warnings")
    return 1 if found["summary"]["total"] else 0
