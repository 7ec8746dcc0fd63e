"""The one training executor: `TrainerEngine.run_job(config) -> TrainingResult` is the only way a model is trained here.

It checks the data before it loads a model, resumes an interrupted run from its newest whole checkpoint as if nothing
had happened, and leaves telemetry, the resolved config and the result beside the checkpoints. It prints nothing. The
loop itself is trainer/hf_trainer.py; when and where a run happens is frontier_ops' business.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import orjson

from frontier_core.atomic import explain_os_error, write_bytes
from frontier_core.errors import ConfigError, DataError
from frontier_core.events import EventSink
from frontier_core.jsonl import read_rows
from frontier_core.lineage import digest_of
from frontier_core.profiles import profile_named
from frontier_core.version import __version__
from trainer import ranks
from trainer.chat_template import apply_profile
from trainer.checkpoints import drop_run, drop_temp, newest_committed, resolve_model, run_lock, step_of
from trainer.config import TrainerConfig, TrainingResult
from trainer.control import Control
from trainer.data import TrainingData, Unit
from trainer.diagnosis import Diverged
from trainer.draws import READ_MARK, WEIGHT_LOG
from trainer.locks import check_locks
from trainer.model_files import load_for_training, load_tokenizer
from trainer.preflight import preflight
from trainer.recipes import BringsTrainer, Recipe, recipe_for, units_per_step
from trainer.runtime import quiet, seeded
from trainer.sources import RESOLVED, pinned

if TYPE_CHECKING:
    from trainer.hf_trainer import Monitor, StatusWriter

EVENTS, RESULT, CONTROL = "events.jsonl", "result.json", "control"
STATUS_OF = {"finished": "completed", "skipped": "skipped", "stopped": "stopped", "diverged": "failed"}
"""How a result's status reads as the state of a job."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """What one call of run_job knows: the run's parts as they come to be."""

    config: TrainerConfig
    recipe: Recipe
    run_dir: Path
    data: TrainingData
    model_dir: Path
    notes: list[str]
    checkpoint: Path | None = None
    num_dropped: int = 0
    is_template_replaced: bool = False
    num_steps: int = 0


@runtime_checkable
class BeginsWithRun(Protocol):
    """A monitor that has to make something ready in the run folder, before anything is drawn."""

    def begin(self, *, is_fresh: bool) -> None:
        """Begins or goes on; called in the first process once the folder is this run's.

        Args:
            is_fresh: whether the run begins at its first step; else events.jsonl ends where it goes on.
        """


class TrainerEngine:
    """Executes training jobs, one at a time.

    Args:
        status_writer: called after every step with (step, total, loss, supervised tokens per second); None is silent.
    """

    def __init__(self, status_writer: StatusWriter | None = None) -> None:
        self._status_writer = status_writer

    def run_job(
        self,
        config: TrainerConfig,
        config_dict: dict[str, Any] | None = None,
        monitors: Sequence[Monitor] | None = None,
        callbacks: Sequence[Any] | None = None,
    ) -> TrainingResult:
        """Trains to the end, resuming what an earlier call with the same config began; a finished run is left alone.

        Args:
            config: the run.
            config_dict: where each setting came from (key -> origin), kept beside the resolved config.
            monitors: called with the telemetry lines of each logging window; see also `BeginsWithRun`.
            callbacks: further transformers TrainerCallbacks.
        Returns:
            The result, also in RUN_DIR/result.json. A loss that is no number gives `success` False.
        Raises:
            DataError: a training record is unfit; nothing was loaded or written.
            ConfigError: the model folder holds no model, or the output folder holds another run.
            UsageError: no such file or folder, or another process trains into the output folder.
            KeyboardInterrupt: SIGINT, after a checkpoint was left; SIGTERM is delivered again in the same way.
        Side effects: writes into config.output_dir only.
        """
        notes: list[str] = []
        model_dir = resolve_model(config.model_dir, notes)
        run_dir = Path(config.output_dir)
        files = pinned(config.train_files, run_dir)
        config = replace(config, locked=check_locks(config, model_dir), train_files=files)
        recipe = recipe_for(config)
        data = recipe.read(config)
        preflight(config, model_dir, run_dir)
        rank, size = ranks.world()
        if size > config.batch_size or (size > 1 and isinstance(recipe, BringsTrainer)):
            what = "method grpo" if isinstance(recipe, BringsTrainer) else f"batch_size {config.batch_size}"
            raise ConfigError(f"{what} does not divide among {size} processes", hint="start fewer of them")
        ranks.join(on_cpu=config.device == "cpu")
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, run_dir) from error
        run = _Run(
            config=config, recipe=recipe, run_dir=run_dir, data=data, model_dir=model_dir, notes=notes + data.notes
        )
        orders = Path(config.control_dir) if config.control_dir else run_dir / CONTROL
        stop = Control(orders, run_id=config.run_id, is_writer=rank == 0)
        with run_lock(run_dir) if rank == 0 else nullcontext():
            finished: TrainingResult | None = None
            if rank == 0:
                drop_temp(run_dir)
                finished = _begin(run, config_dict or {})
                if finished is None:
                    _begin_monitors(monitors or (), is_fresh=run.checkpoint is None)
            finished, run.checkpoint = ranks.from_first((finished, run.checkpoint))
            if finished is not None:
                return finished
            with stop, quiet(), seeded(config.seed, config.num_threads):
                result = self._train(run, stop, monitors or (), callbacks or ())
            if result.summary["status"] != "stopped" and rank == 0:
                write_bytes(run_dir / RESULT, _pretty(result.to_mapping()))
            stop.report(STATUS_OF[result.summary["status"]], result.global_step, run.num_steps)
        stop.raise_again()
        return result

    def _train(self, run: _Run, stop: Control, monitors: Sequence[Monitor], callbacks: Iterable[Any]) -> TrainingResult:
        from trainer.hf_trainer import Schedule

        started = time.monotonic()
        tokenizer, units = _prepare(run)
        resumed_from = step_of(run.checkpoint) if run.checkpoint else 0
        is_first = ranks.world()[0] == 0
        sink: Any = EventSink(run.run_dir / EVENTS) if is_first else ranks.NoSink()
        schedule = Schedule(run.config, stop, self._status_writer if is_first else None)
        trainer = _trainer(run, tokenizer, units, sink=sink, monitors=monitors, first_step=resumed_from)
        schedule.trainer = trainer
        for callback in (*callbacks, schedule):
            trainer.add_callback(callback)
        error: Diverged | None = None
        try:
            trainer.train(resume_from_checkpoint=str(run.checkpoint) if run.checkpoint else None)
        except Diverged as diverged:
            error = diverged
        except KeyboardInterrupt:
            # Raised between two steps (by a callback) the state is whole and worth keeping; inside one it is not.
            if trainer.is_between_steps and not stop.is_hasty and trainer.state.global_step > resumed_from:
                trainer.save_now()
            raise
        finally:
            trainer.close()
            sink.close()
        return _result(run, trainer, error, stop, started=started, resumed_from=resumed_from, num_examples=len(units))


def _begin(run: _Run, origins: dict[str, Any]) -> TrainingResult | None:
    """Compares the run with what its folder holds: gives its result when it is finished, else readies the folder.

    Raises:
        ConfigError: the folder holds a run of another config, model or data and `on_change` is "refuse".
    """
    identity = run.config.decisive() | {"model": digest_of(run.model_dir), "data": run.data.sha}
    resolved = {
        "config": run.config.to_mapping(),
        "identity": identity,
        "origins": origins,
        "code_version": __version__,
    }
    path = run.run_dir / RESOLVED
    old = _read_json(path) if path.exists() else None
    if old is not None and old.get("identity") != identity:
        if run.config.on_change == "refuse":
            before = old.get("identity") or {}
            changed = sorted(key for key in {*before, *identity} if before.get(key) != identity.get(key))
            raise ConfigError(
                f"{run.run_dir}: holds a run with another {', '.join(changed)}",
                hint="choose another -o, or set on_change to restart",
            )
        run.notes.append(f"{run.run_dir}: an earlier run of another config, model or data was removed")
        drop_run(run.run_dir)
        for name in (WEIGHT_LOG, READ_MARK):
            (run.run_dir / name).unlink(missing_ok=True)
    elif old is None and (newest_committed(run.run_dir) or (run.run_dir / EVENTS).exists()):
        raise ConfigError(f"{run.run_dir}: holds a run without its {RESOLVED}", hint="choose another -o")
    run.checkpoint = newest_committed(run.run_dir, run.notes)
    result_path = run.run_dir / RESULT
    if run.checkpoint is not None and result_path.exists():
        stored = _read_json(result_path)
        if stored.get("success") and stored.get("global_step") == step_of(run.checkpoint):
            earlier = TrainingResult.from_mapping(stored)
            earlier.summary.update(status="already finished", notes=run.notes)
            return earlier
    result_path.unlink(missing_ok=True)
    write_bytes(path, _pretty(resolved))
    _cut_events(run.run_dir / EVENTS, step_of(run.checkpoint) if run.checkpoint else 0)
    return None


def _begin_monitors(monitors: Sequence[Any], *, is_fresh: bool) -> None:
    for monitor in monitors:
        if isinstance(monitor, BeginsWithRun):
            monitor.begin(is_fresh=is_fresh)


def _cut_events(path: Path, step: int) -> None:
    """Drops telemetry of steps that will be run again, so that no example is counted twice."""
    if not path.exists():
        return
    kept: list[bytes] = []
    if step and path.stat().st_size:
        kept = [row.raw for row in read_rows(path) if row.problem is None and row.record.get("step_to", 0) <= step]
    write_bytes(path, b"".join(line + b"\n" for line in kept))


def _prepare(run: _Run) -> tuple[Any, list[Unit]]:
    """Gives the tokenizer and what is drawn, and counts the steps; all that can be wrong with the data is said here."""
    config = run.config
    tokenizer = load_tokenizer(run.model_dir)
    run.is_template_replaced = apply_profile(tokenizer, profile_named(config.profile))
    units, run.num_dropped = run.recipe.units(tokenizer, run.data, config)
    if run.num_dropped:
        longest = config.max_length_tokens
        run.notes.append(f"{run.num_dropped} of {len(run.data.samples)} records dropped: over {longest} tokens")
    run.num_steps = config.max_steps or max(1, ceil(config.num_epochs * len(units) / units_per_step(config)))
    return tokenizer, units


def _trainer(
    run: _Run,
    tokenizer: Any,
    units: list[Unit],
    *,
    sink: Any,
    monitors: Sequence[Monitor],
    first_step: int,
) -> Any:
    """Gives the loop of the run's method: the engine's own, or the one its recipe brings."""
    from trainer.hf_trainer import FrontierTrainer

    model = load_for_training(run.config, run.model_dir, run.checkpoint)
    parts: dict[str, Any] = {
        "config": run.config,
        "num_steps": run.num_steps,
        "sink": sink,
        "monitors": monitors,
        "notes": run.notes,
    }
    if isinstance(run.recipe, BringsTrainer):
        return run.recipe.make_trainer(model, tokenizer, **parts)
    trainer = FrontierTrainer(model, tokenizer, units, run.recipe, first_step=first_step, **parts)
    trainer.prepare_recipe(run.checkpoint)
    return trainer


def _result(
    run: _Run,
    trainer: Any,
    error: Diverged | None,
    stop: Control,
    *,
    started: float,
    resumed_from: int,
    num_examples: int,
) -> TrainingResult:
    step = trainer.state.global_step
    runtime = time.monotonic() - started
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    checkpoint = newest_committed(run.run_dir)
    is_skipped = error is None and stop.is_skipped
    is_whole = error is None and (step >= run.num_steps or is_skipped)
    status = "skipped" if is_skipped else "finished" if is_whole else "diverged" if error else "stopped"
    summary = {
        "status": status,
        "num_steps": run.num_steps,
        "resumed_from_step": resumed_from,
        "num_examples": num_examples,
        "num_dropped_too_long": run.num_dropped,
        "num_parameters": sum(weight.numel() for weight in trainer.model.parameters()),
        "num_supervised_tokens": trainer.tokens_done,
        "tokens_per_s": round((trainer.tokens_done - trainer.tokens_before) / max(runtime, 1e-9), 1),
        **trainer.about(),
        "is_template_replaced": run.is_template_replaced,
        "notes": run.notes,
    }
    if error is not None:
        summary["diagnosis"] = error.diagnosis
    return TrainingResult(
        success=is_whole,
        global_step=step,
        runtime_sec=round(runtime, 3),
        last_checkpoint_path=str(checkpoint) if checkpoint else None,
        final_loss=float(losses[-1]) if losses else float("nan"),
        summary=summary,
        error_message=f"{error.message}; {error.hint}" if error else None,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise DataError("not valid JSON", path=str(path), code="invalid_json", hint=f"remove {path}") from error
    if not isinstance(value, dict):
        raise DataError("not a JSON object", path=str(path), code="not_an_object", hint=f"remove {path}")
    return value


def _pretty(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
