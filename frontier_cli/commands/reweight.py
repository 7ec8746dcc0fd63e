"""frontier reweight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from frontier_cli import console, options

if TYPE_CHECKING:
    from frontier_core.records import Record
    from frontier_ops.stage_files import StageResult

EXAMPLES = """\
frontier reweight telemetry.jsonl -o policy.jsonl
frontier reweight telemetry.jsonl --prev policy1.jsonl -o policy2.jsonl --explain
frontier reweight telemetry.jsonl --needs -n 600 -o policy.jsonl
frontier reweight telemetry.jsonl --prev p2.jsonl --anchors eval1.jsonl,eval2.jsonl --good p1.jsonl -o p3.jsonl"""


def command(
    telemetry: Annotated[
        str, typer.Argument(metavar="TELEMETRY", help="lines of telemetry ingest; - is standard input")
    ],
    domains: options.Domains = "",
    previous: Annotated[
        str, typer.Option("--prev", metavar="FILE", help="the policy in force; carries the state")
    ] = "",
    policy: Annotated[
        str, typer.Option("--method", metavar="NAME", help="the policy; frontier is ours [frontier]")
    ] = "frontier",
    config: Annotated[
        str, typer.Option("--settings", metavar="FILE", help="the policy's numbers (JSON, TOML, YAML)")
    ] = "",
    values: Annotated[list[str], typer.Option("--set", metavar="KEY=NUMBER", help="one of its numbers (repeat)")] = [],  # noqa: B006 (Typer copies it)
    supply: Annotated[
        str, typer.Option("--supply", metavar="FILE", help="unseen examples per cell, a JSON object; needs -n")
    ] = "",
    num: Annotated[int, typer.Option("-n", "--num", min=0, metavar="N", help="records the next round draws")] = 0,
    anchors: Annotated[
        str, typer.Option("--anchors", metavar="FILE,FILE", help="the same problems answered before and after --prev")
    ] = "",
    good: Annotated[
        str, typer.Option("--good", metavar="FILE", help="the policy before --prev, to go back to after harm")
    ] = "",
    every: Annotated[
        int, typer.Option("--every", min=0, metavar="STEPS", help="steps that make a round [the rounds lines name]")
    ] = 0,
    with_needs: Annotated[
        bool, typer.Option("--needs", help="say what to generate too, for synth gen --policy; needs -n")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="say each reason on stderr")] = False,
    output: options.OutputPath = "-",
) -> int:
    """Turn telemetry into a sampling policy: a weight per tag with floor, cap, bounded step, and its reason.

    Floor 0.2 of the prior, cap 4 times, at most 1.6 times a round. Without --prev the domains' priors are in force.
    Methods: frontier, uniform, proportional, doremi, odm, ado, skill_it, learning_progress, levels; those of the
    literature are as published, without our rails. When the anchors fell significantly, the weights go back to --good
    and the exit code is 1. docs/reweighting.md says how all of it works and how the methods compare.
    """
    from frontier_core.domains import load_domains
    from frontier_core.errors import UsageError
    from frontier_ops import reweighting
    from frontier_ops.stage_files import Target, earlier, write_lines

    if with_needs and not num:
        raise UsageError("--needs splits the records of the next round", hint="-n NUM")
    source = console.input_source(telemetry)
    pair = options.split_names([anchors])
    target = Target(output=output, pipe=console.data_stream())
    sources = [source, *filter(None, (previous, config, supply, *pair, good))]
    known, settings = load_domains(domains or None), reweighting.settings_from(config, values)
    asked = reweighting.asked(known, settings, num=num, with_needs=with_needs, every=every)
    params: dict[str, Any] = {"asked": asked}
    noun = "lines" if with_needs else "weights"
    if done := earlier(target, "reweight", sources, producer=policy, params=params, outcomes=["harmed"]):
        return _tell(reweighting.policy_records(output), done, explain=explain, noun=noun)
    records, harmed = reweighting.next_policy(
        source,
        known,
        previous=previous,
        policy=policy,
        settings=settings,
        supplies=reweighting.supplies_from(supply, num),
        anchors=pair,
        good=good,
        num_needed=num if with_needs else 0,
        every=every,
    )
    params |= {"harmed": harmed}
    result = write_lines(records, target, stage="reweight", sources=sources, producer=policy, params=params)
    result.report["params"] = params
    return _tell(records, result, explain=explain, noun=noun)


def _tell(records: list[Record], result: StageResult, *, explain: bool, noun: str) -> int:
    """Says what was decided, or had been, and gives the exit code: 1 after a step back."""
    for record in records if explain else []:
        if record["kind"] != "tag":
            console.note(f"{record['kind']} {record['tag']}: {record['num']}  {record['reason']}")
            continue
        console.note(f"{record['tag']}: {record['previous']:.4f} -> {record['weight']:.4f}  {record['reason']}")
    harmed = bool(result.report["params"]["harmed"])
    if harmed:
        console.note(str(records[0]["reason"]))
    console.note(f"{'up to date:' if result.report.get('up_to_date') else 'wrote'} {result.num_out} {noun}")
    return int(harmed)
