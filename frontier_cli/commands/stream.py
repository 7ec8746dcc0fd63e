"""frontier stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from frontier_cli import console, options

if TYPE_CHECKING:
    from frontier_ops.stage_files import StageResult

EXAMPLES = """\
frontier stream --profile frontier_core_v0 --seed 7 -n 1000 > mix.jsonl
frontier stream web.jsonl code.jsonl --weights 'web=0.7;code=0.3' -n 5000 | frontier validate
frontier stream --profile frontier_core_v0 --policy policy.jsonl --json"""


def command(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILES...]", help="JSON Lines files; each is a domain by its name")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", metavar="P", help="a name, or a YAML file [frontier_core_v0 without FILES]")
    ] = "",
    num: Annotated[
        int | None, typer.Option("-n", "--num", min=1, metavar="N", help="how many records [one pass]")
    ] = None,
    seed: options.Seed = 0,
    start: Annotated[int, typer.Option("--start", min=0, metavar="POS", help="global position of the first")] = 0,
    lake: Annotated[
        str, typer.Option("--lake", metavar="DIR", help="the lake to draw from [$FRONTIER_LAKE, lake]")
    ] = "",
    weights: Annotated[
        str, typer.Option("--weights", metavar="LIST", help="'name=weight;...' instead of the profile's")
    ] = "",
    policy: Annotated[
        str, typer.Option("--policy", metavar="FILE", help="a policy of frontier reweight to follow")
    ] = "",
    log: Annotated[str, typer.Option("--log", metavar="FILE", help="the run's weight log, read and kept there")] = "",
    output: options.OutputPath = "-",
    json: options.Json = False,
) -> int:
    """Draw a deterministic weighted stream of records from a profile.

    The order is a pure function of seed, data, weight log and position: same arguments, same bytes, and --start goes on
    anywhere. Lines are written as they stand in the files. With --json nothing is drawn: it says which domains
    there are, their weights, and what the first N records would hold.
    """
    from frontier_core.jsonl import dumps
    from frontier_ops import stage_stream
    from frontier_ops.stage_files import Target

    target, asking = Target(output=output, pipe=console.data_stream()), ""
    if output != "-" and not (json or log):
        asking = stage_stream.asked(
            files or (), profile=profile, lake=lake, policy=policy, weights=weights, num=num, start=start
        )
        if done := stage_stream.earlier_draw(target, asking, seed):
            return _tell(done)
    from frontier_core.stream import Stream, get_stream
    from frontier_ops.stage_stream import named_files, parse_weights

    if files and not profile:
        stream = Stream.from_files(named_files(files), parse_weights(weights) or None, seed=seed, log=log or None)
        if policy:
            stream.follow(policy)
    else:
        stream = get_stream(
            profile or stage_stream.DEFAULT_PROFILE, seed=seed, lake=lake or None, files=files or None, log=log or None,
            policy=policy or None,
        )  # fmt: skip
        if weights:
            stream.set_weights(parse_weights(weights))
    for text in stream.notes:
        console.note(text)
    num = num or len(stream)
    if json:
        console.emit(dumps(stage_stream.describe_stream(stream, start + num)).decode())
        return 0
    with console.Progress("stream", num) as progress:
        show = progress.update
        result = stage_stream.stream_lines(stream, target, num=num, start=start, asking=asking, on_progress=show)
    return _tell(result)


def _tell(result: StageResult) -> int:
    """Says what was drawn, or had been."""
    tags = result.tally.tags
    told = ", ".join(f"{name} {count}" for name, count in sorted(tags.items())[:8])
    done = "up to date:" if result.report.get("up_to_date") else "drew"
    console.note(f"{done} {tags.total()} records: {told}{', ...' if len(tags) > 8 else ''}")
    return 0
