"""What a model in service leaves: our request log, OpenTelemetry GenAI spans, Prometheus metrics.

Source: OpenTelemetry, semantic conventions for generative AI, and OTLP/JSON; Prometheus, text exposition format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curriculum.cells import ERROR_PREFIX
from curriculum.readers.source import ALL, Source
from frontier_core.events import Key
from frontier_core.records import Record, TagStats, tag_of

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


# ---- our request log ----
def is_request(record: Record) -> bool:
    """Says whether a line is one of `frontier serve --request-log`."""
    return {"request_id", "release", "status", "latency_s"} <= record.keys()


def add_request(record: Record, source: Source) -> None:
    """Adds one request: did it succeed, how long it took, how much it said, what went wrong."""
    run_id, status = str(record["release"]), record["status"]
    source.add_trials(run_id, 0, ALL, "request_success", int(status == 200), 1)
    for metric in ("latency_s", "first_token_s", "prompt_tokens", "completion_tokens"):
        if record.get(metric) is not None:
            source.add_value(run_id, 0, ALL, metric, record[metric])
    if status != 200:
        _add_error(str(record.get("error") or f"http_{status}"), run_id, ALL, source)


def _add_error(kind: str, run_id: str, tag: str, source: Source) -> None:
    source.add(Key(run_id, 0, 0, tag, f"{ERROR_PREFIX}{kind}"), TagStats(n=1, total=1.0, total_sq=1.0))


# ---- OpenTelemetry ----
def is_spans(record: Record) -> bool:
    """Says whether a JSON object, or a line, holds OTLP spans."""
    return isinstance(record.get("resourceSpans"), list)


def add_spans(record: Record, source: Source) -> None:
    """Adds the spans of generative AI; others are counted as not read."""
    for resource in record["resourceSpans"]:
        service = _attributes(resource.get("resource") or {}).get("service.name")
        for scope in resource.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                _add_span(span, str(service or f"otel-{source.digest[:12]}"), source)


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """OTLP/JSON writes {key, value: {stringValue | intValue | doubleValue | boolValue}}; 64-bit numbers as text."""
    found: dict[str, Any] = {}
    for attribute in holder.get("attributes") or []:
        for kind, value in (attribute.get("value") or {}).items():
            found[attribute["key"]] = int(value) if kind == "intValue" else value
    return found


def _add_span(span: dict[str, Any], service: str, source: Source) -> None:
    about = _attributes(span)
    operation = about.get("gen_ai.operation.name")
    if operation is None:
        source.drop("spans that are not of generative AI not read")
        return
    run_id = str(about.get("gen_ai.response.model") or about.get("gen_ai.request.model") or service)
    error = about.get("error.type")
    failed = error is not None or (span.get("status") or {}).get("code") in (2, "STATUS_CODE_ERROR")
    is_tool = operation == "execute_tool"
    tag = f"tool={about['gen_ai.tool.name']}" if is_tool and "gen_ai.tool.name" in about else ALL
    source.add_trials(run_id, 0, tag, "tool_success" if is_tool else "request_success", int(not failed), 1)
    if failed:
        _add_error(f"{'tool_' if is_tool else ''}{error or 'unknown'}", run_id, tag, source)
    for name, metric in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
        if f"gen_ai.usage.{name}" in about:
            source.add_value(run_id, 0, tag, metric, about[f"gen_ai.usage.{name}"])
    began, ended = int(span.get("startTimeUnixNano") or 0), int(span.get("endTimeUnixNano") or 0)
    if 0 < began <= ended:
        source.add_value(run_id, 0, tag, "latency_s", (ended - began) / 1e9)


# ---- Prometheus ----
def is_metrics(head: bytes) -> bool:
    """Says whether a file begins like a page of metrics."""
    lines = [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return False
    found = _SAMPLE.match(lines[0])
    return lines[0].startswith(("# HELP ", "# TYPE ")) or (found is not None and _number(found[3]) is not None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def read_metrics(path: Path, source: Source) -> None:
    """Adds every sample of a scraped page; its labels skill and level are its tag, model_name its run."""
    for metric, labels, text in _samples(path.read_text(encoding="utf-8", errors="replace"), source):
        run_id = labels.get("model_name") or labels.get("release") or f"prometheus-{source.digest[:12]}"
        about: Record = {"skill": labels["skill"]} if "skill" in labels else {}
        if "level" in labels:
            about["level"] = labels["level"]
        rest = [
            f"{name}={labels[name]}" for name in sorted(labels.keys() - {"skill", "level", "model_name", "release"})
        ]
        tag = tag_of(about) if about else ",".join(rest) or ALL
        source.add_value(run_id, 0, tag, metric, _number(text))


def _samples(page: str, source: Source) -> Iterator[tuple[str, dict[str, str], str]]:
    for line in page.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = _SAMPLE.match(line)
        if found is None:
            source.drop("lines that are no sample dropped")
            continue
        labels = {
            name: value.replace('\\"', '"').replace("\\\\", "\\") for name, value in _LABEL.findall(found[2] or "")
        }
        yield found[1], labels, found[3]
