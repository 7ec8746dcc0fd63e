"""frontier train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from frontier_cli import console, options

if TYPE_CHECKING:
    from trainer.config import TrainingResult

EXAMPLES = """\
frontier train train.jsonl --model model -o run
frontier train train.jsonl --model run0 --config config/train.json --set learning_rate=1e-3 -o run1
frontier train lake --model model --set policy=policy.jsonl -o run1
frontier train pairs.jsonl --model run1 --method dpo --set learning_rate=1e-4 -o run2"""


def command(
    output: Annotated[str, typer.Option("-o", "--output", metavar="RUN_DIR", help="the run folder")],
    sources: Annotated[
        list[str], typer.Argument(metavar="[IN...]", help="records to train on, or a lake; - is standard input")
    ] = ["-"],  # noqa: B006
    model: Annotated[
        str, typer.Option("--model", metavar="DIR", help="model, checkpoint or run to start from [config: model_path]")
    ] = "",
    method: Annotated[
        str | None, typer.Option("--method", metavar="NAME", help="sft, sparring, dpo, grpo or distill [sft]")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="NAME", help="lora, dora or qlora instead of all weights [none]")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", metavar="DIR", help="method distill: the teacher's model folder or run")
    ] = None,
    config: Annotated[str, typer.Option("--config", metavar="FILE", help="run settings (JSON, TOML or YAML)")] = "",
    setting: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="one setting, over the file (repeat)")
    ] = [],  # noqa: B006
    run_id: Annotated[str | None, typer.Option("--run-id", metavar="ID", help="name of the run in telemetry")] = None,
    round: Annotated[int | None, typer.Option("--round", min=0, metavar="R", help="round of the loop")] = None,  # noqa: A002
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME", help="answer profile")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="S", help="seed of order and initialisation")] = None,
    control_dir: Annotated[
        str | None,
        typer.Option(
            "--control-dir", metavar="DIR", help="where .pause .resume .stop .skip are obeyed [RUN_DIR/control]"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="drop the run that is there and train from the start")] = False,
    json: options.Json = False,
    dry_run: options.DryRun = False,
) -> int:
    """Train a model on records: only answers are supervised, loss is reported per skill and level.

    Run again with the same settings it goes on from the last whole checkpoint; a finished run of the same settings,
    data and model is up to date and stays (--force trains again). SIGUSR1 pauses and resumes, SIGUSR2 skips the rest,
    SIGINT and SIGTERM stop; each leaves a checkpoint. --dry-run tells tokens, steps, memory, and every setting with
    where its value came from, and does nothing.
    """
    from frontier_core.jsonl import dumps
    from frontier_ops import training

    flags = {
        "run_id": run_id,
        "round": round,
        "profile": profile,
        "seed": seed,
        "method": method,
        "adapter": adapter,
        "teacher_dir": teacher,
        "control_dir": control_dir,
    }
    overrides: dict[str, Any] = dict(_setting(text) for text in setting)
    overrides |= {key: value for key, value in flags.items() if value is not None}
    resolved, origins = training.resolve_config(
        files=[console.input_source(source) for source in sources],
        model=model,
        output=output,
        config=config,
        overrides=overrides,
    )
    if dry_run:
        console.emit(dumps(training.plan(resolved, origins)).decode())
        return 0
    if force:
        training.drop_finished(resolved)
    elif (done := training.finished_run(resolved)) is not None:
        return _tell(output, done, as_json=json) if training.is_first() else 0
    with console.Progress("train") as progress:

        def show(step: int, total: int, loss: float, tokens_per_s: float) -> None:
            progress.set_total(total)
            progress.update(step, f"loss {loss:.3f} {tokens_per_s:.0f} tok/s")

        result = training.train(resolved, origins=origins, on_status=show)
    return _tell(output, result, as_json=json) if training.is_first() else 0


def _tell(output: str, result: TrainingResult, *, as_json: bool) -> int:
    """Says how a run ended, and whether it had before."""
    from frontier_core.jsonl import dumps

    told = "up to date: " if result.summary.get("status") == "already finished" else ""
    told += f"{output}: step {result.global_step}, loss {result.final_loss:.3f}, {result.runtime_sec:.0f} s"
    console.note(told)
    if as_json:
        console.emit(dumps({"last_checkpoint_path": result.last_checkpoint_path, **result.summary}).decode())
    return 0


def _setting(text: str) -> tuple[str, Any]:
    """Reads KEY=VALUE; the value is JSON where it is valid JSON, else text."""
    from frontier_core.errors import UsageError
    from frontier_core.jsonl import loads

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set: {text!r} is not KEY=VALUE")
    try:
        return key, loads(value)
    except ValueError:
        return key, value
