"""frontier lineage report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier lineage report out
frontier lineage report inbox --track status/data_lineage.json --json"""


def command(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH...]", help="files that frontier wrote, or folders of them [.]")
    ] = None,
    track: Annotated[
        str, typer.Option("--track", metavar="FILE", help="put the results into this tracker, status/data_lineage.json")
    ] = "",
    json: options.Json = False,
) -> int:
    """Show which generators' records fail at which validator: totals, rates, top reasons, those above 5%.

    Counts come from the sidecars of judging stages. Where a folder status/ is, those stages keep
    status/data_lineage.json up to date by themselves. --json also lists every registered generator and validator.
    """
    from frontier_core.jsonl import dumps
    from frontier_ops.lineage_report import report, sidecars_under
    from frontier_ops.stage_files import track_files

    paths = [Path(place) for place in places or ["."]]
    found = report(paths)
    if track:
        track_files(sidecars_under(paths), Path(track))
    if json:
        console.emit(dumps(found).decode())
        return 0
    for line in _table(found):
        console.emit(line)
    for text in found["unreadable"]:
        console.note(text)
    return 0


def _table(found: dict[str, Any]) -> list[str]:
    summary = found["summary"]
    lines = [
        f"{summary['total']} judgements in {found['judged_files']} of {found['sidecars']} files with a sidecar: "
        f"{summary['passed']} passed, {summary['failed']} failed ({summary['fail_rate']:.2%})"
    ]
    for kind in ("generators", "validators"):
        width = max([len(kind), *map(len, found[kind])])
        lines += ["", f"{kind:{width}}  {'total':>9}  {'failed':>9}  {'rate':>7}  top reasons"]
        for name, score in found[kind].items():
            reasons = ", ".join(f"{count} {code}" for code, count in score["top_reasons"].items())
            row = f"{name:{width}}  {score['total']:>9}  {score['failed']:>9}  {score['fail_rate']:>7.2%}  {reasons}"
            lines.append(row.rstrip())
    if found["worst"]:
        lines += ["", "above 5%:"]
        lines += [f"  {entry['kind']} {entry['name']}: {entry['fail_rate']:.2%}" for entry in found["worst"]]
    if found["unregistered"]:
        lines += ["", "not registered here (or in another version):"]
        lines += [
            f"  {entry['name']}" + (f" (installed: {entry['installed']})" if entry["installed"] else "")
            for entry in found["unregistered"]
        ]
    return lines
