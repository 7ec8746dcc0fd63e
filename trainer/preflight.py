"""What can be known to fail before a model is loaded: memory, disk, an adapter or a library that is not there.

Sizes come from the model's files; no weight is read. Activations are not counted: what is refused here could not have
held even the weights, the gradients and the optimizer's moments.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import EnvironmentMissing
from trainer.adapters import check_adapter
from trainer.config import TrainerConfig
from trainer.trackers import check_trackers

_WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
TRAINED_COPIES = 4
"""Weights, gradients and two moments, each of four bytes a parameter."""
KEPT_COPIES = 3
"""What a checkpoint holds of each parameter: the weight and two moments."""
GIB = 2**30
TRL = "1.16"


def preflight(config: TrainerConfig, model_dir: Path, run_dir: Path) -> None:
    """Refuses a run that can't go well on this machine.

    Args:
        config: the run.
        model_dir: its model's folder.
        run_dir: where it will write; need not exist.
    Raises:
        ConfigError: an unknown tracker.
        EnvironmentMissing: too little memory or disk, or a part is missing; says how much, and what helps.
    """
    check_adapter(config)
    check_trackers(config.report_to)
    if config.method == "grpo":
        _check_trl()
    num_params = parameters_on_disk(model_dir)
    _check_disk(config, num_params, run_dir)
    _check_memory(config, num_params)


def parameters_on_disk(model_dir: Path) -> int:
    """Gives about how many parameters a model folder holds, from the bytes of its weight files and their type."""
    files = {path for pattern in _WEIGHT_FILES for path in model_dir.glob(pattern)}
    has_safetensors = any(path.suffix == ".safetensors" for path in files)
    size = sum(path.stat().st_size for path in files if path.suffix == ".safetensors" or not has_safetensors)
    return size // _BYTES.get(_dtype(model_dir), 4)


def _dtype(model_dir: Path) -> str:
    try:
        settings: Any = orjson.loads((model_dir / "config.json").read_bytes())
    except (OSError, ValueError):
        return "float32"
    return str(settings.get("dtype") or settings.get("torch_dtype") or "float32")


def _check_disk(config: TrainerConfig, num_params: int, run_dir: Path) -> None:
    """A new checkpoint is whole before an old one goes, so one more than `keep_last` must fit."""
    copies = KEPT_COPIES if config.adapter == "none" else 1
    needed = (config.keep_last + 1) * copies * 4 * num_params
    place = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise EnvironmentMissing(
            f"{run_dir}: {free / GIB:.1f} GiB are free, {config.keep_last + 1} checkpoints take {needed / GIB:.1f}",
            hint="free some space, write elsewhere with -o, or lower keep_last",
        )


def _check_memory(config: TrainerConfig, num_params: int) -> None:
    copies = TRAINED_COPIES if config.adapter == "none" else 1
    needed = (copies + (config.method == "grpo" and config.kl_beta > 0)) * 4 * num_params
    if config.adapter == "qlora":
        needed = num_params // 2
    free, where = _free_memory(config)
    if free is not None and free < needed:
        hint = (
            "adapter lora trains a fraction of the parameters" if config.adapter == "none" else "take a smaller model"
        )
        raise EnvironmentMissing(
            f"{where}: {free / GIB:.1f} GiB are free; this run's parameters alone take {needed / GIB:.1f}", hint=hint
        )


def _free_memory(config: TrainerConfig) -> tuple[int | None, str]:
    """Free bytes of where the model will live, None when nobody can tell; and its name."""
    if config.device == "auto":
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.mem_get_info()[0]), "the GPU"
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024, "this machine"
    except (OSError, KeyError, ValueError):
        return None, os.uname().sysname


def _check_trl() -> None:
    hint = "pip install 'frontier-data-engine[rl]'"
    try:
        found = version("trl")
    except PackageNotFoundError as error:
        raise EnvironmentMissing("method grpo: trl is not installed", hint=hint) from error
    if not found.startswith(f"{TRL}."):
        raise EnvironmentMissing(f"method grpo: trl {found} is not the supported {TRL}", hint=hint)
