"""frontier jobs rebuild."""

from __future__ import annotations

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier jobs rebuild
frontier jobs rebuild --home /srv/frontier --json"""


def command(home: jobs.Home = "", json: options.Json = False) -> int:
    """Make the job store anew from status/job_history.jsonl, which is the truth."""
    from frontier_core.jsonl import dumps

    store = jobs.open_store(home)
    number = store.rebuild()
    counts = {str(state): count for state, count in store.counts().items()}
    store.close()
    if json:
        console.emit(dumps({"num_jobs": number, "states": counts}).decode())
    console.note(f"{number} jobs from the history")
    return 0
