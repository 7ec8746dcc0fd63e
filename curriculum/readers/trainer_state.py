"""`trainer_state.json` of Hugging Face trainers: loss and evaluation loss of all data."""

from __future__ import annotations

from typing import Any

from curriculum.readers.source import ALL, Source, is_finite
from frontier_core.errors import DataError
from frontier_core.events import Key
from frontier_core.records import TagStats

METRICS = ("loss", "eval_loss")


def matches(document: dict[str, Any]) -> bool:
    """Says whether a JSON document is a trainer's state."""
    return isinstance(document.get("log_history"), list)


def read(document: dict[str, Any], source: Source) -> None:
    """Takes loss and eval_loss; they are means over all data, so their tag is `all`."""
    run_id = f"hf-{source.digest[:12]}"
    others: set[str] = set()
    last = dict.fromkeys(METRICS, 0)
    for index, entry in enumerate(document["log_history"]):
        step = entry.get("step") if isinstance(entry, dict) else None
        if not isinstance(step, int) or step < 0:
            raise DataError(
                "an entry needs a step", path=source.name, pointer=f"/log_history/{index}/step", code="trainer_state"
            )
        for metric in METRICS:
            if metric not in entry:
                continue
            value = entry[metric]
            if not is_finite(value):
                source.drop(f"values of {metric} that are no finite number dropped")
                continue
            key = Key(run_id, min(last[metric] + 1, step), step, ALL, metric)
            source.add(key, TagStats(n=1, total=float(value), total_sq=float(value) ** 2))
            last[metric] = step
        others.update(entry.keys() - last.keys() - {"step", "epoch"})
    if others:
        source.drop(f"other metrics not read ({', '.join(sorted(others))})", len(others))
