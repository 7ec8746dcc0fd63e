"""Rows of other tools' files, whatever holds them: JSON Lines, JSON, Parquet, folders of the datasets library.

    JSON Lines   one row a line, an object or a list of turns; .gz and .zst by suffix; UTF-16 and byte order marks read
    JSON         an array of rows, one row over many lines, or several such; the whole file is held in memory
    Parquet      row groups one after another
    folders      of `save_to_disk` (Arrow, splits), or of a hub checkout (data/*.parquet, *.jsonl, splits by file name)

A row that can't be read costs only itself; a file that can't be read at all raises DataError. What a row means is
dialects.py and imports.py.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from frontier_core.errors import DataError, UsageError
from frontier_core.jsonl import STDIN_NAME, dumps, loads, open_input

BATCH_ROWS = 512
_TEXT = (".jsonl", ".json", ".ndjson")
_SPLITS = ("train", "validation", "valid", "dev", "test", "eval")
_LFS = b"version https://git-lfs.github.com/spec/"
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class ForeignRow(NamedTuple):
    """One row: the file and its number there from 1 (a line of JSON Lines), its bytes, and its value or problem."""

    path: str
    number: int
    raw: bytes
    value: Any
    problem: DataError | None = None


class Part(NamedTuple):
    """One file to read, the split it belongs to ("" when nothing says so), and what kind of file it is."""

    path: Path
    split: str
    kind: str


def parts_of(source: str) -> list[Part]:
    """Gives the files that a path stands for: itself, or those of a datasets folder, in order.

    Raises:
        UsageError: there is no such file, or a folder holds no data.
    """
    path = Path(source)
    if source == "-":
        return [Part(path, "", "json")]
    if not path.exists():
        raise UsageError(f"{source}: no such file", hint="check the path, or use - for a pipe")
    if not path.is_dir():
        return [Part(path, "", kind_of(path))]
    arrow = sorted(path.glob("*.arrow")) or sorted(path.glob("*/*.arrow"))
    if arrow:
        return [Part(file, "" if file.parent == path else file.parent.name, "arrow") for file in arrow]
    found = sorted(file for file in path.rglob("*") if file.is_file() and kind_of(file) in ("parquet", "json"))
    found = [file for file in found if not _is_description(file, path)]
    if not found:
        raise UsageError(f"{source}: holds no .arrow, .parquet or .jsonl", hint="name a data file or a dataset folder")
    return [Part(file, _split_in(file, path), kind_of(file)) for file in found]


def kind_of(path: Path) -> str:
    """Gives "parquet", "arrow", "json" or, for a name that says none of these, "" (read as text)."""
    name = path.name.lower()
    for suffix in (".gz", ".zst"):
        name = name.removesuffix(suffix)
    if name.endswith((".parquet", ".arrow")):
        return name.rpartition(".")[2]
    return "json" if name.endswith(_TEXT) else ""


def _is_description(file: Path, folder: Path) -> bool:
    """Says whether a file describes a dataset instead of being its data, or is hidden."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    described = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json", "README.json")
    return hidden or file.name in described or file.name.endswith(".meta.json")


def _split_in(file: Path, folder: Path) -> str:
    """Gives the split that a file's name or its folder's begins with, as hub checkouts name them."""
    words = re.split(r"[-_./]", str(file.relative_to(folder)).lower())
    return next((split for split in _SPLITS if split in words), "")


def rows_in(part: Part) -> Iterator[ForeignRow]:
    """Yields the rows of one file, in order.

    Raises:
        DataError: it can't be read at all (a Git LFS pointer, a broken Parquet file, an empty file).
    """
    if part.kind == "parquet":
        return _parquet_rows(part.path)
    if part.kind == "arrow":
        return _arrow_rows(part.path)
    return _text_rows(str(part.path))


def _text_rows(source: str) -> Iterator[ForeignRow]:
    name = STDIN_NAME if source == "-" else source
    num = 0
    with closing(open_input(source)) as stream:
        try:
            head = stream.readline()
            _judge(head, name)
            if head.startswith(tuple(bom for bom, _ in _BOMS)) and not head.startswith(_BOMS[0][0]):
                rows = _lines_of(_decoded(head + stream.read(), name), name)
            elif _is_document(head.removeprefix(_BOMS[0][0])):
                rows = _document_rows(head.removeprefix(_BOMS[0][0]) + stream.read(), name)
            else:
                rows = _line_rows(head.removeprefix(_BOMS[0][0]), stream, name)
            for row in rows:
                num += 1
                yield row
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"the compressed stream is broken: {error}", path=name, code="broken_stream") from error
    if not num:
        raise DataError("holds no rows", path=name, code="empty")


def _judge(head: bytes, name: str) -> None:
    if not head:
        raise DataError("is empty", path=name, code="empty", hint="was the command before it interrupted?")
    if head.startswith(_LFS):
        raise DataError(
            "is a Git LFS pointer, not the data", path=name, code="lfs_pointer", hint=f"git lfs pull --include {name}"
        )
    if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        raise DataError(
            "is compressed, but its name does not say so", path=name, code="compressed", hint="rename it to .gz or .zst"
        )
    if head.startswith((b"PAR1", b"ARROW1")):
        raise DataError("is a Parquet or Arrow file by its bytes", path=name, code="wrong_name", hint="rename it")


