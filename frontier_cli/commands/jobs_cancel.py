"""frontier jobs cancel."""

from __future__ import annotations

from frontier_cli import jobs, options

EXAMPLES = """\
frontier jobs cancel eval-7
frontier jobs cancel eval-7 eval-8 --json"""


def command(ids: jobs.JobIds, home: jobs.Home = "", json: options.Json = False) -> int:
    """Take jobs out of the queue before a worker has them; they end as skipped.

    A job that runs already is refused: `jobs stop` ends it.
    """
    store = jobs.open_store(home)
    jobs.show([store.request(name, "cancel") for name in ids], json=json)
    store.close()
    return 0
