"""frontier lake query."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lake query --where 'skill=binary AND level>=3' > hard.jsonl
frontier lake query --where "source_license ~ 'GPL*'" --count
frontier lake query --where 'safety_tags = pii' -n 3 --json"""


def command(
    where: options.WhereFilter = "",
    lake: options.LakePath = "lake",
    num: Annotated[int | None, typer.Option("-n", "--num", min=1, metavar="N", help="at most so many")] = None,
    count: Annotated[bool, typer.Option("--count", help="only say how many")] = False,
    json: Annotated[bool, typer.Option("--json", help="shard and row of each instead of the record")] = False,
    output: options.OutputPath = "-",
) -> int:
    """Find records of a lake by their metadata; they come out as they went in.

    A filter compares keys: = != < <= > >=, IN (a, b), ~ 'pattern*', a key alone (it is there and not empty), AND, OR,
    NOT and brackets. A list is equal to each of its elements; `bytes` is the length of the line. Exit 1 when none
    is found.
    """
    from frontier_core.index_where import Where
    from frontier_core.jsonl import dumps
    from frontier_core.lake import Lake, query
    from frontier_core.lake import count as count_records
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_lake import query_lines

    opened, wanted = Lake.open(lake), Where(where)
    if count:
        found = count_records(opened, wanted)
        console.emit(dumps({"num_records": found}).decode() if json else str(found))
        return 0 if found else 1
    if json:
        found = 0
        for part, row, _ in query(opened, wanted, limit=num):
            console.data_stream().write(dumps({"shard": part.digest, "row": row}) + b"\n")
            found += 1
        return 0 if found else 1
    target = Target(output=output, pipe=console.data_stream())
    result = query_lines(opened, wanted, target, limit=num)
    console.note(f"{'up to date: ' if result.report.get('up_to_date') else ''}found {result.num_out} records")
    return 0 if result.num_out else 1
