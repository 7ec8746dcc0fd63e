"""From what a person types, or a file says, to job specs."""

from __future__ import annotations

from typing import Any

import orjson

from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import read_rows
from frontier_ops.jobs.job import JobSpec


def read_payload(text: str, model: str = "") -> dict[str, Any]:
    """Gives a payload from its JSON text, with the model's identity in it when one is named."""
    try:
        payload = orjson.loads(text)
    except ValueError as error:
        raise ConfigError(f"--payload is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise ConfigError("--payload must be a JSON object")
    return payload | ({"checkpoint_id": model} if model else {})


def spec_of(argv: list[str], inputs: list[str], outputs: list[str], values: dict[str, Any]) -> JobSpec:
    """Gives a spec from a command line's parts; raises ConfigError when they make none."""
    return JobSpec.from_mapping({**values, "argv": argv, "inputs": inputs, "outputs": outputs})


def read_specs(source: str) -> list[JobSpec]:
    """Gives the specs of a file, a JSON object a line; one bad line and none is queued.

    Raises:
        DataError: a line is not JSON, or no job; names file and line.
    """
    specs = []
    for row in read_rows(source):
        if row.problem is not None:
            raise row.problem
        try:
            specs.append(JobSpec.from_mapping(row.record))
        except ConfigError as error:
            raise DataError(error.message, path=row.path, line=row.number, code="job", hint=error.hint) from error
    return specs
