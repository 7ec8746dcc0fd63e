"""lm-evaluation-harness: a results file (`results_*.json`) and the lines of a samples file (`samples_TASK_*.jsonl`).

A task is a skill. Rates of right answers become trials; everything else stays a value. The results and the samples of
one run tell the same answers twice: give one of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from curriculum.readers.source import ACCURACY, Source, is_finite
from frontier_core.records import Record, tag_of

RATES = ("acc", "exact_match", "pass@1", "pass_at_1", "em", "strict_match")
"""Metrics that are a share of right answers; the first one there is becomes `accuracy`."""
_SAMPLES_NAME = re.compile(r"samples_(.+?)(?:_\d{4}-\d\d-\d\d.*)?$")
_NO_METRICS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
     "target_hash"}
)  # fmt: skip


def matches(document: dict[str, Any]) -> bool:
    """Says whether a JSON document is a results file."""
    return isinstance(document.get("results"), dict) and any(key in document for key in ("configs", "versions"))


def matches_line(record: Record) -> bool:
    """Says whether a line is one of a samples file."""
    return "doc_id" in record and "doc" in record and ("resps" in record or "filtered_resps" in record)


def read(document: dict[str, Any], source: Source) -> None:
    """Adds every task's metrics."""
    run_id = str(document.get("model_name_sanitized") or document.get("model_name") or f"lm-eval-{source.digest[:12]}")
    sizes = document.get("n-samples") or {}
    for task, results in document["results"].items():
        if not isinstance(results, dict):
            continue
        size = sizes.get(task, {}).get("effective", 0) if isinstance(sizes.get(task), dict) else 0
        values = {}
        for name, value in results.items():
            if name == "alias" or "_stderr" in name:
                continue
            metric, _, chosen = name.partition(",")
            if chosen in ("", "none") or metric not in values:
                values[metric] = value
        rate = next((name for name in RATES if name in values), None)
        for metric, value in values.items():
            if metric == rate and is_finite(value) and isinstance(size, int) and size > 0 and 0 <= value <= 1:
                source.add_trials(run_id, 0, _tag(task), ACCURACY, round(value * size), size)
            elif isinstance(value, str):
                source.drop("values that are no number not read")
            else:
                source.add_value(run_id, 0, _tag(task), metric, value)


def add_line(record: Record, source: Source) -> None:
    """Adds one answered sample; its task is in the file's name."""
    found = _SAMPLES_NAME.search(Path(source.name).name.partition(".jsonl")[0])
    task = found[1] if found else Path(source.name).stem
    run_id = f"lm-eval-{source.digest[:12]}"
    metrics = {name: value for name, value in record.items() if name not in _NO_METRICS and not isinstance(value, str)}
    rate = next((name for name in RATES if name in metrics), None)
    for metric, value in metrics.items():
        if metric == rate and value in (0, 1):
            source.add_trials(run_id, 0, _tag(task), ACCURACY, int(value), 1)
        elif isinstance(value, (int, float)):
            source.add_value(run_id, 0, _tag(task), metric, value)
        else:
            source.drop("values that are no number not read")


def _tag(task: str) -> str:
    return tag_of({"skill": task})
