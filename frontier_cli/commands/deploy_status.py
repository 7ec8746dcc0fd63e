"""frontier deploy status."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options, targets

EXAMPLES = """\
frontier deploy status release
frontier deploy status inference --json"""


def command(
    target: targets.Target,
    audit: Annotated[int, typer.Option("--audit", min=0, metavar="N", help="show the audit's last N lines")] = 5,
    json: options.Json = False,
) -> int:
    """Show what a target holds: the release in service, those before it, and what happened last."""
    from frontier_core.jsonl import dumps

    state = targets.show_status(target, audit)
    if json:
        releases = [
            {"id": r.id, "name": r.name, "created_at": r.created_at, "bytes": r.num_bytes, "source": r.source,
             "profile": r.profile, "has_probe": r.probe is not None}
            for r in state.releases
        ]  # fmt: skip
        whole = {"target": str(state.target), "current": state.current, "locked_by": state.locked_by}
        console.emit(dumps(whole | {"releases": releases, "audit": list(state.audit)}).decode())
        return 0
    for release in state.releases:
        mark = "*" if release.id == state.current else " "
        source = release.source.get("checkpoint", "")
        console.emit(
            f"{mark} {release.model_id}  {release.num_bytes / 1e6:9.1f} MB  {release.created_at[:19]}  {source}"
        )
    if not state.releases:
        console.note(f"{target}: holds no release")
    if state.locked_by:
        console.note(f"locked by {state.locked_by}")
    for entry in state.audit:
        words = " ".join(str(entry[key]) for key in ("time", "action", "state", "release", "reason") if entry.get(key))
        console.note(words)
    return 0
