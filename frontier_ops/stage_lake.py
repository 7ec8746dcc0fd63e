"""The `frontier lake` commands that write files: queries and exports with their sidecars, adds with rejects."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from frontier_core.atomic import AtomicFile
from frontier_core.index_where import Where
from frontier_core.jsonl import Output, Row, loads
from frontier_core.lake import SHARDS, Lake, query
from frontier_core.lake_write import Added, add
from frontier_core.lineage import is_current, sidecar_path, write_sidecar
from frontier_core.records import metadata_of, tag_of
from frontier_core.rejects import reject_record
from frontier_ops.stage_files import StageResult, StageWriter, Target, earlier

GROUP_RECORDS = 16_384
"""Records in a row group of a Parquet file."""


def add_files(
    lake: Path,
    sources: list[str],
    *,
    license_name: str = "",
    rejects: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> Added:
    """Adds files to a lake; with `rejects`, lines that are no record go there instead of ending everything."""
    with ExitStack() as stack:
        output = stack.enter_context(Output(rejects)) if rejects else None

        def keep(row: Row) -> None:
            problem = row.problem
            if output is not None and problem is not None:
                code, message = problem.code, problem.problem
                output.write(reject_record(row.raw, path=row.path, line=row.number, code=code, message=message))

        on_reject = keep if output is not None else None
        return add(lake, sources, license_name=license_name, on_reject=on_reject, on_progress=on_progress)


def query_lines(
    lake: Lake, where: Where, target: Target, *, limit: int | None = None, stage: str = "lake query"
) -> StageResult:
    """Writes the records that pass, as they stand in the lake; a file that has them already is left as it is."""
    params: dict[str, Any] = {"where": where.text, "lake": str(lake.path), "generation": lake.generation}
    params |= {} if limit is None else {"limit": limit}
    if done := earlier(target, stage, _inputs(lake), producer="", params=params):
        return done
    with StageWriter(target, stage, _inputs(lake), params=params) as writer:
        for _, _, line in query(lake, where, limit=limit):
            writer.output.write_raw(line)
            writer.result.tally.tags[tag_of(metadata_of(loads(line)))] += 1
    return writer.result


def _inputs(lake: Lake) -> list[str]:
    return [str(lake.path / SHARDS / shard.file_name) for shard in lake.shards]


class _Sink(io.RawIOBase):
    """What pyarrow takes for a file: hands bytes on, and leaves closing to the file itself."""

    def __init__(self, file: AtomicFile) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(bytes(data))


def export_parquet(
    lake: Lake, where: Where, target: Path, *, on_progress: Callable[[int], None] | None = None
) -> tuple[int, bool]:
    """Writes the records that pass as Parquet: each metadata key a column, the whole record as JSON in `record`.

    Gives how many, and whether the file had them already.

    A key whose values are all texts, whole numbers, numbers or truth values is a column of that type; other values are
    JSON. Constant memory: 16,384 records at a time.

    Raises:
        ModuleNotFoundError: pyarrow (the extra `parquet`) is not installed.
    """
    params: dict[str, Any] = {"where": where.text, "lake": str(lake.path), "generation": lake.generation}
    about: dict[str, Any] = {"stage": "lake export", "inputs": _inputs(lake), "producer": ""}
    if meta := is_current(target, **about, params=params, outcomes=["num_records"]):
        os.utime(sidecar_path(target))  # what `make` looks at
        return int(meta["params"]["num_records"]), True
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = _kinds(lake)
    types = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "json": pa.string()}
    schema = pa.schema([pa.field(key, types[kind]) for key, kind in kinds.items()] + [pa.field("record", pa.string())])
    num = 0
    with (
        AtomicFile(target) as file,
        pq.ParquetWriter(pa.PythonFile(_Sink(file), mode="w"), schema, compression="zstd") as writer,
    ):
        for lines in _batches(lake, where):
            rows = [metadata_of(loads(line)) for line in lines]
            columns = [[_cell(row.get(key), kind) for row in rows] for key, kind in kinds.items()]
            columns.append([line.decode() for line in lines])
            writer.write_table(pa.table(columns, schema=schema))
            num += len(lines)
            if on_progress:
                on_progress(num)
    write_sidecar(target, **about, params=params | {"num_records": num})
    return num, False


def _batches(lake: Lake, where: Where) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    for _, _, line in query(lake, where):
        lines.append(line)
        if len(lines) == GROUP_RECORDS:
            yield lines
            lines = []
    if lines:
        yield lines


def _kinds(lake: Lake) -> dict[str, str]:
    """Gives the kind of each metadata key's column, from the indexes alone; a key with very many values is JSON."""
    found: dict[str, set[str]] = {}
    for shard in lake.shards:
        columns = lake.part(shard).columns()
        for key in columns.wide:
            found.setdefault(key, set()).add("json")
        for key, column in columns.columns.items():
            found.setdefault(key, set()).update(_kind(value) for value in column.values if value is not None)
    kinds = {}
    for key in sorted(found.keys() - {"record"}):  # a key of that name stays in the record alone
        names = found[key]
        only = next(iter(names)) if len(names) == 1 else "float" if names == {"int", "float"} else "json"
        kinds[key] = only
    return kinds


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "json"
    return "float" if isinstance(value, float) else "json"


def _cell(value: Any, kind: str) -> Any:
    if value is None or kind != "json":
        return float(value) if kind == "float" and value is not None else value
    from frontier_core.jsonl import dumps

    return dumps(value).decode()