def _decoded(data: bytes, name: str) -> bytes:
    try:
        return data.decode("utf-16").encode()
    except UnicodeError as error:
        raise DataError(f"is no valid UTF-16: {error}", path=name, code="utf16") from error


def _is_document(head: bytes) -> bool:
    """Says whether a first line opens JSON that goes on over further lines, or is a whole array of rows."""
    head = head.strip()
    if head[:1] not in (b"[", b"{"):
        return False
    try:
        value = orjson.loads(head)
    except ValueError:
        # A cut or broken row of JSON Lines is that line's problem; a document's first line ends where a value may.
        return len(head) == 1 or head[-1:] in b"[{,:"
    return isinstance(value, list) and not _is_turns(value)


def _is_turns(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], dict) and ("role" in value[0] or "from" in value[0])


def _document_rows(data: bytes, name: str) -> Iterator[ForeignRow]:
    """Yields the rows of JSON that is not one row a line: arrays of rows, and objects, one after another."""
    import json

    try:
        values = [loads(data)]
    except ValueError:
        values, text = [], _utf8(data, name)
        decoder, at = json.JSONDecoder(), 0
        while match := re.compile(r"\S").search(text, at):
            try:
                value, at = decoder.raw_decode(text, match.start())
            except ValueError as error:
                line = text.count("\n", 0, match.start()) + 1
                raise DataError(f"not valid JSON: {error}", path=name, line=line, code="invalid_json") from error
            values.append(value)
    number = 0
    for value in values:
        for row in value if isinstance(value, list) and not _is_turns(value) else [value]:
            number += 1
            yield ForeignRow(name, number, dumps(row), row)


def _utf8(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"invalid UTF-8 at byte {error.start + 1}", path=name, code="invalid_utf8") from error


def _lines_of(data: bytes, name: str) -> Iterator[ForeignRow]:
    head, _, rest = data.partition(b"\n")
    if _is_document(head):
        yield from _document_rows(data, name)
        return
    yield from _line_rows(head + b"\n", (line + b"\n" for line in rest.split(b"\n")), name)


def _line_rows(head: bytes, lines: Any, name: str) -> Iterator[ForeignRow]:
    from itertools import chain

    for number, raw in enumerate(chain([head], lines), 1):
        line = raw.strip()
        if line:
            yield _parsed(line, name, number, is_torn=not raw.endswith(b"\n") and not line.endswith(b"}"))


def _parsed(line: bytes, name: str, number: int, *, is_torn: bool) -> ForeignRow:
    try:
        return ForeignRow(name, number, line, loads(line))
    except RecursionError:
        problem = DataError("nested too deep", path=name, line=number, code="nesting")
    except ValueError as error:
        try:
            line.decode()
            code, message = "invalid_json", f"not valid JSON: {str(error).split(': line', 1)[0]}"
            if is_torn:
                code, message = "truncated_line", "the line is cut off: no closing brace and no newline"
        except UnicodeDecodeError as utf8:
            code, message = "invalid_utf8", f"invalid UTF-8 at byte {utf8.start + 1} of the line"
        problem = DataError(message, path=name, line=number, code=code)
    return ForeignRow(name, number, line, None, problem)


def _parquet_rows(path: Path) -> Iterator[ForeignRow]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                yield from _table_rows(batch, path, number)
                number += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"is no readable Parquet file: {error}", path=str(path), code="broken_parquet") from error
    if not number:
        raise DataError("holds no rows", path=str(path), code="empty")


def _arrow_rows(path: Path) -> Iterator[ForeignRow]:
    import pyarrow

    number = 0
    try:
        with pyarrow.memory_map(str(path)) as source:
            try:
                reader: Any = pyarrow.ipc.open_stream(source)
                batches = iter(reader)
            except pyarrow.ArrowInvalid:
                reader = pyarrow.ipc.open_file(source)
                batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
            for batch in batches:
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    part = batch.slice(start, BATCH_ROWS)
                    yield from _table_rows(part, path, number)
                    number += part.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"is no readable Arrow file: {error}", path=str(path), code="broken_arrow") from error
    if not number:
        raise DataError("holds no rows", path=str(path), code="empty")


def _table_rows(batch: Any, path: Path, before: int) -> Iterator[ForeignRow]:
    for number, row in enumerate(batch.to_pylist(), before + 1):
        value = _plain(row)
        try:
            raw = dumps(value)
        except (DataError, TypeError, ValueError) as error:
            problem = DataError(f"a value has no JSON form: {error}", path=str(path), line=number, code="no_json")
            yield ForeignRow(str(path), number, repr(row).encode(), None, problem)
            continue
        yield ForeignRow(str(path), number, raw, value)


def _plain(value: Any) -> Any:
    """Gives a value of a table as JSON has it: dates as text, and inside objects no keys that are null.

    A column of objects has every key in every row; those an object lacked come back as null.
    """
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None or key == "content"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    return value
