"""frontier telemetry ingest."""

from __future__ import annotations

from typing import Annotated

import typer

from frontier_cli import console, options

EXAMPLES = """\
frontier telemetry ingest run/ eval.jsonl -o telemetry.jsonl
frontier telemetry ingest trainer_state.json | head -3
frontier telemetry ingest tb/events.out.tfevents.1 run-x.wandb mlflow.db task.eval -o telemetry.jsonl"""


def command(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCES...", help="run folders, logs and evaluation files")],
    form: Annotated[
        str, typer.Option("--format", metavar="NAME", help="the logs' format [told by their content]")
    ] = "auto",
    output: options.OutputPath = "-",
) -> int:
    """Turn training and evaluation logs into telemetry lines: additive sums per run, steps, tag and metric.

    Read are our own run events, evaluations and request logs, and those of Hugging Face trainers, TensorBoard, Weights
    & Biases (offline), MLflow, lm-evaluation-harness, Inspect, OpenTelemetry (GenAI spans) and Prometheus. Lines of the
    same key add up; a file given twice counts once. What can't be used is dropped and said.
    """
    from frontier_ops.stage_files import Target, earlier, write_lines

    target = Target(output=output, pipe=console.data_stream())
    params = {"format": form}
    if done := earlier(target, "telemetry ingest", sources, params=params):
        console.note(f"up to date: {done.num_out} telemetry lines")
        return 0
    from curriculum.ingest import FORMATS, ingest
    from frontier_core.errors import ConfigError, DataError
    from frontier_core.nearest import did_you_mean

    if form not in FORMATS:
        raise ConfigError(f"unknown format {form!r}", hint=did_you_mean(form, FORMATS))
    lines = [line.to_record() for line in ingest(sources, on_note=console.note, form=form)]
    if not lines:
        raise DataError("holds no telemetry", path=", ".join(sources), code="no_telemetry", hint="give a run folder")
    result = write_lines(lines, target, stage="telemetry ingest", sources=sources, params=params)
    console.note(f"wrote {result.num_out} telemetry lines")
    return 0
