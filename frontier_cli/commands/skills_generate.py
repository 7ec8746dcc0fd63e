"""frontier skills generate."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier skills generate --url http://127.0.0.1:8090 -n 100 --level 2 -o records.jsonl
frontier skills generate --service binary -n 100 | frontier validate"""


def command(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="of a skill service")] = "",
    service: Annotated[str, typer.Option("--service", metavar="NAME", help="its name in config/hosts.json")] = "",
    num: options.Num = 100,
    level: Annotated[int, typer.Option("--level", metavar="L", help="level [the skill's first]")] = 0,
    seed: options.Seed = 0,
    output: options.OutputPath = "-",
) -> int:
    """Get records from a skill service on another host; the same seed gives the same bytes, wherever it runs."""
    from frontier_core.errors import UsageError
    from frontier_ops.hosts import Service
    from frontier_ops.services import ServiceClient, get_service_client
    from frontier_ops.skill_service import SkillClient
    from frontier_ops.stage_files import Target, write_lines

    if bool(url) == bool(service):
        raise UsageError("name the service with --url or --service", hint="frontier skills generate -h")
    client = ServiceClient(Service(name="skill", url=url)) if url else get_service_client(service)
    with client:
        records = SkillClient(client).records(level=level, count=num, seed=seed)
        target = Target(output=output, pipe=console.data_stream())
        result = write_lines(records, target, stage="skills generate", sources=[], producer=url or service)
    console.note(f"{result.num_out} records")
    return 0
