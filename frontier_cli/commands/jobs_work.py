"""frontier jobs work."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, jobs, options

EXAMPLES = """\
frontier jobs work --until-empty
frontier jobs work --role eval_worker --role analytics --workers 2"""


def command(
    roles: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="NAME", help="trainer, eval_worker, data_forge, vault_worker, analytics (repeat)"
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, metavar="N", help="jobs at a time")] = 1,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="local, ray, slurm or submitit-local")
    ] = "local",
    ray_address: options.RayAddress = "",
    slurm: Annotated[
        list[str] | None, typer.Option("--slurm", metavar="KEY=VALUE", help="for submitit, e.g. slurm_partition=gpu")
    ] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="end when nothing waits and nothing runs")] = False,
    home: jobs.Home = "",
) -> int:
    """Take jobs from the queue and run them, until stopped; without --role of every kind.

    SIGTERM and Ctrl-C end the running commands gracefully and put their jobs back into the queue. A worker that is
    killed loses its job to the next one. Exit code 1 when a job failed.
    """
    from frontier_ops.jobs.executors import work_off

    jobs.open_store(home).close()  # what is wrong with the folder is said once, here
    ended = work_off(
        home or ".",
        executor,
        roles=roles or [],
        num_slots=workers,
        until_empty=until_empty,
        ray_address=ray_address,
        slurm=slurm or [],
        on_job=lambda job: console.note(jobs.line_of(job)),
    )
    return 1 if ended["failed"] else 0
