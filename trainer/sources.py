"""Where training records come from: files, a pipe, or a lake as it was at one moment.

A lake is named by its folder, or `DIR@N` for state N of it. A run names the state it began with, so that a lake that
grows meanwhile changes neither the run nor its resumption. Reading a stream's order is trainer/draws.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from frontier_core.errors import ConfigError, DataError
from frontier_core.jsonl import Row, parse_line, read_rows

RESOLVED = "config.resolved.json"
"""In a run folder: the config it runs with."""


def is_lake(source: str | Path) -> bool:
    """Says whether a source names a lake, there or not: a folder, or a folder's state `DIR@N`."""
    name, sign, number = str(source).rpartition("@")
    return Path(source).is_dir() or bool(sign and number.isdecimal() and Path(name).is_dir())


def rows_of(source: str | Path, *, notes: list[str] | None = None) -> Iterator[Row]:
    """Yields the rows of a source; a lake's in its own order, with shard and line as their place.

    Args:
        source: a file, "-" for a pipe, or a lake.
        notes: gets remarks about a whole file.
    Raises:
        UsageError: no such file, a folder that is no lake, an empty lake, or no such state of it.
        DataError: what can't be read as a whole.
    """
    if not is_lake(source):
        yield from read_rows(source, notes=notes)
        return
    from frontier_core.lake import lake_parts

    for part in lake_parts(source):
        for number, line in enumerate(part.lines(), 1):
            yield parse_line(line, path=part.name, number=number)


def pinned(sources: Sequence[str], run_dir: Path) -> tuple[str, ...]:
    """Gives the sources with the state of each lake named: that of the run in the folder, else the newest.

    Raises:
        UsageError: a folder that is no lake.
        DataError: the folder's resolved config can't be read.
    """
    if not any(Path(source).is_dir() for source in sources):
        return tuple(sources)
    from frontier_core.lake import Lake

    before = _sources_of(run_dir / RESOLVED)
    found = []
    for place, source in enumerate(sources):
        if Path(source).is_dir():
            old = before[place] if place < len(before) else ""
            newest = Lake.open(source).generation
            if old.rpartition("@")[0] == source and is_lake(old):
                source = old
            elif newest:
                source = f"{source}@{newest}"
        found.append(source)
    return tuple(found)


def _sources_of(path: Path) -> list[str]:
    """Gives the sources of the run whose resolved config this is; none without one."""
    try:
        return list(orjson.loads(path.read_bytes())["config"]["train_files"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("is no resolved config", path=str(path), code="invalid_json", hint=f"remove {path}") from error


def stream_source(sources: Sequence[str]) -> dict[str, Any]:
    """Gives what a stream takes: its files, or the one lake.

    Raises:
        ConfigError: a lake beside other sources.
    """
    if not any(map(is_lake, sources)):
        return {"files": list(sources)}
    if len(sources) > 1:
        raise ConfigError("train_files: a stream draws from one lake, or from files", hint="frontier lake add FILE...")
    return {"lake": sources[0]}


def input_files(sources: Iterable[str]) -> list[str]:
    """Gives the files a run's sidecar names as its inputs: of a lake the manifest, which names its shards by digest."""
    found = []
    for source in sources:
        if is_lake(source):
            from frontier_core.lake import Lake, manifest_path

            lake = Lake.open(source)
            source = str(manifest_path(lake.path, lake.generation))
        found.append(source)
    return found
