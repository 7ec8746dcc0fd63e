"""frontier jobs retry."""

from __future__ import annotations

from frontier_cli import jobs, options

EXAMPLES = """\
frontier jobs retry eval-7
frontier jobs retry eval-7 eval-8 --json"""


def command(ids: jobs.JobIds, home: jobs.Home = "", json: options.Json = False) -> int:
    """Queue jobs again that have ended, whatever way; their attempts go on counting."""
    store = jobs.open_store(home)
    jobs.show([store.retry(name) for name in ids], json=json)
    store.close()
    return 0
