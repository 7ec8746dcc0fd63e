"""frontier lake export."""

from __future__ import annotations

from pathlib import Path

from frontier_cli import console, options

EXAMPLES = """\
frontier lake export -o all.jsonl.zst
frontier lake export --where "source_license IN (MIT, Apache-2.0)" -o open.parquet"""


def command(
    output: options.OutputPath = "-",
    where: options.WhereFilter = "",
    lake: options.LakePath = "lake",
) -> int:
    """Write a lake's records to one file: .jsonl, .jsonl.gz, .jsonl.zst or .parquet by its name.

    In Parquet each metadata key is a column and `record` holds the whole record as JSON.
    """
    from frontier_core.index_where import Where
    from frontier_core.lake import Lake
    from frontier_ops.stage_files import Target
    from frontier_ops.stage_lake import export_parquet, query_lines

    opened, wanted = Lake.open(lake), Where(where)
    if output.endswith(".parquet"):
        with console.Progress("lake export") as progress:
            num, is_old = export_parquet(opened, wanted, Path(output), on_progress=progress.update)
    else:
        target = Target(output=output, pipe=console.data_stream())
        result = query_lines(opened, wanted, target, stage="lake export")
        num, is_old = result.num_out, bool(result.report.get("up_to_date"))
    console.note(f"{'up to date: ' if is_old else ''}exported {num} records of {lake}, state {opened.generation}")
    return 0
