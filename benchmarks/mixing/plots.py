"""Plots of finished runs: accuracy against tokens paid, and where the tokens went. Needs matplotlib; without, none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analysis import mean_accuracy, paid

COLOURS = {"frontier": "#c0392b", "uniform": "#222222"}
OTHERS = ("#4c78a8", "#72b7b2", "#54a24b", "#b279a2", "#9d755d", "#eeca3b", "#f58518", "#bab0ac")


def draw(runs: Sequence[dict[str, Any]], out: Path) -> list[Path]:
    """Draws one PNG a suite into a folder and gives the paths."""
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed", file=sys.stderr)
        return []
    import matplotlib

    matplotlib.use("agg")
    return [_suite(runs, suite, out / f"{suite}.png") for suite in dict.fromkeys(run["suite"] for run in runs)]


def _suite(runs: Sequence[dict[str, Any]], suite: str, path: Path) -> Path:
    from matplotlib import pyplot

    arms = list(dict.fromkeys(run["arm"] for run in runs if run["suite"] == suite))
    colours = dict(zip([arm for arm in arms if arm not in COLOURS], OTHERS, strict=False)) | COLOURS
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5), width_ratios=(3, 2), layout="constrained")
    for arm in sorted(arms, key=lambda arm: arm in COLOURS):  # ours and uniform on top
        chosen = [run for run in runs if (run["suite"], run["arm"]) == (suite, arm)]
        points = zip(*(run["curve"] for run in chosen), strict=True)
        line = []
        for column in points:
            tokens = sum(paid(point) for point in column) / len(column)
            accuracies = [mean_accuracy(run, point) for run, point in zip(chosen, column, strict=True)]
            line.append((tokens / 1000, 100 * sum(accuracies) / len(accuracies)))
        width = 2.4 if arm in COLOURS else 1.2
        left.plot(*zip(*line, strict=True), color=colours[arm], linewidth=width, label=f"{arm} (n={len(chosen)})")
    left.set(xlabel="thousand tokens paid, evaluation counted", ylabel="held-out accuracy, %", title=f"suite {suite}")
    left.legend(frameon=False, fontsize=8)
    left.grid(alpha=0.25)
    _tokens(runs, suite, right)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _tokens(runs: Sequence[dict[str, Any]], suite: str, axis: Any) -> None:
    """Bars: the share of tokens each domain got, ours beside uniform."""
    tags: list[str] = next(run["tags"] for run in runs if run["suite"] == suite)
    names = [tag.replace("skill=", "").replace(",level=", " ") for tag in tags]
    for offset, arm in ((-0.2, "uniform"), (0.2, "frontier")):
        chosen = [run for run in runs if (run["suite"], run["arm"]) == (suite, arm)]
        if not chosen:
            continue
        shares = [
            100 * sum(run["domain_tokens"][i] / sum(run["domain_tokens"]) for run in chosen) / len(chosen)
            for i in range(len(tags))
        ]
        axis.barh([i + offset for i in range(len(tags))], shares, height=0.38, color=COLOURS[arm], label=arm)
    axis.set_yticks(range(len(tags)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set(xlabel="share of training tokens, %", title="where the tokens went")
    axis.legend(frameon=False, fontsize=8)
