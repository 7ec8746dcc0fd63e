"""`frontier model layers` and `frontier model drift`: lines per weight to a file or pipe, a table for people."""

from __future__ import annotations

from typing import BinaryIO

from frontier_ops.stage_files import Target, write_lines
from trainer import introspect


def write_layers(model: str, output: str, *, pipe: BinaryIO | None = None) -> list[str]:
    """Writes a model's layer statistics and gives the table of layers; raises as `introspect.layer_stats`."""
    lines = list(introspect.layer_stats(model))
    write_lines(lines, Target(output=output, pipe=pipe), stage="model layers", sources=[model])
    return introspect.table(lines, ("num_params", "mean", "std", "norm", "max_abs"))


def write_drift(before: str, after: str, output: str, *, pipe: BinaryIO | None = None) -> list[str]:
    """Writes the drift between two models and gives the table of layers; raises as `introspect.layer_drift`."""
    lines = list(introspect.layer_drift(before, after))
    write_lines(lines, Target(output=output, pipe=pipe), stage="model drift", sources=[before, after])
    return introspect.table(lines, ("num_params", "drift", "relative", "cosine", "max_abs"))
