"""Trackers a run tells beside its own telemetry, through transformers' own integrations."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec
from typing import Any

from frontier_core.errors import ConfigError, EnvironmentMissing
from frontier_core.nearest import did_you_mean

TRACKERS = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny"}
"""Name, which is also the module's, -> what installs it."""


def names_of(report_to: str) -> list[str]:
    """Gives the trackers a run is to tell."""
    return [name.strip() for name in report_to.split(",") if name.strip()]


def told_as(name: str, report_to: str) -> str:
    """Gives a metric's name as all of a run's trackers take it.

    MLflow refuses the signs a tag is written with, and can't keep a `loss/...` beside the `loss` of the Trainer.
    """
    return "train/" + name.replace("=", ":").replace(",", " ") if "mlflow" in names_of(report_to) else name


def check_trackers(report_to: str) -> None:
    """Refuses a tracker that is not known or not installed.

    Raises:
        ConfigError: not one of `TRACKERS`; names the nearest.
        EnvironmentMissing: its package is not there.
    """
    for name in names_of(report_to):
        if name not in TRACKERS:
            raise ConfigError(f"report_to: unknown tracker {name!r}", hint=did_you_mean(name, TRACKERS))
        if find_spec(name) is None:
            hint = f"pip install {TRACKERS[name]}, or leave it out of report_to"
            raise EnvironmentMissing(f"report_to: {name} is not installed", hint=hint)


def guard_trackers(callbacks: Iterable[Any]) -> None:
    """Makes what a tracker refuses to begin for (no key, no such store) an error of the machine, with its own words."""
    for callback in callbacks:
        if type(callback).__module__.startswith("transformers.integrations") and hasattr(callback, "setup"):
            callback.setup = partial(_set_up, callback.setup, type(callback).__name__.removesuffix("Callback").lower())


def _set_up(setup: Any, name: str, *given: Any, **more: Any) -> None:
    try:
        setup(*given, **more)
    except Exception as error:
        # Whatever a foreign client raises: the run can't begin with it.
        message = " ".join(str(error).split()) or type(error).__name__
        raise EnvironmentMissing(f"report_to: {name}: {message}", hint="or leave it out of report_to") from error
