"""frontier jobs stop."""

from __future__ import annotations

from frontier_cli import jobs, options

EXAMPLES = """\
frontier jobs stop train-4
frontier jobs stop eval-7 eval-8 --json"""


def command(ids: jobs.JobIds, home: jobs.Home = "", json: options.Json = False) -> int:
    """End running jobs: SIGTERM, and SIGKILL for what has not ended ten seconds later.

    The worker does it within a tenth of a second; `jobs list` shows when it has.
    """
    store = jobs.open_store(home)
    jobs.show([store.request(name, "stop") for name in ids], json=json)
    store.close()
    return 0
