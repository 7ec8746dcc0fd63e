"""`frontier stream`, end to end: a stream's lines to a pipe or a file with its sidecar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import UsageError
from frontier_core.lineage import Tally
from frontier_core.stream import BLOCK, Stream
from frontier_ops.stage_files import StageWriter, Target


def parse_weights(text: str) -> dict[str, float]:
    """Reads `web=0.4;code=0.6`: names may hold `=` and `,`, so the last `=` counts and `;` parts.

    Raises:
        UsageError: a part without a number.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, sign, number = part.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise UsageError(f"--weights: {part!r} is no NAME=NUMBER", hint="--weights 'web=0.4;code=0.6'")
    return found


def named_files(files: Sequence[str]) -> dict[str, str]:
    """Gives domain -> file: a file's name without `.jsonl`, its whole path where two are called alike.

    Raises:
        UsageError: a file is named twice.
    """
    short = [Path(file).name.removesuffix(".jsonl") for file in files]
    named = {(name if short.count(name) == 1 else file): file for name, file in zip(short, files, strict=True)}
    if len(named) < len(files):
        twice = next(file for file in files if list(files).count(file) > 1)
        raise UsageError(f"{twice}: is named twice", hint="--weights says how often its records come")
    return named


def stream_lines(
    stream: Stream, target: Target, *, num: int, start: int = 0, on_progress: Callable[[int], None] | None = None
) -> Tally:
    """Writes samples `start` to `start + num` of a stream, each line as it stands in its file.

    Args:
        stream: what to draw.
        target: where to.
        num: how many; fewer where the data ends.
        start: global position of the first.
        on_progress: told how many are written.
    Returns:
        How many came from each domain.
    """
    sources = [part.name for part in stream.corpus.parts]
    about: dict[str, Any] = {"seed": stream.seed, "params": {"stream": stream.describe(), "start": start, "num": num}}
    with StageWriter(target, "stream", sources, **about) as writer:
        stop = start + num
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            lines = stream.lines(first, last)
            if not all(map(_is_record, lines)):
                stream.records(first, last)  # says which line is none, before it is passed on
            for line in lines:
                writer.output.write_raw(line)
            writer.result.tally.tags.update(stream.domains(first, last))
            if on_progress:
                on_progress(first - start + len(lines))
            if len(lines) < last - first:
                break
    return writer.result.tally


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except ValueError:
        return False


def describe_stream(stream: Stream, num: int) -> dict[str, Any]:
    """Gives what a stream is made of: domains, sizes, weights and what the first `num` samples would hold."""
    weights, counts = stream.weights(), stream.counts(num)
    return {
        "seed": stream.seed,
        "corpus": stream.corpus.digest,
        "num_records": stream.corpus.num,
        "num_files": len(stream.corpus.parts),
        "weight_log": stream.weight_log()[-1]["digest"],
        "domains": [
            {
                "name": name,
                "num": size,
                "weight": weights[name],
                "of_first": counts[name],
                "epochs": counts[name] / size,
            }
            for name, size in stream.sizes.items()
        ],
    }
