"""frontier daemon status."""

from __future__ import annotations

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier daemon status
frontier daemon status --json"""


def command(home: jobs.Home = "", json: options.Json = False) -> int:
    """Say whether a daemon turns the loop, in which round it is and what is queued; exit 1 when none runs."""
    from pathlib import Path

    from frontier_core.jsonl import dumps
    from frontier_ops.daemon import control

    folder = Path(home or ".")
    pid = control.holder(folder)
    store = jobs.open_store(home)
    counts = {str(state): count for state, count in store.counts().items() if count}
    store.close()
    state = control.read_state(folder) if pid else {"state": "not running"}
    if json:
        console.emit(dumps({"pid": pid, **state, "jobs": counts}).decode())
    else:
        said = f"round {state['round']}, " if state.get("round") else ""
        queue = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no jobs"
        console.emit(f"{state.get('state', 'starting')}{f' (pid {pid})' if pid else ''}: {said}{queue}")
    return 0 if pid else 1
