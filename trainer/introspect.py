"""What a model is made of and how it moves: statistics of every weight, and the drift of each between two checkpoints.

Reads safetensors one weight at a time, so a model of any size takes the memory of its largest weight and no model is
ever built. Activations and gradients are not covered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from frontier_core.errors import ConfigError
from frontier_core.records import Record
from trainer.checkpoints import resolve_model

WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
INDEX = "model.safetensors.index.json"
NOISE_SHARE = 1e-3
"""Weights whose drift is below this share of their size count as not moved."""
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


class Spot(NamedTuple):
    """Where a weight stands: its name, and the file that holds it."""

    name: str
    file: Path


def layer_of(name: str) -> str:
    """Gives the layer a weight belongs to: `model.layers.3.mlp.up_proj.weight` -> `layers.3`, else its first own word.

    `model.embed_tokens.weight` -> `embed_tokens`, `lm_head.weight` -> `lm_head`.
    """
    found = _LAYER.search(name)
    if found:
        return f"layers.{int(found[1])}"
    words = [word for word in name.split(".") if word not in ("model", "base_model", "weight", "bias")]
    return words[0] if words else name


def layer_stats(model_dir: str | Path) -> Iterator[Record]:
    """Yields one `layer_stats` line per weight, in layer order, then one per layer and one for the model.

    A line holds num_params, mean, std, norm, max_abs, zero_share (exact zeros) and, for a weight, its shape and dtype.

    Raises:
        UsageError, ConfigError: no model there, or one that holds no safetensors.
    """
    folder = resolve_model(model_dir)
    sums: dict[str, _Moments] = {}
    for spot, tensor in _tensors(_spots(folder)):
        own = _Moments.of(tensor)
        layer = layer_of(spot.name)
        for key in (f"layer {layer}", "model"):
            sums[key] = sums.get(key, _Moments()) + own
        shape = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
        yield {
            "kind": "layer_stats",
            "scope": "weight",
            "layer": layer,
            "weight": spot.name,
            **shape,
            **own.to_record(),
        }
    for key, moments in sorted(sums.items(), key=lambda item: _order(item[0])):
        scope, _, layer = key.partition(" ")
        yield {"kind": "layer_stats", "scope": scope, "layer": layer or "all", **moments.to_record()}


def layer_drift(before_dir: str | Path, after_dir: str | Path) -> Iterator[Record]:
    """Yields one `layer_drift` line per weight that both models have, then one per layer and one for the model.

    drift is the norm of the change, relative the same over the norm before, cosine the angle's cosine between the
    weights before and after, moved_share the share of numbers that changed at all.

    Raises:
        ConfigError: the models differ in their weights' names or shapes; names the first.
    """
    before, after = _spots(resolve_model(before_dir)), _spots(resolve_model(after_dir))
    names = {spot.name for spot in before}, {spot.name for spot in after}
    if names[0] != names[1]:
        odd = sorted(names[0] ^ names[1])
        raise ConfigError(
            f"{before_dir} and {after_dir} are models of another make: only one has {odd[0]}",
            hint=f"{len(odd)} weights have no counterpart; compare checkpoints of one run, or merge the adapter first",
        )
    sums: dict[str, _Change] = {}
    where = {spot.name: spot for spot in after}
    for spot, old in _tensors(before):
        new = next(iter(_tensors([where[spot.name]])))[1]
        if old.shape != new.shape:
            shapes = f"{list(old.shape)} and {list(new.shape)}"
            raise ConfigError(f"{spot.name} has shapes {shapes}", hint="compare checkpoints of one run")
        own = _Change.of(old, new)
        layer = layer_of(spot.name)
        for key in (f"layer {layer}", "model"):
            sums[key] = sums.get(key, _Change()) + own
        yield {"kind": "layer_drift", "scope": "weight", "layer": layer, "weight": spot.name, **own.to_record()}
    for key, change in sorted(sums.items(), key=lambda item: _order(item[0])):
        scope, _, layer = key.partition(" ")
        yield {"kind": "layer_drift", "scope": scope, "layer": layer or "all", **change.to_record()}


def table(lines: Iterable[Record], columns: tuple[str, ...]) -> list[str]:
    """Gives the lines of layers and model as a table of text: one row a layer, numbers to four digits."""
    rows = [line for line in lines if line["scope"] != "weight"]
    width = max((len(row["layer"]) for row in rows), default=5)
    head = f"{'layer':{width}}  " + "  ".join(f"{column:>11}" for column in columns)
    return [head, *(f"{row['layer']:{width}}  " + "  ".join(f"{row[c]:>11.4g}" for c in columns) for row in rows)]


class _Moments(NamedTuple):
    n: int = 0
    total: float = 0.0
    total_sq: float = 0.0
    max_abs: float = 0.0
    zeros: int = 0

    @staticmethod
    def of(tensor: Any) -> _Moments:
        flat = tensor.double().flatten()
        most = flat.abs().max().item() if flat.numel() else 0.0
        return _Moments(
            flat.numel(), flat.sum().item(), flat.square().sum().item(), most, int((flat == 0).sum().item())
        )

    def __add__(self, other: object) -> _Moments:
        assert isinstance(other, _Moments)
        return _Moments(
            self.n + other.n,
            self.total + other.total,
            self.total_sq + other.total_sq,
            max(self.max_abs, other.max_abs),
            self.zeros + other.zeros,
        )

    def to_record(self) -> Record:
        mean = self.total / self.n if self.n else 0.0
        return {
            "num_params": self.n,
            "mean": mean,
            "std": sqrt(max(0.0, self.total_sq / self.n - mean * mean)) if self.n else 0.0,
            "norm": sqrt(self.total_sq),
            "max_abs": self.max_abs,
            "zero_share": self.zeros / self.n if self.n else 0.0,
        }


class _Change(NamedTuple):
    n: int = 0
    moved: int = 0
    change_sq: float = 0.0
    before_sq: float = 0.0
    after_sq: float = 0.0
    dot: float = 0.0
    max_abs: float = 0.0

    @staticmethod
    def of(before: Any, after: Any) -> _Change:
        old, new = before.double().flatten(), after.double().flatten()
        change = new - old
        return _Change(
            old.numel(),
            int((change != 0).sum().item()),
            change.square().sum().item(),
            old.square().sum().item(),
            new.square().sum().item(),
            (old * new).sum().item(),
            change.abs().max().item() if change.numel() else 0.0,
        )

    def __add__(self, other: object) -> _Change:
        assert isinstance(other, _Change)
        return _Change(
            self.n + other.n,
            self.moved + other.moved,
            self.change_sq + other.change_sq,
            self.before_sq + other.before_sq,
            self.after_sq + other.after_sq,
            self.dot + other.dot,
            max(self.max_abs, other.max_abs),
        )

    def to_record(self) -> Record:
        norms = sqrt(self.before_sq * self.after_sq)
        relative = sqrt(self.change_sq / self.before_sq) if self.before_sq else 0.0
        return {
            "num_params": self.n,
            "drift": sqrt(self.change_sq),
            "relative": relative,
            "cosine": min(1.0, self.dot / norms) if norms else 1.0,
            "max_abs": self.max_abs,
            "moved_share": self.moved / self.n if self.n else 0.0,
            "is_moved": relative > NOISE_SHARE,
        }


def _order(key: str) -> tuple[int, int, str]:
    """Layers by number, then the other parts by name, the whole model last."""
    scope, _, layer = key.partition(" ")
    number = layer.removeprefix("layers.")
    return (scope == "model", int(number) if number.isdigit() else 1 << 30, layer)


def _spots(folder: Path) -> list[Spot]:
    """Every weight of a model folder, in layer order."""
    from safetensors import safe_open

    index = folder / INDEX
    if index.is_file():
        shards = orjson.loads(index.read_bytes())["weight_map"]
        spots = [Spot(name, folder / shard) for name, shard in shards.items()]
    else:
        files = [folder / name for name in WEIGHTS if (folder / name).is_file()]
        if not files:
            raise ConfigError(f"{folder}: holds no safetensors", hint="save the model with save_pretrained")
        spots = []
        for file in files:
            with safe_open(file, framework="pt") as opened:
                spots += [Spot(name, file) for name in opened.keys()]  # noqa: SIM118 (not a dict)
    return sorted(spots, key=lambda spot: (_order(f"layer {layer_of(spot.name)}"), spot.name))


def _tensors(spots: Iterable[Spot]) -> Iterator[tuple[Spot, Any]]:
    from safetensors import safe_open

    for spot in spots:
        with safe_open(spot.file, framework="pt") as opened:
            yield spot, opened.get_tensor(spot.name)
