"""JSON Lines in and out: exact numbers, a line number for every problem, `-` for a pipe, .gz and .zst by suffix.

Verdicts on the whole file come first (empty, UTF-16, BOM, Git LFS pointer, pretty-printed JSON): they explain a
thousand bad lines in one. A bad line never costs another line. Judging what a record *says* is the gates' business.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import orjson

from frontier_core.atomic import AtomicFile
from frontier_core.errors import DataError, EnvironmentMissing, UsageError
from frontier_core.records import Record

STDIN_NAME = "<stdin>"
HEAD_BYTES = 65536
CHUNK_BYTES = 65536
CHUNK_LINES = 128
FLUSH_AFTER_S = 0.05
# orjson reads an integer beyond 64 bits as a float; 19 digits are where that can begin.
_LONG_NUMBER = b"0" * 19
_DIGITS_ALIKE = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
# Whole integers only: neither a fraction or an exponent, nor digits inside one, nor with a leading zero.
_LONG_INTEGER = re.compile(rb"(?<![^\s:,\[\-])(?<![eE]-)[1-9]\d{18,}(?![^\s,\]}])")


class Row(NamedTuple):
    """One line of a file: its bytes as they were, and the record or the problem it holds."""

    path: str
    number: int
    raw: bytes
    record: Record
    problem: DataError | None


def has_long_number(data: bytes) -> bool:
    """Says whether 19 digits stand in a row somewhere: then orjson alone may not read every number exactly."""
    # Twenty times as fast as a regular expression.
    return _LONG_NUMBER in data.translate(_DIGITS_ALIKE)


def loads(raw: bytes | str) -> Any:
    """Parses JSON with every integer exact, whatever its size. Raises ValueError as the parsers do.

    LIMIT: integers beyond 4,300 digits (Python's own limit) are refused.
    """
    data = raw.encode() if isinstance(raw, str) else raw
    if has_long_number(data):
        import json

        # The stricter grammar (no NaN, no lone surrogates, no float beyond range) holds for these lines too.
        orjson.loads(_LONG_INTEGER.sub(b"1", data))
        return json.loads(data.decode())
    return orjson.loads(data)


def dumps(value: Any) -> bytes:
    """Gives compact JSON bytes without a newline; integers of any size stay exact, key order stays."""
    try:
        return orjson.dumps(value)
    except TypeError:
        import json

        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except UnicodeEncodeError as error:
            raise DataError("a string holds a lone surrogate, which UTF-8 can't carry", code="surrogate") from error


def open_input(source: str | Path) -> BinaryIO:
    """Opens a file (uncompressed by suffix) or "-" for reading bytes; one that can't be opened raises UsageError."""
    return _open_input(source, STDIN_NAME if str(source) == "-" else str(source))


def read_rows(source: str | Path, *, notes: list[str] | None = None, name: str = "") -> Iterator[Row]:
    """Yields every non-blank line of a file with its record or its problem; a bad line costs only itself.

    Args:
        source: a path, or "-" for standard input.
        notes: gets remarks about the whole file (CRLF line ends, blank lines); None drops them.
        name: what the file is called in messages and rows; its path by default.
    Raises:
        DataError: the file as a whole can't be read (empty, UTF-16, BOM, LFS pointer, pretty-printed JSON).
        UsageError: there is no such file.
    """
    name = name or (STDIN_NAME if str(source) == "-" else str(source))
    stream = _open_input(source, name)
    ends = LineEnds(name)
    try:
        for number, raw in enumerate(_lines(stream, name), 1):
            if number == 1:
                _judge_head(raw, stream, name)
            row = parse_raw(raw, name, number, ends)
            if row is not None:
                yield row
    finally:
        if stream is not sys.stdin.buffer:
            stream.close()
    ends.tell(notes)


@dataclass(slots=True)
class LineEnds:
    """What is noticed about the lines of a file beside their content; `tell` says it once, at the end."""

    name: str
    num_rows: int = 0
    num_blank: int = 0
    num_crlf: int = 0

    def tell(self, notes: list[str] | None) -> None:
        """Adds remarks to `notes`. Raises DataError when there was not one row."""
        if self.num_rows == 0:
            hint = "was the command before it interrupted?"
            raise DataError("holds no records", path=self.name, code="empty", hint=hint)
        if notes is not None and self.num_crlf:
            notes.append(f"{self.name}: {self.num_crlf} lines end in CRLF; read as if they ended in LF")
        if notes is not None and self.num_blank:
            notes.append(f"{self.name}: {self.num_blank} blank lines skipped")


def parse_raw(raw: bytes, name: str, number: int, ends: LineEnds) -> Row | None:
    """Gives one raw line (newline included) as a row, None when it is blank; `ends` counts it."""
    line = raw.rstrip(b"\r\n")
    ends.num_crlf += raw.endswith(b"\r\n")
    if not line.strip():
        ends.num_blank += 1
        return None
    ends.num_rows += 1
    return parse_line(line, path=name, number=number, is_torn=not raw.endswith(b"\n"))


class Part(NamedTuple):
    """A range of bytes of a plain file, [start, end); the lines that begin in it belong to it."""

    start: int
    end: int


def read_chunks(source: str | Path, *, part: Part | None = None, name: str = "") -> Iterator[list[bytes]]:
    """Yields the raw lines of a file, newlines included, some hundred at a time; see `read_blocks`."""
    for block in read_blocks(source, part=part, name=name):
        yield lines_of(block)


def lines_of(block: bytes) -> list[bytes]:
    """Gives the lines of some bytes, each with its newline."""
    return io.BytesIO(block).readlines()


def read_blocks(source: str | Path, *, part: Part | None = None, name: str = "") -> Iterator[bytes]:
    """Yields the bytes of a file, some hundred whole lines at a time; for those who judge lines in bulk.

    The head of the file is judged as by `read_rows`, lines are not. A pipe yields what has arrived.

    Args:
        source: a path, or "-" for standard input.
        part: only the lines that begin there; a plain (uncompressed) file only.
        name: what the file is called in messages; its path by default.
    Raises:
        DataError, UsageError: as `read_rows`, but not for a file of blank lines.
    """
    name = name or (STDIN_NAME if str(source) == "-" else str(source))
    stream = _open_input(source, name)
    try:
        blocks = _blocks(stream, name, part)
        if part is None or part.start == 0:
            first = next(blocks)
            _judge_head(first[: first.find(b"\n") + 1] or first, stream, name)
            yield first
        yield from blocks
    finally:
        if stream is not sys.stdin.buffer:
            stream.close()


def _blocks(stream: BinaryIO, name: str, part: Part | None) -> Iterator[bytes]:
    if part is not None:
        yield from _blocks_of_part(stream, part)
    elif name.endswith((".gz", ".zst")):
        lines = _lines(stream, name)
        while chunk := list(islice(lines, CHUNK_LINES)):
            yield b"".join(chunk)
    elif name == STDIN_NAME or not stream.seekable():  # a named pipe too
        yield from _blocks_of_pipe(stream, name)
    else:
        num_blocks = 0
        while block := stream.read(CHUNK_BYTES):
            num_blocks += 1
            yield block if block.endswith(b"\n") else block + stream.readline()
        if num_blocks == 0:
            raise _nothing_in(name)


def count_lines(source: str | Path, end: int, *, start: int = 0) -> int:
    """Gives how many lines of a plain file begin in its bytes [start, end)."""
    before = last = b"\n"
    count, place = 0, start
    with open(source, "rb", buffering=0) as file:
        if start > 0:
            file.seek(start - 1)
            before = last = file.read(1)
        while place < end and (data := file.read(min(4 * CHUNK_BYTES, end - place))):
            count += data.count(b"\n")
            place, last = place + len(data), data[-1:]
    return count + (last != b"\n") - (before != b"\n")


def _blocks_of_part(stream: BinaryIO, part: Part) -> Iterator[bytes]:
    place = part.start
    if place > 0:
        stream.seek(place - 1)
        place += len(stream.readline()) - 1
    while place < part.end and (block := stream.read(min(CHUNK_BYTES, part.end - place))):
        block += b"" if block.endswith(b"\n") else stream.readline()
        place += len(block)
        yield block


def _blocks_of_pipe(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yields whole lines as they arrive, so that a slow writer does not hold up what is ready."""
    rest, is_empty = b"", True
    while data := cast(io.BufferedReader, stream).read1(CHUNK_BYTES):
        is_empty = False
        lines, newline, last = data.rpartition(b"\n")
        if newline:
            yield rest + lines + newline
            rest = last
        else:
            rest += data
    if rest:
        yield rest
    if is_empty:
        raise _nothing_in(name)


def read_records(source: str | Path, *, notes: list[str] | None = None) -> Iterator[Record]:
    """Yields the records of a file; the first line that is not a JSON object raises DataError with its place."""
    for row in read_rows(source, notes=notes):
        if row.problem is not None:
            raise row.problem
        yield row.record


def parse_line(line: bytes, *, path: str, number: int, is_torn: bool = False) -> Row:
    """Gives one line as `read_rows` would: its record, or what is wrong with it.

    Args:
        line: without its line end.
        path: the file, for messages.
        number: the line's number, from 1.
        is_torn: it is the last one and has no line end.
    """
    return _parse(line, path, number, is_torn=is_torn)


def _parse(line: bytes, name: str, number: int, *, is_torn: bool) -> Row:
    try:
        value = loads(line)
    except RecursionError:
        return Row(name, number, line, {}, DataError("nested too deep", path=name, line=number, code="nesting"))
    except ValueError as error:
        return Row(name, number, line, {}, _explain(error, line, name, number, is_torn))
    if not isinstance(value, dict):
        kind = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
        problem = DataError(
            f"the row is {kind}, not a JSON object", path=name, line=number, code="not_an_object",
            hint="each line must be one record: an object",
        )  # fmt: skip
        return Row(name, number, line, {}, problem)
    return Row(name, number, line, cast(Record, value), None)


def _explain(error: ValueError, line: bytes, name: str, number: int, is_torn: bool) -> DataError:
    try:
        line.decode()
    except UnicodeDecodeError as utf8:
        message = f"invalid UTF-8 at byte {utf8.start + 1} of the line"
        return DataError(message, path=name, line=number, code="invalid_utf8", hint="re-encode with: iconv -t UTF-8")
    if is_torn:
        message = "the line is cut off: no closing brace and no newline"
        return DataError(message, path=name, line=number, code="truncated_line", hint="was its writer interrupted?")
    reason = str(error).split(": line", 1)[0]
    column = getattr(error, "colno", None)
    where = f" (column {column})" if column else ""
    return DataError(f"not valid JSON: {reason}{where}", path=name, line=number, code="invalid_json")


def _judge_head(first: bytes, stream: BinaryIO, name: str) -> None:
    """Raises the verdict on the whole file that its first line allows."""

    def refuse(message: str, code: str, hint: str) -> DataError:
        return DataError(message, path=name, code=code, hint=hint)

    if first.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        raise refuse("is compressed, but its name does not say so", "compressed", "rename it to .gz or .zst")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in first[:64]:
        raise refuse("is UTF-16 (or binary), not UTF-8", "utf16", f"iconv -f UTF-16 -t UTF-8 {name} > utf8.jsonl")
    if first.startswith(b"\xef\xbb\xbf"):
        raise refuse("begins with a byte order mark", "bom", f"tail -c +4 {name} > clean.jsonl")
    if first.startswith(b"version https://git-lfs.github.com/spec/"):
        raise refuse("is a Git LFS pointer, not the data", "lfs_pointer", f"git lfs pull --include {name}")
    opening = first.strip()
    if opening[:1] in (b"[", b"{") and stream.readable():
        try:
            orjson.loads(opening)
        except ValueError:
            if len(opening) == 1 or (opening[:1] == b"[" and opening[-1:] in b"[{,"):
                kind = "an array" if opening[:1] == b"[" else "an object"
                fix = "jq -c '.[]'" if kind == "an array" else "jq -c ."
                raise refuse(
                    f"is {kind} printed over many lines, not JSON Lines", "pretty_json", f"{fix} {name}"
                ) from None


def _lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yields raw lines; a broken compressed stream becomes a DataError with the last good line's number."""
    number = 0
    errors: tuple[type[Exception], ...] = (EOFError, gzip.BadGzipFile, zlib.error)
    if name.endswith(".zst"):
        import zstandard

        errors = (*errors, zstandard.ZstdError)
    try:
        for raw in stream:
            number += 1
            yield raw
    except errors as error:
        raise DataError(
            f"the compressed stream is broken: {error}", path=name, line=number, code="broken_stream"
        ) from error
    except IsADirectoryError as error:
        raise UsageError(f"{name}: is a folder", hint="name a .jsonl file") from error
    if number == 0:
        raise _nothing_in(name)


def _nothing_in(name: str) -> DataError:
    return DataError("is empty", path=name, code="empty", hint="was the command before it interrupted?")


def _open_input(source: str | Path, name: str) -> BinaryIO:
    if name == STDIN_NAME:
        try:
            # A file of our own: a thread left waiting in sys.stdin's would make the interpreter abort at its end.
            return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
        except (OSError, ValueError):  # a stand-in without a descriptor
            return sys.stdin.buffer
    try:
        if name.endswith(".gz"):
            return cast(BinaryIO, gzip.open(source, "rb"))
        if name.endswith(".zst"):
            import zstandard

            file = open(source, "rb")  # noqa: SIM115 (the reader closes it)
            reader = zstandard.ZstdDecompressor().stream_reader(file, closefd=True, read_across_frames=True)
            return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, reader), HEAD_BYTES))
        return open(source, "rb", buffering=2 * CHUNK_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file", hint="check the path, or use - for a pipe") from error
    except IsADirectoryError as error:
        raise UsageError(f"{name}: is a folder", hint="name a .jsonl file") from error
    except PermissionError as error:
        raise EnvironmentMissing(f"{name}: may not be read", hint=f"ls -l {name}") from error


class _Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


OTHER_COMPRESSIONS = (".bz2", ".xz", ".lz4", ".br", ".zip")
"""Suffixes that promise what we do not write; plain text under such a name would mislead."""


class Output:
    """Writes records to a file that appears whole, or straight to a pipe.

    As a context manager it commits on a normal exit and drops everything on an exception. `path` is None for a pipe
    and for anything that is no regular file. After the commit `sha256` and `num_bytes` describe the file.

    Args:
        target: a path (compressed by suffix), or "-" for `pipe`.
        pipe: where "-" goes; the standard output by default.
    """

    def __init__(self, target: str | Path, *, pipe: BinaryIO | None = None) -> None:
        self.num_records = 0
        self._file: AtomicFile | None = None
        self._flushed_at = 0.0
        if str(target) == "-":
            self._sink: _Sink = pipe or sys.stdout.buffer
            return
        suffix = Path(target).suffix
        if suffix in OTHER_COMPRESSIONS:
            raise UsageError(f"{target}: {suffix} is not written here", hint="name it .gz or .zst, or without suffix")
        self._file = AtomicFile(Path(target))
        self._sink = self._file
        if suffix == ".gz":
            self._sink = cast(_Sink, gzip.GzipFile("", "wb", fileobj=cast(BinaryIO, self._file), mtime=0))
        elif suffix == ".zst":
            import zstandard

            writer = zstandard.ZstdCompressor().stream_writer(cast(BinaryIO, self._file), closefd=False)
            self._sink = cast(_Sink, writer)

    @property
    def path(self) -> Path | None:
        """The regular file being written, None for a pipe or a device."""
        return self._file.target if self._file is not None and self._file.is_regular else None

    @property
    def is_null(self) -> bool:
        """True for /dev/null: whoever writes there may as well not."""
        return self._file is not None and self._file.target == Path(os.devnull)

    @property
    def sha256(self) -> str:
        """Digest of the committed file, "" before the commit and for a pipe."""
        return self._file.sha256 if self._file is not None else ""

    @property
    def num_bytes(self) -> int:
        """Bytes of the committed file."""
        return self._file.num_bytes if self._file is not None else 0

    def write(self, record: Record) -> None:
        """Appends one record."""
        self.write_raw(dumps(record))

    def write_raw(self, line: bytes) -> None:
        """Appends one line as it is; the newline is added here."""
        self.write_block(line + b"\n", 1)

    def write_block(self, block: bytes, num_records: int) -> None:
        """Appends that many whole lines, each with its newline."""
        self._sink.write(block)
        self.num_records += num_records
        if self._file is None and time.monotonic() - self._flushed_at > FLUSH_AFTER_S:
            # A slow stage passes each record on at once; a fast one fills its buffer.
            self._sink.flush()
            self._flushed_at = time.monotonic()

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            if kind is None or not issubclass(kind, BrokenPipeError):
                self._sink.flush()
            return
        if kind is None:
            try:
                if self._sink is not self._file:
                    cast(BinaryIO, self._sink).close()
                self._file.commit()
                return
            except BaseException:
                self._file.abort()
                raise
        self._file.abort()


def write_records(target: str | Path, records: Iterable[Record]) -> int:
    """Writes records to a file or pipe and returns how many."""
    with Output(target) as output:
        for record in records:
            output.write(record)
        return output.num_records


def append_line(path: Path, record: Record) -> None:
    """Appends one record in a single write and makes it durable; the file is created when absent.

    A torn last line (power loss) is closed with a newline first, so that it can never swallow this record.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if is_torn else b"") + dumps(record) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
