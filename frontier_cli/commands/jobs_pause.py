"""frontier jobs pause."""

from __future__ import annotations

from frontier_cli import jobs, options

EXAMPLES = """\
frontier jobs pause train-4
frontier jobs pause eval-7 eval-8 --json"""


def command(ids: jobs.JobIds, home: jobs.Home = "", json: options.Json = False) -> int:
    """Stop the clock of running jobs: their processes are suspended until `jobs resume`.

    The worker does it within a tenth of a second; `jobs list` shows when it has.
    """
    store = jobs.open_store(home)
    jobs.show([store.request(name, "pause") for name in ids], json=json)
    store.close()
    return 0
