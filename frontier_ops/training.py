"""`frontier train`: a config from its layers, one call of the engine, the run's sidecar."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from frontier_core.errors import ConfigError, FrontierError, UsageError
from frontier_core.lineage import digest_of, is_current, sidecar_path, write_sidecar
from trainer import ranks
from trainer.config import TrainerConfig, TrainingResult
from trainer.run_file import RunFile, read_run_settings
from trainer.sources import input_files, pinned

if TYPE_CHECKING:
    from frontier_ops.live import LiveReweighter

PRODUCER, RESULT = "TrainerEngine", "result.json"
OUTCOMES = ("global_step", "final_loss")
"""What a run's sidecar keeps of how it went, beside what was asked."""
StatusWriter = Callable[[int, int, float, float], None]


def read_config(path: str) -> dict[str, Any]:
    """Reads a run config (JSON, TOML or YAML by suffix). Raises UsageError or ConfigError naming the file."""
    file = Path(path)
    try:
        values = _parse(file.suffix, file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{file}: no such file", hint="frontier ships config/train.json") from error
    except ValueError as error:
        raise ConfigError(f"{file}: can't be parsed: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: holds no settings", hint="an object of key: value")
    return values


def _parse(suffix: str, text: str) -> Any:
    if suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    if suffix in (".yaml", ".yml"):
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    return orjson.loads(text)


def resolve_config(
    *, files: Sequence[str], model: str, output: str, config: str = "", overrides: dict[str, Any] | None = None
) -> tuple[TrainerConfig, dict[str, str]]:
    """Builds the run's config: defaults, then the file, then the flags; the last word wins.

    Args:
        files: the data.
        model: the model, checkpoint or run to start from; "" leaves it to the file's model_path.
        output: the run folder.
        config: a config file, "" for none.
        overrides: the flags; None stands for one that was not given.
    Returns:
        The config, and for each key that is not at its default where its value came from.
    Raises:
        ConfigError: an unknown key (names the nearest) or a value out of range.
    """
    found = read_run_settings(read_config(config), config) if config else RunFile()
    flags = {"train_files": list(files), "model_dir": model or None, "output_dir": output, **(overrides or {})}
    given = {key: value for key, value in flags.items() if value is not None}
    values = found.settings | given
    if "model_dir" not in values:
        raise UsageError("no model to start from", hint="--model DIR, or model_path in the config")
    if Path(values["model_dir"]).resolve() == Path(output).resolve():
        raise UsageError(f"{output}: is the model to start from", hint="write the run to another -o")
    resolved = TrainerConfig.from_mapping(values, origin=config or "command line")
    return resolved, found.origins | dict.fromkeys(given, "command line")


def is_first() -> bool:
    """Says whether this process is the one that speaks for its run: the first of several, or the only one."""
    return ranks.world()[0] == 0


def plan(config: TrainerConfig, origins: dict[str, str]) -> dict[str, Any]:
    """Gives what the run would do, without loading a training library: see `trainer.dry_run.plan_run`."""
    from trainer.dry_run import plan_run

    return plan_run(config, origins)


def live_reweighter(config: TrainerConfig) -> LiveReweighter:
    """Gives what turns a run's telemetry into its next policy while it goes on; `policy` is what it begins with."""
    from frontier_core.domains import load_domains, prior_weights
    from frontier_ops.live import LiveReweighter

    return LiveReweighter(
        Path(config.output_dir),
        prior_weights(load_domains(config.reweight_domains or None)),
        every=config.reweight_every,
        policy=config.reweight_method,
        initial=Path(config.policy) if config.policy else None,
    )


def finished_run(config: TrainerConfig) -> TrainingResult | None:
    """Gives the result of the run that the folder holds when training again would give the same, else None.

    The settings, the data, the model it starts from, a teacher and a policy must be those its sidecar names, by
    digest, and the run untouched. No training library is loaded.
    """
    run_dir = Path(config.output_dir)
    if not sidecar_path(run_dir).is_file() or not run_dir.is_dir():
        return None
    config = replace(config, train_files=pinned(config.train_files, run_dir))
    about: dict[str, Any] = {"stage": "train", "inputs": _inputs(config), "producer": PRODUCER, "seed": config.seed}
    if not is_current(run_dir, **about, params=_asked(config), outcomes=OUTCOMES):
        return None
    try:
        stored = orjson.loads((run_dir / RESULT).read_bytes())
        result = TrainingResult.from_mapping(stored)
    except (OSError, ValueError, TypeError):
        return None
    result.summary.update(status="already finished")
    os.utime(sidecar_path(run_dir))  # what `make` looks at
    return result if result.success else None


def drop_finished(config: TrainerConfig) -> None:
    """Removes the run that the folder holds, so that the next call of `train` begins at its first step.

    Raises:
        UsageError: a process trains into the folder, or this is one of several that would drop it under each other.
    """
    if ranks.world()[1] > 1:
        raise UsageError(
            "--force: several processes share this run", hint=f"rm -r {config.output_dir}, then start them"
        )
    from trainer.checkpoints import drop_run, run_lock
    from trainer.draws import READ_MARK, WEIGHT_LOG

    run_dir = Path(config.output_dir)
    if not run_dir.is_dir():
        return
    with run_lock(run_dir):
        sidecar_path(run_dir).unlink(missing_ok=True)
        drop_run(run_dir)
        for name in (WEIGHT_LOG, READ_MARK):
            (run_dir / name).unlink(missing_ok=True)


def _inputs(config: TrainerConfig) -> list[str]:
    return [*input_files(config.train_files), config.model_dir, *filter(None, [config.teacher_dir])]


def _asked(config: TrainerConfig) -> dict[str, Any]:
    """Gives the parameters of a run's sidecar that were asked for; a policy's digest is that of its last reading."""
    params: dict[str, Any] = {"config": config.to_mapping()}
    if config.policy and not config.reweight_every and Path(config.policy).is_file():
        params["policy_sha256"] = digest_of(Path(config.policy))
    return params


def train(
    config: TrainerConfig, *, origins: dict[str, str] | None = None, on_status: StatusWriter | None = None
) -> TrainingResult:
    """Runs the job in the one engine and writes the run's sidecar; a failed run raises FrontierError."""
    from trainer.engine import TrainerEngine

    config = replace(config, train_files=pinned(config.train_files, Path(config.output_dir)))
    asked = config
    monitors = []
    if config.reweight_every:
        live = live_reweighter(config)
        monitors.append(live)
        config = replace(config, policy=str(live.path))
    result = TrainerEngine(on_status).run_job(config, config_dict=origins, monitors=monitors)
    if not result.success:
        why = result.error_message or f"stopped at step {result.global_step}"
        raise FrontierError(f"training did not finish: {why}", hint="run it again to resume")
    if not is_first():
        return result  # the first process of several writes for all
    came_of = dict(zip(OUTCOMES, (result.global_step, result.final_loss), strict=True))
    about: dict[str, Any] = {"stage": "train", "inputs": _inputs(config), "producer": PRODUCER, "seed": config.seed}
    write_sidecar(Path(config.output_dir), **about, params=_asked(asked) | came_of)
    return result
