"""`frontier train`: a config from its layers, one call of the engine, the run's sidecar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from frontier_core.errors import ConfigError, FrontierError, UsageError
from frontier_core.lineage import write_sidecar
from trainer import ranks
from trainer.config import TrainerConfig, TrainingResult
from trainer.run_file import RunFile, read_run_settings
from trainer.sources import input_files, pinned

if TYPE_CHECKING:
    from frontier_ops.live import LiveReweighter

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
    params = {"config": asked.to_mapping(), "global_step": result.global_step, "final_loss": result.final_loss}
    inputs = [*input_files(config.train_files), config.model_dir]
    write_sidecar(
        Path(config.output_dir), stage="train", inputs=inputs, seed=config.seed, producer="TrainerEngine", params=params
    )
    return result
