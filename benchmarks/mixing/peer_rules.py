"""Peers' own code behind our policy interface, where it is installed: IBM's fms-acceleration-odm.

The package pins torch 2.8 and an older transformers, so it doesn't install beside this stack with its dependencies:

    pip install --no-deps fms-acceleration-odm torchdata==0.11.0

is enough for what is used here, the class whose `_update_weights` is its rule. Its package root imports a plug-in
framework that it doesn't declare, so the module is loaded past the root; nothing of it is copied or changed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from curriculum.cells import CellStats
from curriculum.policy import POLICIES
from curriculum.settings import PolicySettings
from curriculum.shares import next_round, normalised, plain_lines
from frontier_core.allocation import PolicyLine

PACKAGE = "fms_acceleration_odm"
GAMMA, ETA = 0.1, 0.3
"""The package's defaults."""
CLUSTERING = ("sentence_transformers",)


@lru_cache(maxsize=1)
def _mixing_class() -> Any:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    if PACKAGE not in sys.modules:
        root = ModuleType(PACKAGE)
        root.__path__ = list(spec.submodule_search_locations)
        root.__spec__ = spec
        sys.modules[PACKAGE] = root
    absent = [name for name in CLUSTERING if find_spec(name.partition(".")[0]) is None]
    sys.modules |= {name: _Nothing(name) for name in absent}
    try:
        return import_module(f"{PACKAGE}.odm.dataset").OnlineMixingDataset
    except ImportError as error:
        print(f"{PACKAGE} can't be loaded: {error}", file=sys.stderr)
        return None
    finally:
        for name in absent:
            del sys.modules[name]


class _Nothing(ModuleType):
    """Stands in for a library that only the clustering of unlabelled data would use."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def fms_odm(
    domains_prior: Mapping[str, float],
    stats: Mapping[str, CellStats],
    previous: Sequence[PolicyLine] | None,
    *,
    settings: PolicySettings,  # noqa: ARG001
    round_number: int | None = None,
) -> list[PolicyLine]:
    """Gives what the package's Exp3 gives with the training loss as reward, each domain's true mean loss.

    (As shipped it credits the whole batch's loss to the last drawn domain; here it gets better telemetry than that.)
    """
    import torch

    kind = _mixing_class()
    priors = normalised(domains_prior)
    tags = list(priors)
    states = {line.tag: dict(line.state) for line in previous or ()}
    mixer = object.__new__(kind)  # its constructor wants data sets; its rule needs none
    mixer.gamma, mixer.eta, mixer.total_categories = GAMMA, ETA, len(tags)
    mixer.sampling_weights = torch.tensor([states.get(tag, {}).get("arm", 1.0) for tag in tags], dtype=torch.float64)
    mixer._update_sampling_ratio(mixer.sampling_weights)
    losses = [stats[tag].loss.mean if tag in stats and stats[tag].loss.n else 0.0 for tag in tags]
    ratio = mixer._update_weights([1] * len(tags), losses) if stats else mixer.sampling_ratio
    arms = (mixer.sampling_weights / mixer.sampling_weights.max()).tolist()  # only their ratios count
    return plain_lines(
        priors,
        dict(zip(tags, ratio, strict=True)),
        previous,
        number=next_round(previous) if round_number is None else round_number,
        reasons={tag: f"fms_odm: loss {loss:.3g}" for tag, loss in zip(tags, losses, strict=True)},
        states={tag: {"arm": arm} for tag, arm in zip(tags, arms, strict=True)},
    )


def register() -> bool:
    """Adds the peer to the policies; False when it is not installed."""
    if _mixing_class() is None:
        return False
    POLICIES["fms_odm"] = fms_odm
    return True
