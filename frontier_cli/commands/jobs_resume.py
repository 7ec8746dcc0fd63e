"""frontier jobs resume."""

from __future__ import annotations

from frontier_cli import jobs, options

EXAMPLES = """\
frontier jobs resume train-4
frontier jobs resume eval-7 eval-8 --json"""


def command(ids: jobs.JobIds, home: jobs.Home = "", json: options.Json = False) -> int:
    """Let paused jobs go on where they were suspended.

    The worker does it within a tenth of a second; `jobs list` shows when it has.
    """
    store = jobs.open_store(home)
    jobs.show([store.request(name, "resume") for name in ids], json=json)
    store.close()
    return 0
