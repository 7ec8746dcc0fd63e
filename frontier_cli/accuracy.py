"""The accuracy table of an evaluation, as plain lines."""

from __future__ import annotations

from frontier_core.records import TagStats, wilson_interval


def accuracy_table(stats: dict[str, TagStats], mean: float) -> list[str]:
    """Gives a line per skill with its accuracy and 95% interval, then the mean over skills."""
    width = max(len(name) for name in stats)
    lines = []
    for name, value in stats.items():
        if name == "all":
            continue
        low, high = wilson_interval(value.successes, value.trials)
        counts = f"{value.successes}/{value.trials}"
        lines.append(f"{name:{width}}  {value.rate:6.1%}  {low:4.0%} - {high:4.0%}  {counts:>9}")
    return [*lines, f"{'mean over skills':{width}}  {mean:6.1%}"]
